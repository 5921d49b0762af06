"""The versions of each model in the store: the steps of ``promotion``, inside the caller's transaction.

A version's hash is written once, when the gate's word arrives, and every deployment is checked against it: what is
promoted is what was evaluated. The database itself allows one champion and one deployment a model.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import RowMapping, Select, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.lifecycle.promotion import NotPossible, Step, Version, VersionReason, VersionState, moved, next_name
from daemon.stores.tables import counters, jobs, models, versions
from daemon.stores.upsert import add_up, insert_new

UNNAMED: Final = "0"
"""The version of a model whose events name none."""


async def name_next(connection: AsyncConnection, model: str) -> str:
    """Name the next version of ``model``: none that it has, or that a job was about to make."""
    known = list((await connection.execute(select(versions.c.version).where(versions.c.model == model))).scalars())
    planned = select(jobs.c.version).where(jobs.c.model == model, jobs.c.version.is_not(None))
    known += [name for name in (await connection.execute(planned)).scalars() if name is not None]
    champion = await in_service(connection, model)
    return next_name(known, None if champion is None else champion.version)


# --- reading


async def find(connection: AsyncConnection, model: str, version: str) -> Version | None:
    """Find one version."""
    return await _one(connection, select(versions).where(versions.c.model == model, versions.c.version == version))


async def in_service(connection: AsyncConnection, model: str) -> Version | None:
    """Find the champion."""
    return await _in_state(connection, model, VersionState.CHAMPION)


async def under_way(connection: AsyncConnection, model: str) -> Version | None:
    """Find the version that is being deployed."""
    return await _in_state(connection, model, VersionState.DEPLOYING)


async def all_under_way(connection: AsyncConnection) -> list[Version]:
    """Every deployment that is to be done, or to be done again after a crash."""
    return await _all(connection, select(versions).where(versions.c.state == VersionState.DEPLOYING))


async def not_adopted(connection: AsyncConnection) -> list[Version]:
    """Champions whose references the pipeline has not taken over yet."""
    due = (versions.c.state == VersionState.CHAMPION) & versions.c.adopted.is_(None)
    return await _all(connection, select(versions).where(due))


# --- changing


async def ensure_external(
    connection: AsyncConnection, model: str, version: str | None, now: float, row: int = 0
) -> Version:
    """Make sure that a version which events name is known: the first one of a model is its champion.

    A later one that was not made here is ``seen``; ``serve`` makes it the champion once it has taken over.
    """
    name = UNNAMED if version is None else version
    first = await in_service(connection, model) is None and await under_way(connection, model) is None
    state, reason = (
        (VersionState.CHAMPION, VersionReason.FIRST_SEEN) if first else (VersionState.SEEN, VersionReason.SEEN)
    )
    external: dict[str, Any] = {"model": model, "version": name, "state": state, "reason": reason, "origin": "external"}
    external |= {"created": now, "promoted": now if first else None, "adopted": now if first else None}
    await insert_new(connection, versions, [{**external, "from_row": row if first else None}])
    found = await find(connection, model, name)
    assert found is not None  # noqa: S101 (it was there, or has just been inserted)
    if found.state is VersionState.CHAMPION:
        await _in_use(connection, model, name)
    return found


async def serve(connection: AsyncConnection, model: str, version: str, now: float, row: int) -> Version:
    """Take it that somebody else has brought ``version`` into service, from ``row`` on. Raises NotPossible."""
    found = await _known(connection, model, version)
    if found.state is VersionState.CHAMPION:
        return found
    moved(found.state, Step.SERVE)
    former = await in_service(connection, model)
    if former is not None:
        await _set(connection, former, Step.REPLACE, VersionReason.REPLACED, None, retired=now)
    own = {"promoted": now, "adopted": None, "from_row": row, "previous": former.version if former else None}
    served = await _set(connection, found, Step.SERVE, VersionReason.SEEN, None, **own)
    await _in_use(connection, model, version)
    await connection.execute(update(models).where(models.c.model == model).values(held=None, watching=False))
    return served


async def add(
    connection: AsyncConnection,
    model: str,
    version: str,
    now: float,
    *,
    state: VersionState,
    reason: VersionReason,
    path: str,
    model_hash: str,
    job: int,
    metrics: Mapping[str, Any],
) -> Version:
    """Add a version that was trained and judged: deploying, awaiting a person, or rejected."""
    trained: dict[str, Any] = {
        "model": model,
        "version": version,
        "state": state,
        "reason": reason,
        "origin": "trained",
    }
    trained |= {"path": path, "hash": model_hash, "job": job, "created": now, "metrics": dict(metrics)}
    if state is VersionState.AWAITING:
        await _supersede(connection, model)
    row = (await connection.execute(insert(versions).values(trained).returning(versions))).mappings().one()
    return _version(row)


async def send(connection: AsyncConnection, model: str, version: str, reason: VersionReason, by: str | None) -> Version:
    """Send a version on its way into service. Raises NotPossible."""
    found = await _known(connection, model, version)
    if found.state is VersionState.CHAMPION:
        raise NotPossible("in_service", f"version {version} of {model} is in service already")
    other = await under_way(connection, model)
    if other is not None:
        raise NotPossible("already_running", f"version {other.version} of {model} is being deployed", "try again soon")
    if found.path is None and found.origin == "trained":
        hint = f"driftd retrain {model} makes another one; DRIFTD_RETRAIN__KEEP_VERSIONS says how many are kept"
        raise NotPossible("files_gone", f"the files of version {version} of {model} are not kept any more", hint)
    return await _set(connection, found, Step.DEPLOY, reason, by)


async def decline(connection: AsyncConnection, model: str, version: str, by: str) -> Version:
    """Say no to a version that waits for a person. Raises NotPossible."""
    return await _set(connection, await _known(connection, model, version), Step.DECLINE, VersionReason.DECLINED, by)


async def deployed(connection: AsyncConnection, model: str, version: str, now: float) -> tuple[Version, Version | None]:
    """Switch the champion to the version that has just been deployed. Returns it and the one before it.

    A rollback withdraws the one before; its predecessor stays what it was, so that one can go back further.
    """
    found = await _known(connection, model, version)
    former = await in_service(connection, model)
    back = found.rolls_back
    if former is not None:
        step, reason = Step.REPLACE, VersionReason.REPLACED
        if back:
            step, reason = Step.WITHDRAW, VersionReason.TAKEN_BACK if found.by else VersionReason.DISAPPOINTED
        former = await _set(connection, former, step, reason, found.by, retired=now)
    rows = (await connection.execute(select(models.c.rows).where(models.c.model == model))).scalar()
    own: dict[str, Any] = {"promoted": now, "adopted": None, "retired": None, "from_row": rows or 0}
    if not back:
        own["previous"] = None if former is None else former.version
    champion = await _set(connection, found, Step.DEPLOYED, VersionReason(found.reason or ""), found.by, **own)
    await _in_use(connection, model, version)
    changed = update(models).where(models.c.model == model)
    await connection.execute(changed.values(watching=not back and former is not None, held=None))
    count = {"model": model, "name": "rollbacks" if back else "promotions", "value": 1}
    await add_up(connection, counters, "value", [count])
    return champion, former


async def give_up(connection: AsyncConnection, model: str, version: str) -> Version:
    """End a deployment that cannot be done."""
    found = await _known(connection, model, version)
    step = Step.GIVE_UP_ROLLBACK if found.rolls_back else Step.GIVE_UP
    return await _set(connection, found, step, VersionReason.DEPLOY_FAILED, found.by)


async def remember_given(connection: AsyncConnection, model: str, version: str, given: str) -> None:
    """Note what the service was given of a version that was not made here, so that it can be given that again."""
    which = (versions.c.model == model) & (versions.c.version == version) & (versions.c.origin == "external")
    await connection.execute(update(versions).where(which).values(path=given))


async def adopted(connection: AsyncConnection, model: str, version: str, now: float) -> None:
    """Note that the pipeline goes by this version now."""
    which = (versions.c.model == model) & (versions.c.version == version)
    await connection.execute(update(versions).where(which).values(adopted=now))


async def before(connection: AsyncConnection, model: str) -> Version:
    """Find the version that a rollback would bring back. Raises NotPossible."""
    champion = await in_service(connection, model)
    previous = None if champion is None or champion.previous is None else champion.previous
    found = None if previous is None else await find(connection, model, previous)
    if found is None:
        hint = f"driftd versions {model} lists what there is, driftd promote {model} VERSION deploys one of them"
        raise NotPossible("nothing_before", f"{model} has no version before the one in service", hint)
    return found


# --- rows


async def _supersede(connection: AsyncConnection, model: str) -> None:
    waiting = (versions.c.model == model) & (versions.c.state == VersionState.AWAITING)
    later = {"state": moved(VersionState.AWAITING, Step.DECLINE), "reason": VersionReason.SUPERSEDED}
    await connection.execute(update(versions).where(waiting).values(later))


async def _in_use(connection: AsyncConnection, model: str, version: str) -> None:
    await connection.execute(update(models).where(models.c.model == model).values(version=version))


async def _set(
    connection: AsyncConnection, one: Version, step: Step, reason: VersionReason, by: str | None, **more: object
) -> Version:
    """Take a step from the state that was read, and from no other."""
    which = (versions.c.model == one.model) & (versions.c.version == one.version) & (versions.c.state == one.state)
    values = {"state": moved(one.state, step), "reason": reason, "by": by, **more}
    row = (await connection.execute(update(versions).where(which).values(values).returning(versions))).mappings().one()
    return _version(row)


async def _known(connection: AsyncConnection, model: str, version: str) -> Version:
    found = await find(connection, model, version)
    if found is None:
        raise NotPossible("unknown", f"{model} has no version {version}", f"driftd versions {model} lists them")
    return found


async def _in_state(connection: AsyncConnection, model: str, state: VersionState) -> Version | None:
    return await _one(connection, select(versions).where(versions.c.model == model, versions.c.state == state))


async def _one(connection: AsyncConnection, query: Select[Any]) -> Version | None:
    row = (await connection.execute(query)).mappings().first()
    return None if row is None else _version(row)


async def _all(connection: AsyncConnection, query: Select[Any]) -> list[Version]:
    return [_version(row) for row in (await connection.execute(query)).mappings()]


def _version(row: RowMapping) -> Version:
    return Version(**{**row, "state": VersionState(row["state"])})
