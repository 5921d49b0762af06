"""One model's page: where it stands, how well it does, what moved, what was raised, decided, trained and deployed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import RowMapping, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.alerts.alarm import Alarm, spoken
from daemon.alerts.figures import figure, percent
from daemon.monitoring.charts import ESTIMATED
from daemon.stores.tables import decisions, jobs, versions
from daemon.web import drawing, estimates, measured, segments
from daemon.web.cards import Card, full_card, moved_signals
from daemon.web.context import Context
from daemon.web.estimates import Estimated
from daemon.web.going_on import open_alarms
from daemon.web.marks import marks
from daemon.web.segments import FieldShown
from daemon.web.shown import is_accuracy
from daemon.web.words import OUTCOMES, TRIGGERS, decided, measure, plain, shorter, tidy
from detectors.reference import Reference

MOST_PICTURES: Final = 10
MOST_SIGNALS: Final = 300
LISTED: Final = 12
CHART_CHUNKS: Final = 400
MISSING_WORTH_SAYING: Final = 0.05
WORTH_SAYING_ALIKE: Final = 1.5


@dataclass(frozen=True, slots=True)
class Law:
    """One signal: how much it moved, how, and its distribution before and now (empty where it is not drawn)."""

    signal: str
    effect: float
    length: float
    matters: bool
    how: str
    bars: tuple[drawing.Bar, ...]
    alike: str
    """How much rows resemble their neighbours; empty where they hardly do."""
    chosen: bool


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided at one moment, in words, and at which rows; several alarms of one moment often end alike."""

    action: str
    sentence: str
    at: float
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Retrain:
    """One retrain, in words."""

    row: RowMapping
    trigger: str
    outcome: str
    why: str
    gain: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What the browser needs to draw a signal over time; ``marks`` is JSON.

    What is drawn is a mean, or the share of ``category``; ``title`` says which. ``beside`` is a signal that is drawn
    over it, measured up to ``beside_row``.
    """

    signal: str
    category: str | None
    title: str
    inverted: bool
    metric: str
    marks: str
    last_row: int
    says: str
    beside: str = ""
    beside_row: int = -1


@dataclass(frozen=True, slots=True)
class Detail:
    """What a model's page shows."""

    card: Card
    alarms: Sequence[Alarm]
    performance_chart: Chart | None
    estimate: Estimated | None
    estimate_chart: Chart | None
    laws: Sequence[Law]
    others: Sequence[Law]
    chosen: Law | None
    signal_chart: Chart | None
    decisions: Sequence[Decided]
    retrains: Sequence[Retrain]
    versions: Sequence[RowMapping]
    threshold: float
    least: float
    rows_compared: int
    segments: Sequence[FieldShown]


async def detail(connection: AsyncConnection, context: Context, status: Mapping[str, Any], signal: str) -> Detail:
    """The page of a model; ``signal`` is the one whose course is drawn, the most moved one where it is not known."""
    name = status["model"]
    card = await full_card(connection, context, status)
    errors = await measured.recent(connection, name, "error", CHART_CHUNKS)
    happened = await marks(connection, name, errors)
    latest = await measured.latest(connection, name)
    least = context.min_effect(name)
    moved = moved_signals(latest, least)[:MOST_SIGNALS]
    known = {one.signal for one in moved}
    chosen = signal if signal in known else (moved[0].signal if moved else "")
    laws_of = await measured.references(connection, name)
    laws, compared = [], 0
    for place, one in enumerate(moved):
        in_full = place < MOST_PICTURES or one.signal == chosen
        counts = await measured.recent_counts(connection, name, status["version"], one.signal) if in_full else []
        compared = max(compared, sum(counts))
        how, bars = _compare(laws_of.get(one.signal), one.signal, counts)
        alike = _alike(laws_of.get(one.signal), one.signal)
        laws.append(Law(one.signal, one.effect, one.length, one.matters, how, bars, alike, one.signal == chosen))
    last = {row["signal"]: row for row in latest}
    return Detail(
        card=card,
        alarms=await open_alarms(connection, name),
        performance_chart=_performance_chart(card, last, happened),
        estimate=estimates.shown(status["estimate"]),
        estimate_chart=_estimate_chart(status, last, happened),
        laws=[law for place, law in enumerate(laws) if place < MOST_PICTURES or law.chosen],
        others=[law for place, law in enumerate(laws) if place >= MOST_PICTURES and not law.chosen],
        chosen=next((law for law in laws if law.chosen), None),
        signal_chart=_signal_chart(last[chosen], happened) if chosen else None,
        decisions=_gathered(await _last(connection, decisions, name, 3 * LISTED))[:LISTED],
        retrains=[_retrain(row) for row in await _last(connection, jobs, name)],
        versions=await _last(connection, versions, name),
        threshold=drawing.effect_length(least),
        least=least,
        rows_compared=compared,
        segments=segments.shown(await measured.segments(connection, name)),
    )


async def _last(connection: AsyncConnection, table: Table, model: str, most: int = LISTED) -> Sequence[RowMapping]:
    order = table.c.id if "id" in table.c else table.c.created
    rows = select(table).where(table.c.model == model).order_by(order.desc()).limit(most)
    return (await connection.execute(rows)).mappings().all()


def _gathered(rows: Sequence[RowMapping]) -> list[Decided]:
    found: dict[tuple[float, str], list[RowMapping]] = {}
    for row in rows:
        sentence = decided(row["action"], row["reason"], row["detail"])
        found.setdefault((row["at"], sentence), []).append(row)
    return [
        Decided(alike[0]["action"], sentence, at, tuple(sorted(row["row"] for row in alike if row["row"] is not None)))
        for (at, sentence), alike in found.items()
    ]


def _performance_chart(card: Card, last: Mapping[str, Mapping[str, Any]], happened: object) -> Chart | None:
    if "error" not in last:
        return None
    inverted, shown = is_accuracy(card.status), card.performance
    says = "Performance over time"
    if shown is not None:
        says = f"{shown.metric} over time: now {shown.value}, {shown.change}"
    metric = "accuracy" if inverted else "value"
    return Chart("error", None, "", inverted, metric, _encoded(happened), last["error"]["row"], says)


def _estimate_chart(status: Mapping[str, Any], last: Mapping[str, Mapping[str, Any]], happened: object) -> Chart | None:
    """What was estimated, and over it what the labels say."""
    if status["estimate"] is None or ESTIMATED not in last:
        return None
    inverted = is_accuracy(status)
    metric = "accuracy" if inverted else "value"
    row, marks = last[ESTIMATED]["row"], _encoded(happened)
    beside = last["error"]["row"] if "error" in last else -1
    says = "Performance as it was estimated before labels came, and as it was by the labels"
    return Chart(ESTIMATED, None, "", inverted, metric, marks, row, says, "error", beside)


def _signal_chart(last: Mapping[str, Any], happened: object) -> Chart:
    """The mean of a number; of a category, the share of the value that the reference has most of."""
    signal, category = last["signal"], last["category"]
    title, metric = "Mean over time", "value"
    if category is not None:
        title, metric = f"Share of {category} over time", "share"
    says = f"{spoken(signal)}: {title[0].lower()}{title[1:]}"
    marks = _encoded(happened)
    return Chart(signal, category, title, inverted=False, metric=metric, marks=marks, last_row=last["row"], says=says)


def _encoded(happened: object) -> str:
    return msgspec.json.encode(happened).decode()


def _alike(reference: Reference | None, signal: str) -> str:
    """How much the rows of a signal resembled their neighbours in the reference, where that matters."""
    rows = 1.0 if reference is None else measured.correlation_rows(reference, reference.signals.index(signal))
    return "" if rows < WORTH_SAYING_ALIKE else f"Rows resemble their neighbours: {rows:.0f} tell as much as one alone."


def _compare(reference: Reference | None, signal: str, counts: Sequence[int]) -> tuple[str, tuple[drawing.Bar, ...]]:
    """How a signal's law has changed, in words and as a picture."""
    if reference is None or not counts or not sum(counts):
        return "", ()
    place = reference.signals.index(signal)
    law = reference.bins[place]
    before = reference.counts[place, : law.width].tolist()
    if len(counts) != len(before):
        return "", ()
    labels = [shorter(one) for one in law.labels()] if law.kind == "number" else law.labels()
    pictures = drawing.bars(before, counts, labels)
    shares = [(was / max(sum(before), 1), now / sum(counts)) for was, now in zip(before, counts, strict=True)]
    special = max(range(drawing.SPECIAL_BINS), key=lambda i: abs(shares[i][1] - shares[i][0]))
    if abs(shares[special][1] - shares[special][0]) >= MISSING_WORTH_SAYING:
        return f"{labels[special]}: {_percent(shares[special][0])} → {_percent(shares[special][1])}", pictures
    values = getattr(law, "values", None)
    if values is not None and len(values) > 2:  # noqa: PLR2004 (a flag is a share)
        own = slice(drawing.SPECIAL_BINS, None)
        means = [
            sum(float(v) * n for v, n in zip(values, row[own], strict=True)) / max(sum(row[own]), 1)
            for row in (before, counts)
        ]
        return f"mean {figure(means[0])} → {figure(means[1])}", pictures
    most = max(range(drawing.SPECIAL_BINS, len(shares)), key=lambda i: abs(shares[i][1] - shares[i][0]), default=None)
    if most is None:
        return "", pictures
    return f"{labels[most]}: {_percent(shares[most][0])} → {_percent(shares[most][1])}", pictures


def _percent(share: float) -> str:
    return tidy(percent(share))


def _retrain(row: RowMapping) -> Retrain:
    reasons = ", ".join(plain(reason) for reason in row["reasons"] or ())
    gain = (row["result"] or {}).get("gain") or {}
    estimate, low, high = (gain.get(name) for name in ("estimate", "low", "high"))
    said = ""
    if isinstance(estimate, int | float):
        whole = "accuracy" if gain.get("loss", "error") != "absolute_error" else "mae"
        said = f"{'+' if estimate > 0 else ''}{measure(estimate, whole)}"
        if isinstance(low, int | float):
            upper = f" to {measure(high, whole)}" if isinstance(high, int | float) else " or more"
            said += f" ({measure(low, whole)}{upper})"
    return Retrain(
        row,
        TRIGGERS.get(row["trigger"], plain(row["trigger"])),
        OUTCOMES.get(row["outcome"], plain(row["outcome"] or row["state"]).capitalize()),
        row["error"] or reasons,
        said,
    )
