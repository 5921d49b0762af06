"""Where a model stands in the loop: one word, derived from what the store says of it."""

from enum import StrEnum
from typing import Any, Final

from sqlalchemy import exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.lifecycle.jobs import ACTIVE
from daemon.lifecycle.promotion import VersionState
from daemon.stores.tables import alarms, jobs, models, versions

JUDGING: Final = frozenset({"gate", "register", "plot"})
"""Stages of a retrain in which there is a candidate to judge."""


class ModelState(StrEnum):
    """The stations of the loop."""

    LEARNING = "learning"
    STEADY = "steady"
    ALARM = "alarm"
    RETRAINING = "retraining"
    EVALUATING = "evaluating"
    SHADOW = "shadow"
    CANARY = "canary"
    WATCHING = "watching"
    HELD = "held"
    """Nothing happens by itself until a person has seen to what failed."""


def state_of(
    *, learning: bool, watching: bool, held: bool, alarm: bool, working: bool, stage: str | None, deploying: bool
) -> ModelState:
    """Say where a model stands: what a person should know first comes first."""
    found = (
        (held, ModelState.HELD),
        (deploying or (working and stage in JUDGING), ModelState.EVALUATING),
        (working, ModelState.RETRAINING),
        (alarm, ModelState.ALARM),
        (watching, ModelState.WATCHING),
        (learning, ModelState.LEARNING),
    )
    return next((state for holds, state in found if holds), ModelState.STEADY)


class _Unchanged:
    """Stands for a value that is left as it is, where None is a value."""


UNCHANGED: Final = _Unchanged()


async def settle(
    connection: AsyncConnection,
    model: str,
    *,
    learning: bool | None = None,
    watching: bool | None = None,
    held: str | _Unchanged | None = UNCHANGED,
) -> ModelState | None:
    """Bring the model's state in line with its alarms, jobs and versions, after changing the flags that are given.

    ``held`` says in a sentence what a person has to see to; None lets the model go. To be called in every transaction
    that changes any of these. Returns the state, None for a model that no event was ever taken of.
    """
    given: dict[str, Any] = {} if isinstance(held, _Unchanged) else {"held": held}
    given |= {name: value for name, value in (("learning", learning), ("watching", watching)) if value is not None}
    here = models.c.model == model
    if given:
        await connection.execute(update(models).where(here).values(given))
    active = (jobs.c.model == model) & jobs.c.state.in_(ACTIVE)
    query = select(
        models.c.state,
        models.c.learning,
        models.c.watching,
        models.c.held.is_not(None).label("held"),
        exists().where(alarms.c.model == model, alarms.c.state == "open").label("alarm"),
        exists().where(active).label("working"),
        select(jobs.c.stage).where(active).scalar_subquery().label("stage"),
        exists().where(versions.c.model == model, versions.c.state == VersionState.DEPLOYING).label("deploying"),
    )
    row = (await connection.execute(query.where(here))).mappings().first()
    if row is None:
        return None
    facts = dict(row)
    before = facts.pop("state")
    state = state_of(**facts)
    if state != before:
        await connection.execute(update(models).where(here).values(state=state))
    return state
