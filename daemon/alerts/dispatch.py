"""Sends what is in the outbox, one message at a time and in order, and never gives up."""

import asyncio
import time
from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from sqlalchemy.exc import DBAPIError

from daemon.alerts.backoff import wait_seconds
from daemon.alerts.incidents import REPEAT_SECONDS, last_said, reconsider, remind
from daemon.alerts.sending import LEASE_SECONDS, Claim, choose, claim, count_waiting, hurry, record, waiting
from daemon.alerts.silences import ended
from daemon.logs import get_logger
from daemon.metrics import OUTBOX_FAILED, OUTBOX_SENT, OUTBOX_WAITING, Metrics
from daemon.notifiers.base import Failed, Notifier, Outcome, Problem, RetryLater, Sent
from daemon.stores.engine import Store, first_line

POLL_SECONDS: Final = 15.0
"""Between looks at the store when nobody says that there is something new."""
TROUBLE_SECONDS: Final = 5.0
"""After the store could not be used."""

log = get_logger("daemon.alerts.dispatch")


class Clock(Protocol):
    """What the dispatcher knows of time."""

    def now(self) -> float:
        """Epoch seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that nobody sets back."""
        ...

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Return when ``event`` is set or ``seconds`` have passed."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """Epoch seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that nobody sets back."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Return when ``event`` is set or ``seconds`` have passed."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass


class Dispatcher:
    """Takes what waits in the outbox to a notifier, until it is stopped.

    ``run`` works until ``stop``, and outlives a store or a service that is away; ``wake`` makes it look at once, and
    may be called from the event loop at any time. One message is on its way at a time, and never more than the
    notifier's pace allows. ``page_url`` is the status page's address; ``repeat_seconds`` tells, for a model, after how
    long an open incident is said again.
    """

    def __init__(
        self,
        store: Store,
        notifier: Notifier,
        *,
        metrics: Metrics,
        clock: Clock | None = None,
        random: Random | None = None,
        page_url: str | None = None,
        repeat_seconds: Callable[[str], float] = lambda _model: REPEAT_SECONDS,
    ) -> None:
        self._store = store
        self._notifier = notifier
        self._metrics = metrics
        self._clock = clock if clock is not None else SystemClock()
        self._random = random if random is not None else Random()  # noqa: S311 (spreads retries, hides nothing)
        self._page_url = page_url
        self._repeat_seconds = repeat_seconds
        self._woken = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False
        self._looked_at: float | None = None
        self._failing = False
        self._free_at = self._clock.monotonic()
        self._chores_at = self._free_at
        self._unrecorded: tuple[Claim, Outcome, float] | None = None

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._woken.set()

    async def run(self) -> None:
        """Send until stopped."""
        self._idle.clear()
        try:
            while not self._stopping:
                self._woken.clear()
                try:
                    pause = await self.step()
                except (DBAPIError, OSError) as error:
                    log.warning("the outbox cannot be read or written", error=first_line(error))
                    pause = TROUBLE_SECONDS
                except Exception as error:
                    log.exception("the outbox cannot be read or written", error=type(error).__name__)
                    pause = TROUBLE_SECONDS
                if not self._stopping:
                    await self._clock.wait(self._woken, pause)
        finally:
            self._idle.set()

    async def stop(self) -> None:
        """Finish the message that is on its way, start no other, and let go of the notifier."""
        self._stopping = True
        self._woken.set()
        await self._idle.wait()
        await self._notifier.close()

    async def step(self) -> float:
        """Send the next message if it is time for one; return the seconds until there may be more to do.

        Raises what the store raises; a message that was sent and could not be written down is written down first when
        it is called again.
        """
        if self._unrecorded is not None:
            await self._record(*self._unrecorded)
        now = self._clock.monotonic()
        if now >= self._chores_at:
            await self._chores()
            self._chores_at = now + POLL_SECONDS
        if now < self._free_at:
            return self._free_at - now
        async with self._store.read() as connection:
            next_row = choose(await waiting(connection), self._clock.now())
        if next_row is None or isinstance(next_row, float):
            until_chores = self._chores_at - now
            return until_chores if next_row is None else min(next_row, until_chores)
        async with self._store.begin() as connection:
            claimed = await claim(
                connection,
                next_row,
                self._clock.now(),
                threads=self._notifier.threads,
                page_url=self._page_url,
            )
        if claimed is None:
            return 0.0
        outcome = await self._send(claimed)
        wait = 0.0 if isinstance(outcome, Sent) else wait_seconds(outcome, claimed.attempts, self._random)
        self._free_at = self._clock.monotonic() + max(wait, self._notifier.pause)
        self._count(claimed, outcome, wait)
        self._unrecorded = (claimed, outcome, wait)
        await self._record(*self._unrecorded)
        return max(self._free_at - self._clock.monotonic(), 0.0)

    async def _send(self, claimed: Claim) -> Outcome:
        try:
            async with asyncio.timeout(LEASE_SECONDS):
                return await self._notifier.send(claimed.delivery)
        except TimeoutError:
            return RetryLater(Problem.NO_ANSWER, "no answer in time", maybe_sent=True)
        except Exception as error:  # noqa: BLE001 (a notifier that breaks its promise must not stop the others' alerts)
            # the text of the error is not passed on: it may hold a secret
            return RetryLater(Problem.UNKNOWN, f"the notifier broke ({type(error).__name__})", maybe_sent=True)

    async def _record(self, claimed: Claim, outcome: Outcome, wait: float) -> None:
        async with self._store.begin() as connection:
            await record(connection, claimed, outcome, self._clock.now(), wait, threads=self._notifier.threads)
        self._unrecorded = None

    async def _chores(self) -> None:
        """What nobody wakes us for: a fresh start, silences that end, incidents that stay open."""
        now = self._clock.now()
        async with self._store.read() as connection:
            self._metrics.set(OUTBOX_WAITING, await count_waiting(connection))
            lifted = self._looked_at is None or await ended(connection, self._looked_at, now)
            said = await last_said(connection)
        stale = [model for model, last in said.items() if last + self._repeat_seconds(model) <= now]
        if lifted or stale:
            async with self._store.begin() as connection:
                if self._looked_at is None:
                    await hurry(connection, now)
                if lifted:
                    await reconsider(connection, now)
                for model in stale:
                    await remind(connection, model, now)
        self._looked_at = now

    def _count(self, claimed: Claim, outcome: Outcome, wait: float) -> None:
        about = {"notifier": self._notifier.name, "model": claimed.model, "incident": claimed.incident}
        if isinstance(outcome, Sent):
            self._metrics.add(OUTBOX_SENT)
            if self._failing:
                log.info("alerts are sent again", **about)
            self._failing = False
            return
        self._failing = True
        self._metrics.add(OUTBOX_FAILED, 1, outcome.problem)
        trouble = {"problem": outcome.problem.value, "hint": outcome.hint, "attempts": claimed.attempts}
        if isinstance(outcome, Failed):
            said = "alerts cannot be sent until somebody acts" if outcome.permanent else "an alert was refused"
            log.error(said, **about, **trouble)
        else:
            log.warning("an alert was not sent yet", **about, **trouble, next_try_seconds=round(wait, 1))
