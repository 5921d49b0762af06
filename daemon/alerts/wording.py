"""From a Briefing to the words of a message: pure, so that a test can read every one of them."""

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote

from daemon.alerts.alarm import URGENCY, Alarm, moved, since_row
from daemon.alerts.briefing import Briefing
from daemon.alerts.figures import figure, is_number, percent
from daemon.alerts.notes import LOUD, Note
from daemon.notifiers.message import Action, ActionName, Item, Message, Section, Tone, clock_time
from detectors.base import Kind, Severity

MOST_NAMES: Final = 3
MOST_LINES: Final = 10


def compose(brief: Briefing, page_url: str | None = None) -> Message:
    """The whole incident: what moved, how much, since when, what is being done. ``page_url``: the status page."""
    leads = _leads(brief)
    names = [name for name, _ in moved(brief.told if brief.is_open else brief.alarms)]
    doing = str(brief.notes[-1]) if brief.notes else ""
    if not brief.is_open:
        title = f"{brief.model}: over"
        until = f" until {clock_time(brief.closed, beside=brief.opened)}" if brief.closed is not None else ""
        parts = [_clause(lead, names, brief) + (until if lead is leads[0] else "") for lead in leads]
    else:
        title = f"{brief.model}: {leads[0].what}" if leads else f"{brief.model}: an incident"
        parts = [_figures(leads[0], names, brief)] if leads else []
        parts += [_clause(lead, names, brief) for lead in leads[1:]]
    if names and leads and leads[0].kind is not Kind.DRIFT:
        parts.append(f"what moved: {_listed(names, of_more=brief.hidden > 0)}")
    parts.append(next((alarm.why for alarm in _explained(brief)), ""))
    parts.append(doing)
    return Message(
        tone=_tone(brief),
        title=title,
        summary="; ".join(part for part in parts if part),
        sections=_sections(brief),
        link=_link(page_url, brief.model),
        actions=_actions(brief) if brief.is_open else (),
    )


def compose_news(
    brief: Briefing, alarms: Sequence[Alarm], notes: Sequence[Note], page_url: str | None = None
) -> Message:
    """Only what is new, and in one line how things stand: for services whose messages cannot be edited."""
    said = [str(note) for note in notes]
    said += [f"also {_named(alarm)}" for alarm in alarms[:MOST_NAMES]]
    said += [f"and {len(alarms) - MOST_NAMES} more alarms"] if len(alarms) > MOST_NAMES else []
    said += [] if brief.is_open else ["over"]
    tone = _tone(brief) if alarms or not brief.is_open or any(note.kind in LOUD for note in notes) else Tone.NEWS
    summary = "; ".join(said) or f"{standing(brief)}{_doing(brief)}"
    stands = f"{standing(brief)}{'' if notes else _doing(brief)}"
    sections = (Section("How things stand", (Item(stands),)),) if brief.is_open and said else ()
    return Message(tone, brief.model, summary, sections, _link(page_url, brief.model))


def compose_detail(alarms: Sequence[Alarm], notes: Sequence[Note], brief: Briefing) -> Message:
    """The news with all their figures, for the thread below the message that is edited."""
    items = [Item(str(note), note.at) for note in notes]
    items += [Item(_in_full(alarm), alarm.since) for alarm in alarms[:MOST_LINES]]
    items += [Item(f"and {len(alarms) - MOST_LINES} more alarms")] if len(alarms) > MOST_LINES else []
    items += [] if brief.is_open else [Item("over", brief.closed)]
    tone = Tone.OVER if not brief.is_open else _tone(brief) if alarms else Tone.NEWS
    first = str(notes[-1]) if notes else f"{alarms[0].what}" if alarms else standing(brief)
    return Message(tone, brief.model, first, (Section("In detail", tuple(items)),))


def compose_alone(model: str, notes: Sequence[Note], page_url: str | None = None) -> Message:
    """News of a model that has no incident."""
    tone = Tone.WARNING if any(note.kind in LOUD for note in notes) else Tone.NEWS
    return Message(tone, model, "; ".join(str(note) for note in notes), (), _link(page_url, model))


def standing(brief: Briefing) -> str:
    """How things stand, in a line."""
    if not brief.is_open:
        return "over"
    what = ", ".join(dict.fromkeys(lead.what for lead in _leads(brief)))
    number = f"{brief.open_count} alarms" if brief.open_count != 1 else "1 alarm"
    return f"{number} open: {what}" if what else "no alarm is open"


def _doing(brief: Briefing) -> str:
    return f"; {brief.notes[-1]}" if brief.notes else ""


def _leads(brief: Briefing) -> list[Alarm]:
    """The one or two alarms that say most, of different kinds."""
    candidates = brief.told if brief.is_open else brief.alarms
    ranked = sorted(candidates, key=lambda one: (URGENCY.index(one.kind), one.severity is Severity.WARNING, one.id))
    firsts = list({alarm.kind: alarm for alarm in reversed(ranked)}.values())
    firsts.sort(key=lambda one: URGENCY.index(one.kind))
    return [one for one in firsts if one.kind is not Kind.DRIFT or one is firsts[0]][:2]


def _clause(alarm: Alarm, names: Sequence[str], brief: Briefing) -> str:
    return f"{alarm.what}: {_figures(alarm, names, brief)}"


def _figures(alarm: Alarm, names: Sequence[str], brief: Briefing) -> str:
    since = f"since {clock_time(alarm.since, beside=brief.opened)} ({since_row(alarm)})"
    how = alarm.figures
    if alarm.kind is Kind.DRIFT and alarm.signal.startswith("feature"):
        listed = _listed(names, of_more=brief.hidden > 0)
        how = f"{listed} ({how})" if how and len(names) == 1 else listed or how
    return f"{how} {since}".strip()


def _listed(names: Sequence[str], *, of_more: bool = False) -> str:
    more = f" and {'over ' if of_more else ''}{len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _named(alarm: Alarm) -> str:
    figures = f" ({alarm.figures})" if alarm.figures else ""
    name = f": {moved([alarm])[0][0]}" if alarm.kind is Kind.DRIFT and moved([alarm]) else ""
    return f"{alarm.what}{name}{figures}"


def _in_full(alarm: Alarm) -> str:
    ranking = ", ".join(f"{signal} {figure(100 * share)} %" for signal, share in alarm.ranking[:MOST_NAMES])
    parts = [_named(alarm), f"{alarm.severity} by {alarm.detector}", f"from {since_row(alarm)}"]
    parts += [f"ranking {ranking}"] if ranking else []
    parts += [f"cause {alarm.why} ({percent(alarm.confidence)})"] if alarm.why else []
    parts += [f"{name.replace('_', ' ')} {figure(value)}" for name, value in alarm.evidence.items() if is_number(value)]
    return "; ".join(parts)


def _explained(brief: Briefing) -> list[Alarm]:
    """The alarms that name a cause, the latest first: it has seen most."""
    shown = brief.told if brief.is_open else brief.alarms
    return sorted((alarm for alarm in shown if alarm.why), key=lambda one: -one.id)


def _sections(brief: Briefing) -> tuple[Section, ...]:
    shown = brief.told if brief.is_open else brief.alarms
    others = [alarm for alarm in shown if alarm.kind is not Kind.DRIFT]
    wrong = [Item(_named(alarm), alarm.since) for alarm in others[:MOST_LINES]]
    what = [Item(f"{name}: {how}" if how else name) for name, how in moved(shown)[:MOST_LINES]]
    causes: dict[tuple[str | None, ...], str] = {}
    for alarm in _explained(brief):  # of two sentences about the same thing the one that has seen more
        causes.setdefault(alarm.explains, f"{alarm.why} ({percent(alarm.confidence)})")
    why = [Item(text) for text in list(causes.values())[:MOST_NAMES]]
    doing = [Item(str(note), note.at) for note in brief.notes]
    sections = (
        Section("What is wrong" if brief.is_open else "What was wrong", tuple(wrong)),
        Section("Why", tuple(why)),
        Section("What moved", tuple(what)),
        Section("What is being done" if brief.is_open else "What was done", tuple(doing)),
        Section("Also", tuple(Item(text) for text in _asides(brief))),
    )
    return tuple(section for section in sections if section.items)


def _asides(brief: Briefing) -> Iterable[str]:
    if brief.version is not None:
        yield f"version {brief.version} is in service"
    if not brief.is_open:
        return
    if brief.explained:
        yield f"explained by broken data: {_listed([name for name, _ in moved(brief.explained)])}"
    if brief.quiet:
        yield f"silenced: {len(brief.quiet)} of {brief.open_count} open alarms"
    if brief.hidden > 0:
        yield f"and {brief.hidden} more open alarms"
    people = dict.fromkeys(alarm.acknowledged_by for alarm in brief.open if alarm.acknowledged_by)
    if people:
        yield f"acknowledged by {', '.join(people)}"


def _tone(brief: Briefing) -> Tone:
    if not brief.is_open:
        return Tone.OVER
    return Tone.CRITICAL if any(one.severity is Severity.CRITICAL for one in brief.told) else Tone.WARNING


def _actions(brief: Briefing) -> tuple[Action, ...]:
    return (
        Action(ActionName.ACKNOWLEDGE, "Acknowledge", str(brief.id)),
        Action(ActionName.SILENCE, "Silence", str(brief.id)),
    )


def _link(page_url: str | None, model: str) -> str | None:
    return f"{page_url.rstrip('/')}/models/{quote(model, safe='')}" if page_url else None
