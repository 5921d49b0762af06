"""Processor time of a row."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.quality import river_detectors
from bench.quality.streams import Values, errors, normal
from bench.quality.table import Column, Line, Row, Run, Table, find, shown
from bench.quality.watch import BATCH, REFERENCE_ROWS
from detectors.columns import Columns, Stream
from detectors.e_detector import EDetector
from detectors.half_space_trees import HalfSpaceTrees
from detectors.reference import Reference
from detectors.summary import summarise, window_rows
from detectors.tail_scores import TailScores

SEED = 4
BUDGET = 1e6
NUMBERS, CATEGORIES = 16, 4


def measure(run: Run) -> Iterator[Row]:
    """A row for each detector on each kind of rows."""
    rng = np.random.default_rng(SEED)
    rows = REFERENCE_ROWS + BATCH
    repeat = run.size.of(1, 20, 20)
    features = normal(features=NUMBERS)(rng, rows)
    mixed = features | {f"feature:c{i}": _category(rng, rows) for i in range(CATEGORIES)}
    served = {"prediction": _category(rng, rows), "score": rng.random(rows)}
    answers = {"label": _category(rng, rows)} | errors(0.1)(rng, rows)
    wide = f"{len(mixed)} features"
    yield {"rows": wide, "detector": "driftd", "micros": _e_detector(Stream.FEATURES, mixed, repeat)}
    for name, make in (("tail_scores", TailScores), ("half_space_trees", HalfSpaceTrees)):
        yield {"rows": wide, "detector": name, "micros": _scorer(make, features, repeat)}
    for title, stream, values in (
        ("prediction and score", Stream.PREDICTION, served),
        ("label and error", Stream.OUTCOME, answers),
    ):
        yield {"rows": title, "detector": "driftd", "micros": _e_detector(stream, values, repeat)}
    for name in river_detectors.NAMES:
        values = {"error": answers["error"][: rows // river_detectors.FEWER.get(name, 1)]}
        yield {"rows": "error alone", "detector": name, "micros": _river(name, values, min(repeat, 3))}


def _category(rng: np.random.Generator, rows: int) -> NDArray[Any]:
    return np.array(rng.choice(list("abcdefgh"), rows), dtype=object)


def _best(repeat: int, rows: int, work: Callable[[], object]) -> float:
    """Microseconds a row, the best of some."""
    spent = []
    for _ in range(repeat):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent) / rows * 1e6


def _columns(stream: Stream, values: Values) -> tuple[Reference, Columns]:
    rows = np.arange(len(next(iter(values.values()))), dtype=np.int64)
    columns = Columns(stream, rows, rows.astype(np.float64), values)
    return Reference.learn(columns.slice(0, REFERENCE_ROWS)), columns.slice(REFERENCE_ROWS, len(rows))


def _e_detector(stream: Stream, values: Values, repeat: int) -> float:
    reference, live = _columns(stream, values)
    detector = EDetector(reference, BUDGET)
    window = window_rows(len(values))

    def work() -> None:
        codes = reference.encode(live)
        counted = summarise(stream, reference.signals, codes, reference.width, live.rows, live.ts, window)
        detector.update(counted, live)

    return _best(repeat, len(live), work)


def _scorer(make: Callable[[Reference, float], Any], values: Values, repeat: int) -> float:
    reference, live = _columns(Stream.FEATURES, values)
    detector = make(reference, BUDGET)
    return _best(repeat, len(live), lambda: detector.scores(live))


def _river(name: str, values: Values, repeat: int) -> float:
    return _best(repeat, len(values["error"]), lambda: sum(1 for _ in river_detectors.fires(name, values)))


def lines(rows: Sequence[Row]) -> list[Line]:
    """What it takes to watch a wide row."""
    row = find(rows, rows=f"{NUMBERS + CATEGORIES} features", detector="driftd")
    river = (find(rows, rows="error alone", detector=name) for name in river_detectors.NAMES)
    beside = ", ".join(f"{one['detector']} {shown(one, 'micros', ',.1f')} a value" for one in river if one)
    return [Line("processor time to watch a row of 20 features, µs", shown(row, "micros", ",.1f"), beside)]


TABLE = Table(
    name="cost",
    title="Microseconds per event",
    meaning=f"""\
Processor time of a row on one core: values into bins, counted in windows, and the detector's update, {BATCH:,} rows
at a time, the best of 20; joining, decoding and storing are not part of it (`bench/throughput.py` has all of it).
{NUMBERS} of the features are numbers and {CATEGORIES} categories; the anomaly scores are of the numbers. river's
detectors take one value a call, of one signal, the best of 3; a fire is no special case.""",
    seeds=str(SEED),
    columns=(
        Column("rows", "a row has"),
        Column("detector", "detector"),
        Column("micros", "µs", ",.2f"),
    ),
    grouped=1,
    measure=measure,
    lines=lines,
)
