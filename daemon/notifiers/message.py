"""What is said to a person, before any service's markup, and as plain text."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

LONGEST_LINE: Final = 2000
"""Characters of one line of plain text. Names come from users and have no other bound."""


class Tone(StrEnum):
    """How the message should look at first glance."""

    CRITICAL = "critical"
    WARNING = "warning"
    OVER = "over"
    NEWS = "news"


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a section; ``at`` (epoch seconds) is shown in the reader's own time zone where a service can."""

    text: str
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Lines under a heading."""

    title: str
    items: tuple[Item, ...]


class ActionName(StrEnum):
    """What a person may do from inside the message."""

    ACKNOWLEDGE = "acknowledge"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Action:
    """A button, drawn only by a notifier that hears it being pressed."""

    name: ActionName
    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message, in words only: each notifier makes its own markup and bounds the lengths.

    ``title`` names the model and what is wrong, ``summary`` continues that sentence with figures; texts may hold
    anything that a user has named a model or a feature, so nothing in them is ever taken for markup.
    """

    tone: Tone
    title: str
    summary: str
    sections: tuple[Section, ...] = ()
    link: str | None = None
    actions: tuple[Action, ...] = ()

    @property
    def headline(self) -> str:
        """The whole message in one sentence."""
        return f"{self.title}: {self.summary}" if self.summary else self.title


REPEAT_NOTICE: Final = "This may be a repeat: the answer to its first sending was lost."


def plain(message: Message, *, maybe_sent: bool = False) -> str:
    """The message as lines of text: the headline, then each section, indented."""
    lines = [clean(message.headline)]
    for section in message.sections:
        lines.append(f"  {clean(section.title)}")
        for item in section.items:
            when = f"{clock_time(item.at)}  " if item.at is not None else ""
            lines.append(f"    {when}{clean(item.text)}")
    if message.link:
        lines.append(f"  {clean(message.link)}")
    if maybe_sent:
        lines.append(f"  {REPEAT_NOTICE}")
    return "\n".join(lines)


def clean(text: str, limit: int = LONGEST_LINE) -> str:
    """``text`` on one line: no control or direction characters, at most ``limit`` characters."""
    text = text[: 4 * limit]  # what is cut off anyway is not worth looking at
    if not text.isprintable():
        # line ends, control and direction characters, lone surrogates, and what has no meaning yet
        text = "".join(mark if mark.isprintable() else " " for mark in text)
    return cut(" ".join(text.split()), limit)


def cut(text: str, limit: int) -> str:
    """``text``, shortened to ``limit`` characters with an ellipsis where it is longer."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def clock_time(ts: float, *, beside: float | None = None) -> str:
    """``14:02 UTC``, with the day in front unless ``beside`` (epoch seconds) is on the same day."""
    try:
        moment = datetime.fromtimestamp(ts, UTC)
        same_day = beside is not None and datetime.fromtimestamp(beside, UTC).date() == moment.date()
    except (ValueError, OverflowError, OSError):  # events may claim any time at all
        return "an unknown time"
    return f"{moment:%H:%M} UTC" if same_day else f"{moment.day} {moment:%b %Y %H:%M} UTC"
