"""What flow tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from databases import Database
from retrain_loop import running
from trigger_desk import Desk


@pytest.fixture
async def desk(tmp_path: Path, database: Database) -> AsyncIterator[Desk]:
    """A model with 300 labels and no alarm."""
    async with running(tmp_path, database=database) as loop:
        desk = Desk(loop)
        await desk.labels(300)
        yield desk
