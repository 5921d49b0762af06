"""The first page: every model, those in trouble first."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.fleet.view import Fleet, Member
from daemon.web.cards import Card, full_card, row_card
from daemon.web.context import Context
from daemon.web.fleet import fleet, lag_of
from daemon.web.status import statuses, totals
from daemon.web.words import STATES, sentence, state_words

FEW_MODELS: Final = 6
"""So many models are all shown in full."""
MOST_CARDS: Final = 6
FIRST_ROWS: Final = 60
CALM: Final = frozenset({"steady", "learning"})


@dataclass(frozen=True, slots=True)
class Choice:
    """One way to narrow the list: a state, and how many models are in it."""

    state: str
    word: str
    models: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """What the first page shows. ``hidden`` is how many models it leaves out until asked."""

    headline: str
    tone: str
    models: int
    sums: Mapping[str, int]
    lag: int
    last_arrival: float | None
    choices: tuple[Choice, ...]
    cards: tuple[Card, ...]
    rows: tuple[Card, ...]
    found: int
    hidden: int
    troubles: tuple[str, ...]
    workers: tuple[Member, ...]


async def overview(
    connection: AsyncConnection, context: Context, *, search: str = "", state: str = "", everything: bool = False
) -> Overview:
    """The page of the models whose name holds ``search`` and that are in ``state``, where these are not empty."""
    workers = await fleet(connection, context)
    found = await statuses(connection, lag=lag_of(workers, context))
    found.sort(key=_trouble)
    wanted = [one for one in found if search.casefold() in one["model"].casefold() and state in {"", one["state"]}]
    in_full = [one for one in wanted if len(found) <= FEW_MODELS or one["state"] not in CALM][:MOST_CARDS]
    names = {one["model"] for one in in_full}
    others = [one for one in wanted if one["model"] not in names]
    listed = others if everything else others[:FIRST_ROWS]
    headline, tone = _headline(found)
    arrivals = [one["last_arrival"] for one in found if one["last_arrival"] is not None]
    return Overview(
        headline=headline,
        tone=tone,
        models=len(found),
        sums=await totals(connection),
        lag=lag_of(workers, context),
        last_arrival=max(arrivals, default=None),
        choices=_choices(found, state),
        cards=tuple([await full_card(connection, context, one) for one in in_full]),
        rows=tuple(row_card(context, one) for one in listed),
        found=len(wanted),
        hidden=len(others) - len(listed),
        troubles=tuple(filter(None, (context.not_alive() or context.not_ready(), *_lacking(workers)))),
        workers=workers.members,
    )


def _lacking(workers: Fleet) -> Iterator[str]:
    """What no worker does, in sentences."""
    return (f"{sentence(one.text)} {sentence(one.hint)}" for one in workers.troubles())


def _trouble(one: Mapping[str, Any]) -> tuple[Any, ...]:
    """In what order people want to see models."""
    return state_words(one["state"]).rank, -one["alarms"]["open"], one["model"].casefold()


def _headline(found: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The page in one sentence, and its tone."""
    if not found:
        return "Waiting for the first event.", "learning"
    by_state: dict[str, list[str]] = {}
    for one in found:
        by_state.setdefault(one["state"], []).append(one["model"])
    for state, said in _SAID.items():
        names = by_state.get(state, [])
        if len(names) == 1:
            return f"{names[0]} {said[0]}.", state
        if names:
            return f"{len(names)} of {len(found)} models {said[1]}.", state
    if len(found) == 1:
        return f"{found[0]['model']} is steady.", "steady"
    return f"All {len(found)} models are steady.", "steady"


_SAID: Final = {
    "held": ("waits for somebody", "wait for somebody"),
    "alarm": ("is in alarm", "are in alarm"),
    "retraining": ("is retraining", "are retraining"),
    "evaluating": ("has a new version before the gate", "have a new version before the gate"),
    "shadow": ("has a new version in the shadow", "have a new version in the shadow"),
    "canary": ("tries a new version", "try a new version"),
    "watching": ("watches its new version", "watch a new version"),
    "learning": ("is learning what normal looks like", "are learning what normal looks like"),
}


def _choices(found: Sequence[Mapping[str, Any]], state: str) -> tuple[Choice, ...]:
    numbers = Counter(one["state"] for one in found)
    states = sorted(numbers, key=lambda one: (state_words(one).rank, one))
    if state and state not in numbers:
        states.append(state)
    return (
        Choice("", "All", len(found), not state),
        *(
            Choice(one, state_words(one).word, numbers[one], one == state)
            for one in states
            if one in STATES or numbers[one]
        ),
    )
