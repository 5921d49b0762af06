"""A class that labels had never named is news of the world, and no broken data."""

import numpy as np
import pytest

from detectors.base import Kind
from detectors.columns import INVALID, Columns, Stream
from detectors.e_detector import EDetector
from detectors.reference import Reference
from detectors.summary import summarise

ROWS = 2_000


def raised(values: list[str | None]) -> set[tuple[str, Kind]]:
    """What is raised of labels that become ``values`` in every fifth row, with an error that stays as it was."""
    rng = np.random.default_rng(1)
    label = rng.choice(np.array(["cat", "dog"], dtype=object), 2 * ROWS)
    label[ROWS::5] = values * (ROWS // 5)
    error = (rng.random(2 * ROWS) < 0.1).astype(np.float64)
    rows = np.arange(2 * ROWS)
    columns = Columns(Stream.OUTCOME, rows, rows.astype(np.float64), {"label": label, "error": error})
    reference = Reference.learn(columns.slice(0, ROWS))
    live = columns.slice(ROWS, 2 * ROWS)
    summary = summarise(
        Stream.OUTCOME, reference.signals, reference.encode(live), reference.width, live.rows, live.ts, 1
    )
    return {(one.signal, one.kind) for one in EDetector(reference, 1e5).update(summary, live) if not one.recovered}


@pytest.mark.parametrize(("value", "kind"), [("horse", Kind.DRIFT), (None, Kind.QUALITY), (INVALID, Kind.QUALITY)])
def test_labels_of_a_class_never_seen_have_drifted_and_missing_ones_are_broken(value: str | None, kind: Kind) -> None:
    found = {one for signal, one in raised([value]) if signal == "label"}
    assert kind in found
    if kind is Kind.DRIFT:
        assert Kind.QUALITY not in found
