"""What looks broken in one feature and is a part of what has moved in many."""

import numpy as np
import pytest
from numpy.typing import NDArray
from seeded_rows import rows_of

from detectors.base import Kind
from detectors.breakage import find_broken
from detectors.cause import Cause, Raised
from detectors.columns import Stream
from detectors.known import Known
from detectors.recent_rows import RecentRows
from detectors.reference import Reference
from detectors.triage import triage

ROWS = 2_000
WIDE = 1.5
"""Standard deviations of the logarithms of numbers that one factor hardly tells from another."""


def wide(rng: np.random.Generator, n: int, factors: list[float]) -> dict[str, NDArray[np.float64]]:
    """Independent numbers over some powers of ten, each times its factor."""
    return {f"feature:{i}": factor * np.exp(WIDE * rng.normal(size=n)) for i, factor in enumerate(factors)}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("factors", [[12.0, 4.0, 0.2, 3.0, 0.25, 5.0], [0.05, 9.0, 20.0, 0.1, 8.0, 0.12]])
def test_a_unit_that_one_of_many_moved_features_fits_is_no_broken_data(factors: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    learned = Reference.learn(rows_of(Stream.FEATURES, wide(rng, ROWS, [1.0] * 6)))
    alone = wide(rng, 40, [12.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    for values, broken_data in ((alone, True), (wide(rng, 40, factors), False)):
        recent = RecentRows.none(6).then([rows_of(Stream.FEATURES, values, first=ROWS)], learned)
        assert find_broken(learned, recent), "some unit fits"
        for kind in (Kind.DRIFT, Kind.QUALITY):
            named = triage(Raised(kind, "feature:0"), Known(features=(learned, recent)))
            assert (named.cause is Cause.DATA_BROKEN) == broken_data
