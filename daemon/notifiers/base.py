"""The contract of a notifier: what it is given, what it answers."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from daemon.notifiers.message import Message


class Manner(StrEnum):
    """How a message reaches its reader."""

    POST = "post"
    """As a message of its own."""
    EDIT = "edit"
    """In place of the message that was sent before."""
    REPLY = "reply"
    """In the thread of the message that was sent before."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A sent message, as its service names it."""

    channel: str
    ts: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to send. ``ref`` is set for EDIT and REPLY.

    ``maybe_sent`` says that an earlier try got no answer, so the reader is told that it may be a repeat; ``loud`` that
    a reply should also be seen outside its thread; ``bare`` that the service refused its markup: send words only.
    """

    message: Message
    manner: Manner = Manner.POST
    ref: Ref | None = None
    maybe_sent: bool = False
    loud: bool = False
    bare: bool = False


class Problem(StrEnum):
    """Why a message was not sent."""

    RATE_LIMITED = "rate_limited"
    UNREACHABLE = "unreachable"
    """No connection was made: nothing can have been sent."""
    UNAVAILABLE = "unavailable"
    """The service answered that it cannot work now."""
    NO_ANSWER = "no_answer"
    """The message left and no answer came: it may have been sent."""
    CREDENTIALS = "credentials"
    CHANNEL = "channel"
    MESSAGE = "message"
    """The service takes messages, but not this one."""
    UNKNOWN = "unknown"
    """The service refused in a way that we do not know."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The service has it. ``ref`` is set where the message can be edited later."""

    ref: Ref | None = None


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Not now. ``seconds`` is what the service asked for; None leaves the wait to the sender.

    ``maybe_sent`` says that this very try may have been successful.
    """

    problem: Problem
    hint: str
    seconds: float | None = None
    maybe_sent: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """Not this way, however often it is tried. ``hint`` is what the operator should do.

    With ``permanent`` nothing at all can be sent until somebody acts; without it only this message was refused.
    """

    problem: Problem
    hint: str
    permanent: bool


Outcome = Sent | RetryLater | Failed


class Notifier(Protocol):
    """Sends messages to one channel of one service.

    ``send`` tries exactly once: it never sleeps, never tries again, and raises nothing but what cancels a task. It is
    never called twice at the same time. No answer, log record or representation holds a secret. After ``close``,
    which may be called twice, nothing is sent any more.
    """

    name: str
    threads: bool
    """Whether a sent message can be edited and replied to; without it every message is a POST."""
    pause: float
    """Seconds to leave between two messages."""

    async def send(self, delivery: Delivery) -> Outcome:
        """Try to send, and say what came of it."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
