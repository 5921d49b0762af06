"""Performance without labels as the daemon estimates it: rows and late labels through the monitor that it runs."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from bench.quality import employment
from bench.quality.table import Column, Row, Run, Table
from daemon.events.rows import Labels, Predictions, Rows
from daemon.monitoring.estimate_chunks import EstimatedChunk
from daemon.monitoring.estimate_report import Turn
from daemon.monitoring.monitors import make_monitor
from daemon.settings import ModelSettings

SEED = 1
BATCH = 2_500
LATE = 10_000
FLIPPED = (0.15, 0.30)
FIRST_FLIPPED = 30_000
LAST_FLIPPED = 130_000


def measure(run: Run) -> Iterator[Row]:
    """A row where no label is flipped, and one for each share of labels that are."""
    data = employment.Employment.read(run.folder(employment.NAME), run.size.of(30_000, None, None))
    frame = pd.concat([data.reference, data.live], ignore_index=True)
    chunks, turns = streamed(frame)
    known = [one for one in chunks if one.labelled == one.rows]
    real = np.array([one.real for one in known], dtype=np.float64)
    means, lows, highs = (np.array([getattr(one, name) for one in known]) for name in ("mean", "low", "high"))
    yield {
        "flipped": "none",
        "missed": float(np.abs(means - real).mean()),
        "constant": float(np.abs(means[0] - real).mean()),
        "held": float(((lows <= real) & (real <= highs)).mean()),
        "chunks": len(known),
        "said": sum(not one.trusted for one in turns),
        "rows": len(frame),
    }
    starts = range(FIRST_FLIPPED, LAST_FLIPPED + 1, run.size.of(200_000, 20_000, 5_000))
    for share in FLIPPED:
        found = [(start, streamed(frame[: start + 5 * LATE], (start, share))[1]) for start in starts]
        late = [turns[0].row - start - LATE for start, turns in found if turns]
        again = [turns[1].row - turns[0].row for _, turns in found if len(turns) > 1]
        yield {
            "flipped": f"{share:.0%}".replace("%", " %"),
            "late": float(np.mean(late)) if late else None,
            "latest": max(late, default=None),
            "again": float(np.mean(again)) if again else None,
            "rows": len(starts) * 5 * LATE,
        }


def streamed(
    frame: pd.DataFrame, flipped: tuple[int, float] | None = None
) -> tuple[Sequence[EstimatedChunk], Sequence[Turn]]:
    """All chunks that were estimated, with what their labels say, and where they were trusted or not.

    ``flipped`` is the row from which on labels are flipped, and the share of them.
    """
    monitor = make_monitor(employment.NAME, ModelSettings())
    assert monitor.estimate is not None
    features = [str(name) for name in frame if name not in employment.NO_FEATURES]
    labels = frame.employed.to_numpy(np.int64)
    if flipped is not None:
        start, share = flipped
        wrong = np.random.default_rng(SEED).random(len(frame)) < share
        labels = np.where(wrong & (np.arange(len(frame)) >= start), 1 - labels, labels)
    found: dict[int, EstimatedChunk] = {}
    turns: list[Turn] = []
    for start in range(0, len(frame), BATCH):
        piece = frame.iloc[start : start + BATCH]
        rows = np.arange(start, start + len(piece))
        order, ids, nothing = 2 * np.arange(len(piece)), [str(row) for row in rows], [None] * len(piece)
        columns = {name: piece[name].to_numpy(np.float64) for name in features}
        scores, ts = piece.predicted_probability.to_numpy(np.float64), rows.astype(np.float64)
        made = Predictions(order, ids, ts, nothing, nothing, piece.prediction.tolist(), scores, None, columns, None)
        due = rows[rows >= LATE] - LATE
        come = Labels(order[rows >= LATE] + 1, [str(row) for row in due], ts[rows >= LATE], labels[due].tolist())
        monitor.take(Rows(made, come if len(due) else None, None, float(ts[-1])), 0.0)
        turns += monitor.take_findings().turns
        found |= {one.number: one for one in monitor.estimate.chunks.chunks}
    return list(found.values()), turns


TABLE = Table(
    name="estimate_stream",
    title="Performance without labels, as a stream",
    meaning=f"""\
employment_ma, all years through the monitor that the daemon runs, on its defaults: it learns from the first 2,000
labels, which come {LATE:,} rows late, and then estimates chunks that are as long as those of the charts,
500 rows and then a fiftieth of all before. Beside the mean absolute error that of always saying what was estimated
first. Then the same with a share of the labels flipped from one of several rows on: labels until the estimates are
distrusted, the mean and the most, and rows until they are trusted again, learned from labels that came later.""",
    goal="93 to 97 % of the intervals hold; distrusted within 500 labels.",
    seeds=str(SEED),
    columns=(
        Column("flipped", "labels flipped"),
        Column("missed", "mean absolute error", ".4f"),
        Column("constant", "of always the first", ".4f"),
        Column("held", "intervals that hold", ".1%"),
        Column("chunks", "chunks", ",.0f"),
        Column("said", "distrusted", ",.0f"),
        Column("late", "labels until distrusted, mean", ",.0f"),
        Column("latest", "most", ",.0f"),
        Column("again", "rows until trusted again", ",.0f"),
        Column("rows", "rows", ",.0f"),
    ),
    measure=measure,
)
