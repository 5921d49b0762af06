"""Brings versions into service, takes them back, and has the pipeline go by the one in service.

What is to be deployed stands in the store before anything is done. A crash between the deployer's work and the switch
of the champion has the same version deployed again, which changes nothing for a deployer; a crash between the switch
and the pipeline's has the pipeline told again.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.alerts.notes import NoteKind
from daemon.lifecycle import jobs, versions
from daemon.lifecycle.job_folder import Places
from daemon.lifecycle.promotion import Version
from daemon.lifecycle.recipe import Recipe
from daemon.lifecycle.standing import settle
from daemon.lifecycle.triggers import Note
from daemon.logs import get_logger
from daemon.metrics import PROMOTIONS, ROLLBACKS, Metrics
from daemon.stores.engine import Store
from daemon.stores.tables import decisions
from retrain.base import Deployed, Deployer, DeployError, DeployReason

RETRY_SECONDS: Final = (5.0, 30.0, 120.0)
"""Waits between the tries of a deployment; after the last of them a person is asked."""
HOPELESS: Final = frozenset({DeployReason.BAD_SETTING, DeployReason.TAMPERED, DeployReason.NOT_OURS})
"""Failures that no second try can mend."""
ADOPT_SECONDS: Final = 5.0
UNEXPECTED: Final = "unexpected"
EXTERNAL: Final = "external"
"""Origin of a version that was not made here."""

log = get_logger("daemon.lifecycle.deployments")
T = TypeVar("T")


class Adopt(Protocol):
    """Has the pipeline go by the version in service: its reference, its thresholds, its own rows.

    Called after every switch of the champion, a rollback included, and again after a crash, until it returns; so it has
    to be harmless a second time. ``result`` is that of the retrain, None for a version that was not made here.
    """

    async def __call__(self, version: Version, result: Mapping[str, Any] | None) -> None:
        """Go by ``version`` from now on."""
        ...


async def always() -> bool:
    """Nobody else deploys."""
    return True


class Deployments:
    """Does every deployment that the store asks for, one after the other, if it ``may``: one process does at a time."""

    def __init__(
        self,
        store: Store,
        places: Places,
        recipe: Callable[[str], Recipe],
        *,
        adopt: Adopt,
        note: Note,
        may: Callable[[], Awaitable[bool]] = always,
        metrics: Metrics | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._places = places
        self._recipe = recipe
        self._adopt = adopt
        self._note = note
        self._may = may
        self._metrics = metrics
        self._clock = clock
        self._tries: dict[tuple[str, str], int] = {}
        self._not_before: dict[tuple[str, str], float] = {}

    async def step(self) -> bool:
        """Do what is due. Returns whether there was anything."""
        async with self._store.read() as connection:
            under_way = await versions.all_under_way(connection)
            switched = await versions.not_adopted(connection)
        if not (switched or under_way) or not await self._may():
            return False
        worked = False
        for version in switched:
            worked = await self._have_adopted(version) or worked
        for version in under_way:
            worked = await self._deploy(version) or worked
        return worked

    # --- one deployment

    async def _deploy(self, version: Version) -> bool:
        key = (version.model, version.version)
        if self._clock() < self._not_before.get(key, 0.0):
            return False
        try:
            done = await self._use_deployer(version)
        except DeployError as error:
            await self._failed(version, error.reason, error.message, error.hint)
            return True
        except Exception as error:  # a mistake in a deployer must not end the daemon, again and again
            log.exception("unexpected", model=version.model, version=version.version)
            await self._failed(version, UNEXPECTED, f"{type(error).__name__}: {error}", "see the log")
            return True
        self._forget(key)
        now = self._clock()
        async with self._store.begin() as connection:
            if not await _is_under_way(connection, version):
                return True  # another process was faster, with the same version
            champion, former = await versions.deployed(connection, version.model, version.version, now)
            await self._say(connection, version, None if former is None else former.version, now)
            await settle(connection, version.model)
        log.info("version in service", model=version.model, version=version.version, target=done.target)
        if self._metrics is not None:
            self._metrics.add(ROLLBACKS if version.rolls_back else PROMOTIONS, 1, version.model)
        await self._have_adopted(champion)
        return True

    async def _use_deployer(self, version: Version) -> Deployed:
        from retrain.deployers import deploy, make_deployer

        recipe = self._recipe(version.model)
        deployer = make_deployer(recipe.deployer, recipe.deploy)
        model, name, path = version.model, version.version, version.path
        if version.origin == EXTERNAL:
            return await in_thread(lambda: deployer.restore(model, name, path))
        if path is None or version.hash is None:
            raise DeployError(DeployReason.TAMPERED, f"the files of version {name} are gone", f"driftd retrain {model}")
        await self._remember_given(model, deployer)
        evaluated = version.hash

        def bring() -> Deployed:
            files = self._copy(model, name, evaluated) if self._places.shared else Path(path)
            return deploy(deployer, model=model, version=name, path=files, model_hash=evaluated)

        return await in_thread(bring)

    async def _remember_given(self, model: str, deployer: Deployer) -> None:
        """Before the first switch away from a version that was not made here: what its service has, to go back to."""
        async with self._store.read() as connection:
            champion = await versions.in_service(connection, model)
        if champion is None or champion.origin != EXTERNAL:
            return
        given = await in_thread(lambda: deployer.given(model))
        if given is not None:
            async with self._store.begin() as connection:
                await versions.remember_given(connection, model, champion.version, given)

    def _copy(self, model: str, version: str, evaluated: str) -> Path:
        """Return the version on this machine: it may have been made on another one."""
        from retrain.publication import local_copy
        from retrain.registry import Registry, RegistryError

        try:
            return local_copy(self._places.storage, Registry(self._places.models), model, version, evaluated)
        except RegistryError as error:
            hint = "do not serve these files: retrain, or roll back to a version that is whole"
            raise DeployError(DeployReason.TAMPERED, str(error), hint) from error
        except OSError as error:
            raise DeployError(DeployReason.UNREACHABLE, str(error), "driftd doctor tries the archive") from error

    async def _failed(self, version: Version, reason: str, message: str, hint: str) -> None:
        key = (version.model, version.version)
        tries = self._tries[key] = self._tries.get(key, 0) + 1
        log.error("deployment failed", model=version.model, version=version.version, tries=tries, error=message)
        if tries <= len(RETRY_SECONDS) and reason not in HOPELESS:
            self._not_before[key] = self._clock() + RETRY_SECONDS[tries - 1]
            return
        self._forget(key)
        what = "could not be brought back" if version.rolls_back else "could not be deployed"
        because = f"{message} ({hint})" if hint else message
        text = f"version {version.version} {what}: {because}"
        now = self._clock()
        async with self._store.begin() as connection:
            if not await _is_under_way(connection, version):
                return
            await versions.give_up(connection, version.model, version.version)
            fields = {"version": version.version, "text": because}
            await self._note(connection, version.model, NoteKind.DEPLOY_FAILED, fields, now)
            values = {"model": version.model, "at": now, "action": "deploy_failed", "reason": reason}
            await connection.execute(insert(decisions).values({**values, "detail": {**fields, "by": version.by}}))
            again = f"; see to it, then driftd promote {version.model} {version.version}"
            if reason == DeployReason.NOT_OURS:
                again = ""  # nothing but what the hint says would help
            await settle(connection, version.model, held=f"{text}{again}")

    async def _say(self, connection: AsyncConnection, version: Version, former: str | None, now: float) -> None:
        kind = NoteKind.ROLLED_BACK if version.rolls_back else NoteKind.PROMOTED
        fields = {"version": version.version, "previous": former}
        why = {"reason": "by_hand" if version.by else "new_version_disappoints"} if version.rolls_back else {}
        await self._note(connection, version.model, kind, {**fields, **why}, now)
        values = {"model": version.model, "at": now, "action": kind, "reason": version.reason}
        await connection.execute(insert(decisions).values({**values, "detail": {**fields, **why, "by": version.by}}))

    # --- and the pipeline

    async def _have_adopted(self, version: Version) -> bool:
        key = (version.model, version.version)
        if self._clock() < self._not_before.get(key, 0.0):
            return False
        result = None
        if version.job is not None:
            async with self._store.read() as connection:
                job = await jobs.find(connection, version.job)
            result = None if job is None else job.result
        try:
            await self._adopt(version, result)
        except Exception:  # whatever it is, it is tried again: monitoring by the old reference would mislead
            log.exception("cannot go by the version in service", model=version.model, version=version.version)
            self._not_before[key] = self._clock() + ADOPT_SECONDS
            return True
        async with self._store.begin() as connection:
            await versions.adopted(connection, version.model, version.version, self._clock())
            await settle(connection, version.model)
        return True

    def _forget(self, key: tuple[str, str]) -> None:
        self._tries.pop(key, None)
        self._not_before.pop(key, None)


async def _is_under_way(connection: AsyncConnection, version: Version) -> bool:
    now = await versions.under_way(connection, version.model)
    return now is not None and now.version == version.version


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking ``work`` in a thread that does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle_with(act: Callable[[Any], None], value: object) -> None:
        def tell() -> None:
            if not answer.done():
                act(value)

        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:
            return  # the loop has ended: nobody waits

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 (it is raised where it is waited for)
            settle_with(answer.set_exception, error)
        else:
            settle_with(answer.set_result, result)

    threading.Thread(target=run, name="deploy", daemon=True).start()
    return await answer
