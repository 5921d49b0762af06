"""Somebody else's clients of the broker, and events as they travel there."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from streams import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from kafka_broker import Broker, Cluster


@asynccontextmanager
async def producer(kafka: Broker | Cluster, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """Somebody else's."""
    async with AIOKafkaProducer(bootstrap_servers=kafka.address(), **options) as one:
        yield one


@asynccontextmanager
async def administrator(kafka: Broker | Cluster) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.address())
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - what another thread does tells nobody here
            await asyncio.sleep(0.01)


def prediction(number: int) -> bytes:
    return json.dumps({"id": f"p{number}", "model": "loans", "prediction": 1}).encode()


def label(number: int) -> bytes:
    return json.dumps({"type": "label", "id": f"p{number}", "model": "loans", "label": 1}).encode()
