"""False alarms of driftd and of river's detectors on the same rows."""

from collections.abc import Iterator, Sequence

import numpy as np

from bench.quality import river_detectors
from bench.quality.streams import Generate, Values, autoregression, errors, normal
from bench.quality.table import Column, Line, Row, Run, Table, find, shown
from bench.quality.watch import BUDGET, REFERENCE_ROWS, verdicts

SEED = 3
PER = 100_000
STREAMS: dict[str, Generate] = {
    "errors": errors(0.1),
    "normal": normal(),
    "ar5": autoregression(0.5),
    "ar9": autoregression(0.9),
}


def measure(run: Run) -> Iterator[Row]:
    """A row for each detector."""
    rows = run.size.of(2_000, 100_000, 1_000_000)
    streams = {name: generate(np.random.default_rng(SEED), REFERENCE_ROWS + rows) for name, generate in STREAMS.items()}
    ours = {name: sum(1 for _ in verdicts(values)) for name, values in streams.items()}
    yield _row("driftd", rows, ours)
    for name in river_detectors.NAMES:
        many = rows // river_detectors.FEWER.get(name, 1)
        fired = {
            stream: _fired(name, {signal: column[: REFERENCE_ROWS + many] for signal, column in values.items()})
            for stream, values in streams.items()
        }
        yield _row(name, many, fired)
    yield _row("always fires", rows, dict.fromkeys(streams, rows))
    yield _row("never fires", rows, dict.fromkeys(streams, 0))


def _fired(name: str, values: Values) -> int | None:
    if not river_detectors.watches(name, values):
        return None
    return sum(row >= REFERENCE_ROWS for row in river_detectors.fires(name, values))


def _row(name: str, rows: int, fired: dict[str, int] | dict[str, int | None]) -> Row:
    rates = {stream: None if count is None else count * PER / rows for stream, count in fired.items()}
    return {"detector": name, **rates, "rows": rows}


def lines(rows: Sequence[Row]) -> list[Line]:
    """Of correlated rows, where it shows most."""
    names = ("ADWIN", "PageHinkley", "KSWIN")
    beside = ", ".join(f"{name} {shown(find(rows, detector=name), 'ar9', ',.0f')}" for name in names)
    ours = shown(find(rows, detector="driftd"), "ar9", ",.0f")
    return [Line("false alarms in 100,000 autocorrelated rows, AR(1) .9", ours, beside if rows else "")]


TABLE = Table(
    name="unchanged",
    title="False alarms beside river's detectors",
    meaning=f"""\
Alarms in 100,000 rows of which none differs in law from the {REFERENCE_ROWS:,} before them: wrong predictions at a
rate of .1, a normal feature, and two that are autocorrelated. driftd's budget is one alarm in {BUDGET:,} rows;
river's detectors are on their defaults. The slow ones are given fewer rows.""",
    seeds=str(SEED),
    columns=(
        Column("detector", "detector"),
        Column("errors", "errors .1", ",.1f"),
        Column("normal", "normal", ",.1f"),
        Column("ar5", "AR(1) .5", ",.1f"),
        Column("ar9", "AR(1) .9", ",.1f"),
        Column("rows", "rows", ",.0f"),
    ),
    measure=measure,
    lines=lines,
)
