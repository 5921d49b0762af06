"""How soon labels show that estimates are wrong."""

from collections.abc import Iterator, Sequence

import numpy as np

from bench.quality import employment
from bench.quality.table import Column, Line, Row, Run, Table, find, shown
from detectors.estimate_check import EstimateCheck
from detectors.loss_estimate import LossEstimate

SEED = 1
CHUNK = 5_000
FLIPPED = (0.05, 0.10, 0.15)


def measure(run: Run) -> Iterator[Row]:
    """A row for each share of labels that are flipped, none first."""
    data = employment.Employment.read(run.folder(employment.NAME), run.size.of(10_000, None, None))
    losses, real = employment.losses(data.reference), employment.losses(data.live)
    estimate = LossEstimate.learn(employment.columns(data.reference), losses, chunk_rows=CHUNK)
    expected = estimate.expected(employment.columns(data.live)).mean
    said = len(EstimateCheck(binary=True).update(expected, real))
    yield {"flipped": "none", "said": said, "rows": len(data.live)}
    rng = np.random.default_rng(SEED)
    starts = range(0, len(data.live) - CHUNK + 1, CHUNK)
    for share in FLIPPED:
        late = []
        for start in starts:
            part = slice(start, start + CHUNK)
            flipped = np.where(rng.random(CHUNK) < share, 1 - real[part], real[part])
            late += [row + 1 for row in EstimateCheck(binary=True).update(expected[part], flipped)[:1]]
        yield {
            "flipped": f"{share:.0%}".replace("%", " %"),
            "missed": 1 - len(late) / len(starts),
            "late": float(np.mean(late)) if late else None,
            "latest": max(late, default=None),
            "rows": len(starts) * CHUNK,
        }


def lines(rows: Sequence[Row]) -> list[Line]:
    """Of the largest share."""
    row = find(rows, flipped="15 %")
    return [Line("labels until a wrong estimate is called wrong (15 % of labels flipped)", shown(row, "late", ",.0f"))]


TABLE = Table(
    name="wrong_estimates",
    title="When labels show that an estimate is wrong",
    meaning=f"""\
employment_ma, its estimates as in the table above, labels at once. Where no label is flipped: how often the estimate
is called wrong in all rows, which it should be never. Then each chunk of {CHUNK:,} rows by itself with a share of
its labels flipped: labels until the estimate is called wrong, the mean and the most over the chunks in which it is;
missed is the share of those in which it is not.""",
    goal="within 500 labels.",
    seeds=str(SEED),
    columns=(
        Column("flipped", "labels flipped"),
        Column("said", "called wrong", ",.0f"),
        Column("late", "labels until then, mean", ",.0f"),
        Column("latest", "most", ",.0f"),
        Column("missed", "missed", ".0%"),
        Column("rows", "rows", ",.0f"),
    ),
    measure=measure,
    lines=lines,
)
