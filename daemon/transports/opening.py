"""Opens a transport whose broker may be starting as well."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from daemon.transports.errors import BrokerUnreachable

if TYPE_CHECKING:
    from daemon.transports.base import Transport

RETRY_SECONDS = 2.0

logger = logging.getLogger(__name__)


async def open_patiently(transport: Transport, wait_seconds: float) -> None:
    """Open it, and again for so long as no broker answers. Raises CannotOpen; BrokerUnreachable when time is up."""
    give_up = time.monotonic() + wait_seconds
    while True:
        try:
            await transport.open()
        except BrokerUnreachable as error:
            if time.monotonic() >= give_up:
                raise
            logger.warning("waits for the broker: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return
