"""Which of the explanations that were weighed is the likeliest, and what moved the most."""

from typing import Any, Final

import numpy as np

from detectors.believed_breakage import FEWEST_WHOLE
from detectors.cause import MOST_CONFIDENT, Cause, Named, Raised, spoken
from detectors.error_shift import FEWEST_LABELS
from detectors.known import Known
from detectors.moves import Moves, moves
from detectors.shifts import Weighed, importance, weigh

CONFIDENT: Final = 0.7
"""A cause with less confidence than this is not named."""
MOST_RANKED: Final = 5
MOST_NAMED: Final = 3

Ranking = tuple[tuple[str, float], ...]


def weigh_known(known: Known) -> tuple[Weighed, Moves | None]:
    """What each explanation of the rows costs, and how far each feature has moved; None where rows are too few."""
    moved = None
    if known.features is not None and len(known.features[1]) >= FEWEST_WHOLE:
        moved = moves(*known.features)
    return weigh(known, moved), moved


def most_likely(raised: Raised, weighed: Weighed, ranking: Ranking) -> Named:
    """The likeliest of a covariate shift, a label shift and a concept drift, where one is likely enough."""
    names = (Cause.COVARIATE_SHIFT, Cause.LABEL_SHIFT, Cause.CONCEPT_DRIFT)
    nats = np.array([weighed.covariate, weighed.label, weighed.concept])
    figures: dict[str, Any] = dict(weighed.figures) | {"moved": len(weighed.moved)}
    if not np.isfinite(nats).any():
        return Named(Cause.UNKNOWN, 0.0, "too few rows to tell why", figures=figures)
    share = np.exp(nats - nats.max())
    share /= share.sum()
    figures["shares"] = {name.value: round(float(one), 4) for name, one in zip(names, share, strict=True)}
    best = int(np.argmax(share))
    confidence = min(MOST_CONFIDENT, float(share[best]))
    if confidence < CONFIDENT:
        return Named(Cause.UNKNOWN, confidence, "too few rows to tell why", figures=figures)
    if names[best] is Cause.COVARIATE_SHIFT and not weighed.moved:
        # no feature by itself: only where what the model answers has moved it has to be the features together
        if raised.signal not in ("prediction", "score"):
            return Named(Cause.UNKNOWN, 1 - confidence, "too few rows to tell why", figures=figures)
        confidence = CONFIDENT
    return Named(names[best], confidence, _said(names[best], weighed, ranking), figures=figures)


def _said(cause: Cause, weighed: Weighed, ranking: Ranking) -> str:
    figures = weighed.figures
    if cause is Cause.COVARIATE_SHIFT:
        listed = [spoken(signal) for signal, _ in ranking if signal in weighed.moved] or [*map(spoken, weighed.moved)]
        first = f" ({', '.join(listed[:MOST_NAMED])})" if listed else ", none of them by itself"
        if weighed.labels < FEWEST_LABELS:
            return f"the inputs have moved{first}; whether the answers to them have, only labels can tell"
        return f"the inputs have moved{first} and the errors are those to be expected of them"
    if cause is Cause.LABEL_SHIFT:
        return "some answers have become more frequent, and what goes with each is as it was"
    text = "the same inputs have other answers now"
    if "error" in figures:
        error, expected = (100 * figures[name] for name in ("error", "expected_error"))
        text += f": errors in {error:.1f} % of the rows, {expected:.1f} % expected"
    return text


def rank(known: Known, moved: Moves | None) -> Ranking:
    """Features by how far they moved beyond chance, times how much they tell of the prediction."""
    if moved is None:
        return ()
    size = np.where(moved.moved, np.maximum(moved.misfit - moved.degrees / 2, 0.0), 0.0)
    weight = importance(known)
    if weight is not None:
        # what moved far and seems to tell nothing may still matter: a sample tells little of rare values
        size = size * (weight / weight.sum() + 1 / len(weight))
    total = float(size.sum())
    order = sorted(range(len(size)), key=lambda s: (-size[s], moved.signals[s]))[:MOST_RANKED]
    return tuple((moved.signals[s], round(float(size[s]) / total, 4)) for s in order if size[s] > 0)
