"""How strange a row is, and when that is raised."""

import numpy as np
from seeded_rows import learn, rows_of, text, watch

from detectors.base import Kind
from detectors.columns import Columns, Stream
from detectors.half_space_trees import HalfSpaceTrees
from detectors.reference import Reference


def ordinary(n: int = 8_000, seed: int = 0) -> Columns:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    values = {"feature:x": x, "feature:y": x + 0.1 * rng.normal(size=n), "feature:c": text(rng, "aaab", n)}
    return rows_of(Stream.FEATURES, values)


def made(reference: Reference) -> HalfSpaceTrees:
    return HalfSpaceTrees(reference, 100_000)


def test_golden_row_at_which_strange_rows_are_raised() -> None:
    columns = ordinary()
    columns.values["feature:x"][5_000:5_100] = 6.0
    columns.values["feature:y"][5_000:5_100] = -6.0
    reference, live = learn(columns)
    verdict = watch(made(reference), reference, live, window=5)[0]
    assert (verdict.kind, verdict.signal, verdict.row) == (Kind.ANOMALY, "features", 5_004)
    assert all(5_000 <= row < 5_100 for row, _ in verdict.evidence["strangest"])


def test_what_lies_outside_of_everything_scores_higher_than_what_is_usual() -> None:
    reference, live = learn(ordinary())
    scores = made(reference).scores(live)
    odd = rows_of(
        Stream.FEATURES,
        {
            "feature:x": np.array([8.0, np.nan]),
            "feature:y": np.array([-8.0, np.inf]),
            "feature:c": np.array(["z", None], dtype=object),
        },
    )
    assert made(reference).scores(odd).min() > np.quantile(scores, 0.99)
    assert ((scores > 0) & (scores < 1)).all()


def test_a_score_depends_on_its_row_only() -> None:
    reference, live = learn(ordinary())
    detector = made(reference)
    whole = detector.scores(live)
    assert (
        np.concatenate([detector.scores(live.slice(0, 777)), detector.scores(live.slice(777, 6_000))]) == whole
    ).all()
    assert (made(Reference.from_dict(reference.to_dict())).scores(live) == whole).all()


def test_a_signal_that_does_not_come_is_strange_and_no_error() -> None:
    reference, live = learn(ordinary())
    without = rows_of(Stream.FEATURES, {"feature:x": live.values["feature:x"]})
    assert made(reference).scores(without).mean() > made(reference).scores(live).mean()


def test_nothing_to_score_scores_nothing() -> None:
    reference, live = learn(ordinary())
    assert made(reference).scores(live.slice(0, 0)).tolist() == []
