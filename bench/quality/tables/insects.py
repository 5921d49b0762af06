"""What an alarm is good for: naive Bayes on a real stream, begun afresh after each alarm."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import pandas as pd

from bench.quality import river_detectors
from bench.quality.naive_bayes import NaiveBayes
from bench.quality.table import Column, Line, Row, Run, Size, Table, find, shown
from bench.quality.watch import BUDGET, ErrorWatch

NAME = "insects_gradual_balanced"
PERIOD = 1_000
MOST_ALARMS = 10
HINDSIGHT_STEP = 100
LEAST_AHEAD, MOST_AHEAD = 16, 1_024


class Watcher(Protocol):
    """Told of each prediction whether it was wrong; answers the row from which to learn afresh, if at all."""

    def __call__(self, row: int, wrong: bool, /) -> int | None: ...


class Ours:
    """The e-detector on the errors since the model was begun; it tells where the change began."""

    def __init__(self, reference_rows: int) -> None:
        self._reference_rows = reference_rows
        self._watch = ErrorWatch(reference_rows)

    def __call__(self, row: int, wrong: bool) -> int | None:
        found = self._watch.take(row, float(wrong))
        if found is None:
            return None
        self._watch = ErrorWatch(self._reference_rows)
        return found.change_row


class Theirs:
    """A detector of river; it begins afresh by itself, and tells nothing of where the change began."""

    def __init__(self, name: str) -> None:
        self._detector = river_detectors.make(name)

    def __call__(self, row: int, wrong: bool) -> int | None:
        self._detector.update(float(wrong))
        return row + 1 if self._detector.drift_detected else None


def never(_row: int, _wrong: bool) -> int | None:
    """One model for all rows."""
    return None


def by_the_calendar(row: int, _wrong: bool) -> int | None:
    """Another model every so many rows."""
    return row + 1 if (row + 1) % PERIOD == 0 else None


def always(row: int, _wrong: bool) -> int | None:
    """Another model at every row, which has learned from the row before."""
    return row


def measure(run: Run) -> Iterator[Row]:
    """A row for each way to decide."""
    frame = pd.read_csv(run.folder(NAME) / f"{NAME}.csv.gz", nrows=run.size.of(1_500, None, None))
    labels = frame.pop("class").to_numpy()
    model = NaiveBayes(frame.to_numpy(np.float64), labels)
    deciders: dict[str, Callable[[], Watcher]] = {
        "driftd, a reference of 2,000 rows": lambda: Ours(2_000),
        "driftd, a reference of 500 rows": lambda: Ours(500),
        **{name: partial(Theirs, name) for name in _river(run)},
        "never afresh": lambda: never,
        f"afresh every {PERIOD:,} rows": lambda: by_the_calendar,
        "afresh at every row": lambda: always,
    }
    for name, make in deciders.items():
        right, alarms = _prequential(model, make())
        yield {"decides": name, "accuracy": right, "alarms": alarms}
    best = model.best(MOST_ALARMS, HINDSIGHT_STEP)
    yield {"decides": f"the best {MOST_ALARMS} in hindsight", "accuracy": best, "alarms": MOST_ALARMS}
    repeated = float(np.mean(labels[1:] == labels[:-1]))
    yield {"decides": "no model: the class of the row before", "accuracy": repeated}


def _river(run: Run) -> tuple[str, ...]:
    return ("ADWIN", "DDM", "HDDM_W", "PageHinkley") if run.size is not Size.TINY else ("ADWIN",)


def _prequential(model: NaiveBayes, decide: Watcher) -> tuple[float, int]:
    """Each row is predicted, then learned from; the share that was right, and the number of fresh starts."""
    since = row = count = alarms = 0
    ahead = LEAST_AHEAD
    while row < len(model):
        for right in model.right(since, row, min(row + ahead, len(model))).tolist():
            count += right
            begin = decide(row, not right)
            row += 1
            if begin is not None:
                alarms += 1
                since, ahead = begin, LEAST_AHEAD
                break
        else:
            ahead = min(2 * ahead, MOST_AHEAD)
    return count / len(model), alarms


def lines(rows: Sequence[Row]) -> list[Line]:
    """Accuracy and alarms."""

    def told(row: Row) -> str:
        return f"{shown(row, 'accuracy', '.1%')} ({shown(row, 'alarms', '.0f')} alarms)" if row else "-"

    names = ("ADWIN", "DDM", "never afresh", f"afresh every {PERIOD:,} rows", f"the best {MOST_ALARMS} in hindsight")
    beside = [f"{name} {told(row)}" for name in names if (row := find(rows, decides=name))]
    what = "insects, naive Bayes begun afresh at each alarm: accuracy"
    return [Line(what, told(find(rows, decides="driftd, a reference of 2,000 rows")), ", ".join(beside))]


TABLE = Table(
    name="insects",
    title="What an alarm is good for: insects",
    meaning=f"""\
24,150 rows of insects' wing beats, six classes, whose laws change gradually. Gaussian naive Bayes predicts each row
and then learns from it; a detector watches its errors, and at each alarm the model is begun afresh: driftd's on the
rows since the change that it estimates, the others' on none. driftd has {BUDGET:,} rows per false alarm, and learns
its reference of the errors of the model that was begun last, so that it says nothing meanwhile. river's detectors
are on their defaults. The best {MOST_ALARMS} in hindsight: fresh starts after whichever multiples of
{HINDSIGHT_STEP} rows, and on the rows since whichever of them, give most right predictions, chosen with all labels
known. It is about what a detector without a delay could reach with this model.""",
    goal="at least 72.3 % with at most 10 alarms (ADWIN in Souza and others, 2020: 72.26 % with 6).",
    columns=(
        Column("decides", "decides"),
        Column("accuracy", "accuracy", ".2%"),
        Column("alarms", "alarms", ",.0f"),
    ),
    measure=measure,
    lines=lines,
)
