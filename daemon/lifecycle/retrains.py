"""Runs the retrains of the ledger: claim, prepare, train in a child process, and store what came of it.

A crash between any two steps loses nothing: the job is queued again when its lease runs out, an answer that the child
had left is taken as it is, and the version gets into the store in the same transaction as the end of the job.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.alerts.notes import NoteKind
from daemon.fleet.workers import new_name
from daemon.lifecycle import jobs, versions
from daemon.lifecycle.child import Child, Progress
from daemon.lifecycle.deployments import Adopt, Deployments, always
from daemon.lifecycle.job_folder import NothingToLearn, Places, prepare, tidy
from daemon.lifecycle.jobs import LEASE_SECONDS, Job
from daemon.lifecycle.outcome import Answer, failed, read_answer, standing
from daemon.lifecycle.promotion import VersionState
from daemon.lifecycle.recipe import Recipe
from daemon.lifecycle.standing import settle
from daemon.lifecycle.triggers import Note
from daemon.lifecycle.worker import POLL_SECONDS, Worker
from daemon.logs import get_logger
from daemon.metrics import RETRAINS, Metrics
from daemon.stores.engine import Store
from daemon.stores.errors import StoreAway
from daemon.stores.tables import decisions
from retrain.base import Outcome, Reason
from retrain.result import RESULT_FILE

COMMAND: Final = (sys.executable, "-I", "-m", "retrain")
GRACE_SECONDS: Final = 30.0
"""Beyond the child's own limit, after which it is ended from outside."""
TICK_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 2.0
DEPLOY_STOP_SECONDS: Final = 5.0
CRASHED: Final = "crashed"

log = get_logger("daemon.lifecycle.retrains")


class LeaseLost(Exception):
    """Somebody else has taken the job over: whatever this process still makes of it does not count."""


class Stopped(Exception):
    """The daemon stops: the job is for the next start."""


class Retrains:
    """Runs retrains, one at a time, and beside them the deployments that follow.

    ``adopt`` has the pipeline go by a new champion. ``owner`` is the name by which jobs are claimed. ``alone``: no
    other process works on this store, so that what another one had claimed is free at once. ``may_deploy`` tells
    whether this process is the one that deploys.
    """

    def __init__(
        self,
        store: Store,
        places: Places,
        recipe: Callable[[str], Recipe],
        *,
        adopt: Adopt,
        note: Note,
        owner: str | None = None,
        metrics: Metrics | None = None,
        alone: bool = True,
        may_deploy: Callable[[], Awaitable[bool]] = always,
        command: Sequence[str] = COMMAND,
        clock: Callable[[], float] = time.time,
        lease_seconds: float = LEASE_SECONDS,
        tick_seconds: float = TICK_SECONDS,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._store = store
        self._places = places
        self._recipe = recipe
        self._note = note
        self._metrics = metrics
        self._alone = alone
        self._command = command
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._tick_seconds = tick_seconds
        self.owner = owner or new_name()
        self._recovered = float("-inf")
        self.deployments = Deployments(
            store, places, recipe, adopt=adopt, note=note, may=may_deploy, metrics=metrics, clock=clock
        )
        self._worker = Worker("retrains", self.step, poll_seconds=poll_seconds)
        self._deployer = Worker("deployments", self.deployments.step, poll_seconds=poll_seconds)

    def wake(self) -> None:
        """There may be a retrain or a deployment to do."""
        self._worker.wake()
        self._deployer.wake()

    def stop(self) -> None:
        """End soon: a retrain under way is stopped and queued again, a deployment is done again at the next start."""
        self._worker.stop()
        self._deployer.stop()

    async def run(self) -> None:
        """Work until stopped."""
        async with asyncio.TaskGroup() as group:
            deploying = group.create_task(self._deployer.run(), name="deployments")
            await self._worker.run()
            await asyncio.wait({deploying}, timeout=DEPLOY_STOP_SECONDS)
            deploying.cancel()

    async def step(self) -> bool:
        """Do one queued retrain, if there is one."""
        await self._recover()
        job = await self._claim()
        if job is None:
            return False
        log.info("retrain started", model=job.model, job=job.id, version=job.version, attempt=job.attempts)
        try:
            recipe = self._recipe(job.model)
            await self._conclude(job, recipe, await self._answer(job, recipe))
        except LeaseLost:
            log.warning("retrain taken over by another process", model=job.model, job=job.id)
        except Stopped:
            await self._give_back(job)
            return False
        await asyncio.to_thread(tidy, self._places.job(job.id))
        return True

    # --- before

    async def _recover(self) -> None:
        now = self._clock()
        if now - self._recovered < self._lease_seconds:
            return
        first = self._recovered == float("-inf")
        async with self._store.begin() as connection:
            queued, dead = await jobs.recover(connection, now, alone=self._alone and first)
            for job in dead:
                answer = failed(CRASHED, job.error or "", "see whether the machine ran out of memory")
                await self._say(connection, job, answer, now)
            for job in (*queued, *dead):
                await settle(connection, job.model)
        self._recovered = now
        for job in queued:
            log.warning("retrain resumed after a crash", model=job.model, job=job.id, attempts=job.attempts)

    async def _claim(self) -> Job | None:
        now = self._clock()
        async with self._store.begin() as connection:
            job = await jobs.claim(connection, self.owner, now, self._lease_seconds)
            if job is None:
                return None
            # a second attempt makes the same version: the registry replaces what the first one left of it
            version = job.version or await versions.name_next(connection, job.model)
            champion = await versions.in_service(connection, job.model)
            await jobs.assign(connection, job.id, self.owner, version, None if champion is None else champion.version)
            await settle(connection, job.model)
            return await jobs.find(connection, job.id)

    # --- the child

    async def _answer(self, job: Job, recipe: Recipe) -> Answer:
        try:
            return await self._train(job, recipe)
        except (LeaseLost, Stopped, DBAPIError, StoreAway):
            raise
        except Exception as error:  # a mistake in one model's retrain must not end the daemon
            log.exception("unexpected", model=job.model, job=job.id)
            return failed(Reason.UNEXPECTED, f"{type(error).__name__}: {error}", "see the log")

    async def _train(self, job: Job, recipe: Recipe) -> Answer:
        folder = self._places.job(job.id)
        if job.attempts > 1 and (folder / RESULT_FILE).exists():
            left = read_answer(folder, job, 0, "")
            if left.result.outcome is not Outcome.FAILED:
                return left
        try:
            async with self._store.read() as connection:
                await prepare(connection, job, recipe, self._places)
            child = await Child.start(self._command, folder, self._places.storage.environment)
        except NothingToLearn as error:
            return failed(Reason.TOO_FEW_ROWS, str(error))
        except StoreAway:
            raise
        except OSError as error:
            return failed(Reason.UNEXPECTED, f"cannot prepare {folder}: {error}", "see that there is room on the disk")
        try:
            async with asyncio.timeout(recipe.limits.seconds + GRACE_SECONDS):
                code = await self._follow(job, child)
        except TimeoutError:
            hint = "raise DRIFTD_RETRAIN__TIMEOUT_SECONDS, or train on fewer rows"
            return failed(Reason.TIMED_OUT, f"ended after {recipe.limits.seconds:g} s", hint)
        finally:
            try:
                await child.end()
            except asyncio.CancelledError:
                child.kill()
                raise
        return await asyncio.to_thread(read_answer, folder, job, code, child.log_tail())

    async def _follow(self, job: Job, child: Child) -> int:
        """Renew the lease while the child works, note how far it is, and say so once it has its rows."""
        latest: list[Progress] = []
        rows: list[int] = []

        def hear(progress: Progress) -> None:
            latest[:] = [progress]
            rows[:] = rows if progress.rows is None else [progress.rows]

        following = asyncio.create_task(child.follow(hear))
        stopping = asyncio.create_task(self._worker.stopping.wait())
        told, beat = None, self._clock()
        said = job.attempts > 1
        try:
            while True:
                await asyncio.wait({following, stopping}, timeout=self._tick_seconds, return_when="FIRST_COMPLETED")
                if rows and not said:
                    said = await self._say_started(job, rows[0])
                if following.done():
                    return following.result()
                if stopping.done():
                    raise Stopped
                progress = latest[0] if latest else None
                if progress != told or self._clock() - beat >= self._lease_seconds / 4:
                    await self._beat(job, progress)
                    told, beat = progress, self._clock()
        finally:
            for task in (following, stopping):
                task.cancel()

    async def _say_started(self, job: Job, rows: int) -> bool:
        """Tell people that the retrain is under way. Returns whether that could be stored."""
        fields = {"version": job.version, "rows": rows, "since_row": job.since_row, "trigger": job.trigger}
        try:
            async with self._store.begin() as connection:
                await self._note(connection, job.model, NoteKind.RETRAIN_STARTED, fields, self._clock())
        except (DBAPIError, OSError) as error:
            log.warning("cannot say that a retrain has begun", job=job.id, error=str(error))
            return False
        return True

    async def _beat(self, job: Job, progress: Progress | None) -> None:
        stage, done = (None, None) if progress is None else (progress.stage, progress.done)
        try:
            async with self._store.begin() as connection:
                held = await jobs.heartbeat(
                    connection, job.id, self.owner, self._clock(), self._lease_seconds, stage=stage, progress=done
                )
                await settle(connection, job.model)
        except (DBAPIError, OSError) as error:
            log.warning("cannot renew the lease of a retrain", job=job.id, error=str(error))
            return
        if not held:
            raise LeaseLost

    # --- after

    async def _conclude(self, job: Job, recipe: Recipe, answer: Answer) -> None:
        while True:
            try:
                async with self._store.begin() as connection:
                    state = await self._write(connection, job, recipe, answer)
                break
            except (DBAPIError, OSError) as error:
                log.warning("cannot store the end of a retrain, trying again", job=job.id, error=str(error))
                if self._worker.stopping.is_set():
                    raise Stopped from error
                await asyncio.sleep(RETRY_SECONDS)
        log.info("retrain ended", model=job.model, job=job.id, outcome=answer.result.outcome, detail=answer.text)
        if state is VersionState.DEPLOYING:
            self._deployer.wake()

    async def _write(
        self, connection: AsyncConnection, job: Job, recipe: Recipe, answer: Answer
    ) -> VersionState | None:
        """Everything that follows from the answer, in one transaction."""
        now, result = self._clock(), answer.result
        error = answer.text if result.outcome is Outcome.FAILED else None
        ended = await jobs.finish(
            connection,
            job.id,
            self.owner,
            now,
            result.outcome,
            reasons=result.reasons,
            result=answer.stored,
            error=error,
        )
        if not ended:
            raise LeaseLost
        state = None
        if result.outcome is not Outcome.FAILED:
            state = await self._add_version(connection, job, recipe, answer, now)
        await self._say(connection, job, answer, now)
        if state is VersionState.AWAITING:
            await self._note(connection, job.model, NoteKind.AWAITING_APPROVAL, {"version": job.version}, now)
        await settle(connection, job.model)
        return state

    async def _add_version(
        self, connection: AsyncConnection, job: Job, recipe: Recipe, answer: Answer, now: float
    ) -> VersionState:
        champion = await versions.in_service(connection, job.model)
        same = (None if champion is None else champion.version) == job.champion
        same = same and await versions.under_way(connection, job.model) is None
        state, reason = standing(answer.result.outcome, recipe.mode, same_champion=same)
        shown = ("metrics", "gain", "algorithm", "dataset_hash", "reference_error")
        await versions.add(
            connection,
            job.model,
            job.version or "",
            now,
            state=state,
            reason=reason,
            path=answer.result.path or "",
            model_hash=answer.result.model_hash or "",
            job=job.id,
            metrics={name: answer.stored.get(name) for name in shown},
        )
        return state

    async def _say(self, connection: AsyncConnection, job: Job, answer: Answer, now: float) -> None:
        """Store the gate's word as a decision, and tell people."""
        result = answer.result
        reason = result.reasons[0] if result.reasons else result.outcome
        detail = {"job": job.id, "version": job.version, "reasons": result.reasons, "text": answer.text}
        values = {"model": job.model, "at": now, "alarm": job.alarm, "action": result.outcome, "reason": reason}
        await connection.execute(insert(decisions).values({**values, "detail": detail}))
        fields: Mapping[str, Any] = {"version": job.version, "reason": reason, "text": answer.text}
        kind = NoteKind.RETRAIN_FAILED
        if result.outcome is not Outcome.FAILED:
            kind = NoteKind.GATE
            fields = {"version": job.version, "outcome": result.outcome, "reasons": result.reasons}
            fields |= {"gain": answer.stored.get("gain")}
        await self._note(connection, job.model, kind, fields, now)
        if self._metrics is not None:
            self._metrics.add(RETRAINS, 1, job.model, result.outcome)

    async def _give_back(self, job: Job) -> None:
        async with self._store.begin() as connection:
            await jobs.release(connection, job.id, self.owner)
            await settle(connection, job.model)
        log.info("retrain stopped, to be resumed at the next start", model=job.model, job=job.id)
