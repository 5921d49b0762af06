"""Counts of a stretch of rows -> what is drawn of each signal."""

from typing import Any

import numpy as np

from daemon.monitoring.performance import mean_of, wilson
from daemon.monitoring.window import Chunk

Z = 1.959964
"""Half width of a 95 % interval in standard errors."""


def rows_of(chunk: Chunk, model: str, version: str | None) -> list[dict[str, Any]]:
    """A row of the table ``signals`` for each signal of the chunk."""
    reference = chunk.reference
    effects = stability_index(reference.counts, chunk.counts)
    rows = []
    for place, signal in enumerate(reference.signals):
        bins = reference.bins[place]
        own = chunk.counts[place, : bins.width]
        rows.append(
            {
                "model": model,
                "signal": signal,
                "version": version,
                "row": chunk.last_row,
                "ts": chunk.last_ts,
                "rows": chunk.rows,
                **_drawn(chunk, place, signal),
                "effect": round(float(effects[place]), 5),
                "counts": own.tolist(),
            }
        )
    return rows


def _drawn(chunk: Chunk, place: int, signal: str) -> dict[str, float | None]:
    """The value with its interval: a mean, a rate, or the share of the category that moved most."""
    reference = chunk.reference
    values = getattr(reference.bins[place], "values", None)
    own, before = chunk.counts[place], reference.counts[place]
    if values is not None and len(values):
        mean = mean_of(reference, signal, chunk.counts)
        if mean is None:
            return {"value": None, "low": None, "high": None, "reference": mean_of(reference, signal)}
        if set(values.tolist()) <= {0.0, 1.0}:
            low, high = wilson(min(max(mean, 0.0), 1.0), chunk.rows)
        else:
            numbers = own[-len(values) :] if len(own) == len(values) else own[3 : 3 + len(values)]
            spread = float(np.sqrt(max(numbers @ values**2 / numbers.sum() - mean**2, 0.0) / numbers.sum()))
            low, high = mean - Z * spread, mean + Z * spread
        return {"value": mean, "low": low, "high": high, "reference": mean_of(reference, signal)}
    shares, former = own / max(own.sum(), 1), before / max(before.sum(), 1)
    moved = int(np.argmax(np.abs(shares - former)))
    low, high = wilson(float(shares[moved]), chunk.rows)
    return {"value": float(shares[moved]), "low": low, "high": high, "reference": float(former[moved])}


def stability_index(reference: Any, current: Any) -> Any:
    """Population stability index per signal: the sum over bins of (q - p) log(q / p), half a row added to each bin.

    Bins that neither side ever met (the padding among them) do not count.
    """
    met = (reference + current) > 0
    p = np.where(met, reference + 0.5, 0.0)
    q = np.where(met, current + 0.5, 0.0)
    p = p / np.maximum(p.sum(axis=-1, keepdims=True), 1)
    q = q / np.maximum(q.sum(axis=-1, keepdims=True), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(met, (q - p) * np.log(q / p), 0.0)
    return terms.sum(axis=-1)
