"""Events of several models, sent to a topic all the time, and what has to come of them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from kafka_clients import administrator
from seeded_events import BAD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kafka_broker import Broker, Cluster

MODELS = ("loans", "churn", "rent", "leases")
DRIFTS = "loans"
"""The model whose world moves."""
DRIFT_AT = 700
"""From this row of it on."""
RETURN_ROWS = 200_000
"""Rows until its world returns to what it was, and again until it moves once more."""
SERVED_BADLY = "leases"
"""The model whose version 1 knows half of what decides its labels: a retrain finds a better one."""
DELAYS = (-20, 2, 2, 40, 40, 400, 2_000, 20_000)
"""Events between a prediction and its label, which may come first."""
SECONDS = 0.01
"""Between the times of two events, whatever the rate at which they are sent."""
TICK_SECONDS = 0.02
PRODUCER_SECONDS = 180.0  # a broker may be away for long: nothing is given up meanwhile


async def make_topic(kafka: Broker | Cluster, topic: str, partitions: int, copies: int = 1) -> None:
    """A topic whose records bear the time at which they came: then their order is the same whenever they are read."""
    async with administrator(kafka) as admin:
        await admin.create_topics(
            [NewTopic(topic, partitions, copies, topic_configs={"message.timestamp.type": "LogAppendTime"})]
        )


class Traffic:
    """Predictions and labels of ``MODELS``, some of them early, late, twice or revised, and bad events."""

    def __init__(self, seed: int, bad: float) -> None:
        self._rng = Random(seed)
        self._bad = bad
        self._numbers = count()
        self._rows: Counter[str] = Counter()
        self._due: list[tuple[int, int, bytes]] = []
        self._scheduled = count()
        self.expected: Counter[str] = Counter()

    def next(self) -> bytes:
        """One more event."""
        now = next(self._numbers)
        if self._rng.random() < self._bad:
            self.expected["dead_letters"] += 1
            return self._rng.choice(BAD)
        if self._due and self._due[0][0] <= now:
            return heappop(self._due)[2]
        return self._case(now)

    def rest(self) -> list[bytes]:
        """What is still due."""
        due, self._due = sorted(self._due), []
        return [event for _, _, event in due]

    def _case(self, now: int) -> bytes:
        """A prediction, with all that belongs to it; the first of this is to be sent now."""
        rng, model = self._rng, self._rng.choice(MODELS)
        row = self._rows[model]
        self._rows[model] += 1
        about = {"id": f"{model}-{row}", "model": model, "ts": 1_795_176_000 + now * SECONDS}
        served, label = self._served(model, row)
        sent = json.dumps(about | served).encode()
        self._count(sent, "prediction", now)
        if rng.random() < 0.02:
            self._count(sent, "duplicates", now + rng.randrange(1, 500))
        if rng.random() < 0.8:
            self._label(about, label, now + rng.choice(DELAYS))
        return heappop(self._due)[2]

    def _served(self, model: str, row: int) -> tuple[dict[str, Any], Any]:
        """What a model was given and said, and what turned out to be true."""
        rng = self._rng
        if model == SERVED_BADLY:
            x, y = rng.gauss(0, 1), rng.gauss(0, 1)
            return {"version": "1", "features": {"x": x, "y": y}, "prediction": int(x > 0)}, int(x + y > 0)
        moved = model == DRIFTS and row >= DRIFT_AT and row // RETURN_ROWS % 2 == 0
        features = {"age": rng.gauss(3 if moved else 0, 1), "state": rng.choice(["MA", "NY", "CA"])}
        if model == "rent":
            rent = round(rng.gauss(0, 1), 3)
            return {"features": features, "prediction": rent}, round(rent + rng.gauss(0, 0.1), 3)
        said = rng.randrange(2)
        wrong = int(rng.random() < (0.6 if moved else 0.1))
        return {"features": features, "prediction": said}, (said + wrong) % 2

    def _label(self, about: dict[str, Any], label: Any, due: int) -> None:
        given = about | {"type": "label", "label": label}
        self._count(json.dumps(given).encode(), "label", due)
        self.expected["joined"] += 1
        again = self._rng.random()
        if again < 0.03:
            self._count(json.dumps(given).encode(), "duplicates", due + self._rng.randrange(1, 500))
        elif again < 0.06:
            revised = given | {"label": label + 1 if about["model"] == "rent" else 1 - label}
            self._count(json.dumps(revised).encode(), "revised", due + self._rng.randrange(1, 500))

    def _count(self, event: bytes, name: str, due: int) -> None:
        self.expected[name] += 1
        heappush(self._due, (due, next(self._scheduled), event))


class Sender(threading.Thread):
    """Somebody who sends so many events a second until told to stop; then all that is due follows.

    ``bad`` is the share of events that cannot be used, ``sizes`` those of records, each as likely as the others.
    """

    def __init__(
        self,
        kafka: Broker | Cluster,
        topic: str,
        seed: int,
        rate: float,
        *,
        bad: float = 0.01,
        sizes: tuple[int, ...] = (1, 1, 1, 1, 6),
    ) -> None:
        super().__init__(name="sender", daemon=True)
        self._kafka, self._topic, self._rate, self._sizes = kafka, topic, rate, sizes
        self._rng = Random(seed)
        self._traffic = Traffic(seed, bad)
        self._enough = threading.Event()
        self._failure: BaseException | None = None
        self.sent = 0
        self.acknowledged = 0
        """Of these, events that Kafka has: where a broker is away, the others take some time."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self.join()

    def end(self) -> Counter[str]:
        """Send what is still due, and say what all of it has to come to."""
        self._enough.set()
        self.join()
        if self._failure is not None:
            raise self._failure
        return self._traffic.expected

    def run(self) -> None:
        try:
            asyncio.run(self._send())
        except BaseException as failure:  # noqa: BLE001 (raised by ``end``)
            self._failure = failure

    async def _send(self) -> None:
        async with AIOKafkaProducer(
            bootstrap_servers=self._kafka.address(),
            enable_idempotence=True,  # a retry stores nothing twice
            acks="all",
            request_timeout_ms=round(PRODUCER_SECONDS * 1000),
            linger_ms=5,
        ) as producer:
            loop = asyncio.get_running_loop()
            began, waiting = loop.time(), []
            while not self._enough.is_set():
                await asyncio.sleep(TICK_SECONDS)
                while self.sent < (loop.time() - began) * self._rate:
                    waiting.append(await self._record(producer, [self._traffic.next() for _ in range(self._size())]))
                waiting = [one for one in waiting if not one.done() or one.result() is None]
            rest = self._traffic.rest()
            while rest:
                size = self._size()
                waiting.append(await self._record(producer, rest[:size]))
                del rest[:size]
            await asyncio.gather(*waiting)

    def _size(self) -> int:
        """Most records are one event; some are NDJSON."""
        return self._rng.choice(self._sizes)

    async def _record(self, producer: AIOKafkaProducer, events: list[bytes]) -> asyncio.Future[Any]:
        """Some have a key, and some go anywhere: what belongs together need not be in one partition."""
        self.sent += len(events)
        key = self._rng.choice((None, b"%d" % self._rng.randrange(1_000)))
        done: asyncio.Future[Any] = await producer.send(self._topic, b"\n".join(events), key=key)
        done.add_done_callback(lambda _: self._acknowledge(len(events)))
        return done

    def _acknowledge(self, events: int) -> None:
        self.acknowledged += events


def served_badly(rows: int) -> Iterator[bytes]:
    """Predictions of version 1 of a model, which knows half of what decides the labels that follow them."""
    rng = Random(7)
    for row in range(rows):
        x, y = rng.gauss(0, 1), rng.gauss(0, 1)
        about = {"id": f"{row}", "model": "loans", "ts": 1_795_176_000 + row}
        yield json.dumps(about | {"version": "1", "features": {"x": x, "y": y}, "prediction": int(x > 0)}).encode()
        yield json.dumps(about | {"type": "label", "label": int(x + y > 0)}).encode()
