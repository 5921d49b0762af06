"""Cron expressions as crontab means them, whatever APScheduler 3 makes of them.

It counts weekdays from Monday where crontab counts from Sunday, wants both the day of the month and that of the week
to fit where crontab wants either, and looks for a day that never comes for minutes.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from apscheduler.triggers.base import BaseTrigger

FIELDS: Final = ("minute", "hour", "day", "month", "day_of_week")
WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
YEARS: Final = "2000-2199"
"""Without a bound APScheduler looks for the 30th of February until the year 9999, and the daemon with it."""
FIRST_LOOK: Final = timedelta(minutes=2)
LONGEST_LOOK: Final = timedelta(days=366 * 5)
"""The 29th of February that falls on a certain weekday may be further away, and is not worth looking for."""


def parse(text: str, zone: str = "UTC") -> "BaseTrigger":
    """Read five cron fields, whose times are those of a time zone. Raises ValueError, which says what is wrong."""
    from apscheduler.triggers.combining import OrTrigger
    from apscheduler.triggers.cron import CronTrigger

    parts = text.split()
    if len(parts) != len(FIELDS):
        raise ValueError(f"{len(parts)} fields where five are needed: minute, hour, day, month and day of the week")
    values = dict(zip(FIELDS, parts, strict=True))
    values["day_of_week"] = _weekdays(values["day_of_week"])
    fields: dict[str, Any] = {**values, "year": YEARS, "timezone": ZoneInfo(zone)}
    if values["day"].startswith("*") or values["day_of_week"] == "*":
        trigger: BaseTrigger = CronTrigger(**fields)
    else:
        either = [{**fields, "day": "*"}, {**fields, "day_of_week": "*"}]
        trigger = OrTrigger([CronTrigger(**one) for one in either])
    if trigger.get_next_fire_time(None, datetime(2000, 1, 1, tzinfo=UTC)) is None:
        raise ValueError("no day is like that")
    return trigger


def latest(trigger: "BaseTrigger", now: float) -> float | None:
    """Return the last time (epoch seconds) at which ``trigger`` was due, ``now`` included; None: not for five years."""
    end = datetime.fromtimestamp(now, UTC)
    look = FIRST_LOOK
    while look <= LONGEST_LOOK:
        due = None
        for due in _due(trigger, end - look, end):  # noqa: B007 (the last one is what is wanted)
            pass
        if due is not None:
            return due.timestamp()
        look *= 4
    return None


def _due(trigger: "BaseTrigger", start: datetime, end: datetime) -> Iterator[datetime]:
    due = trigger.get_next_fire_time(None, start)
    while due is not None and due <= end:
        yield due
        due = trigger.get_next_fire_time(due, due + timedelta(seconds=1))


def _weekdays(field: str) -> str:
    if field == "*":
        return field
    days: set[int] = set()
    for part in field.lower().split(","):
        span, stepped, step = part.partition("/")
        first, ranged, last = span.partition("-")
        if span == "*":
            start, end = 0, len(WEEKDAYS) - 1
        else:
            start = _weekday(first)
            end = _weekday(last) if ranged else (len(WEEKDAYS) - 1 if stepped else start)
        if not (step.isascii() and step.isdigit() and int(step)) and stepped:
            raise ValueError(f"{part!r}: the step is no number above 0")
        if end < start:
            end += len(WEEKDAYS)  # fri-mon
        days |= {day % len(WEEKDAYS) for day in range(start, end + 1, int(step) if stepped else 1)}
    return ",".join(WEEKDAYS[day] for day in sorted(days))


def _weekday(text: str) -> int:
    if text in WEEKDAYS:
        return WEEKDAYS.index(text)
    if text.isascii() and text.isdigit() and int(text) <= len(WEEKDAYS):
        return int(text)
    raise ValueError(f"{text!r} is no day of the week: 0 to 7 (0 and 7 are Sunday), or sun to sat")
