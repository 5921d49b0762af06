"""Files of versions that nobody will serve any more go; the version in service, and what may follow it, stays."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from daemon.lifecycle import versions
from daemon.lifecycle.job_folder import Places
from daemon.lifecycle.promotion import NotPossible, VersionReason, VersionState
from daemon.lifecycle.pruning import prune
from daemon.stores import tables
from daemon.stores.engine import Store, open_store, sqlite_url
from daemon.stores.migrate import upgrade
from retrain.registry import Registry


class Shelf:
    """A model whose versions have files."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.folder = folder
        self.places = Places.below(folder)
        self.registry = Registry(self.places.models)

    async def add(self, number: int, state: VersionState, model: str = "loans") -> None:
        files = self.folder / "candidate"
        files.mkdir(exist_ok=True)
        (files / "model.bin").write_bytes(str(number).encode())
        name = str(number)
        told: dict[str, Any] = {"model": model, "version": name, "created": float(number), "job": name}
        made = self.registry.publish(files, **told, details={}, card="")
        path = str(self.registry.path(model, name))
        async with self.store.begin() as connection:
            await versions.add(
                connection,
                model,
                name,
                float(number),
                state=VersionState.DEPLOYING if state is VersionState.CHAMPION else state,
                reason=VersionReason.PASSED,
                path=path,
                model_hash=made.model_hash,
                job=number,
                metrics={"gain": {"estimate": number}},
            )
            if state is VersionState.CHAMPION:
                await versions.deployed(connection, model, name, float(number))

    async def prune(self, most: int, model: str = "loans") -> list[str]:
        await prune(self.store, self.places, model, most)
        return self.registry.versions(model)


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    url = sqlite_url(tmp_path / "store.db")
    await upgrade(url)
    store = open_store(url)
    yield Shelf(store, tmp_path)
    await store.close()


async def test_the_newest_stay_and_the_figures_of_the_others_do_too(shelf: Shelf) -> None:
    for number in range(2, 8):
        await shelf.add(number, VersionState.REJECTED)
    assert await shelf.prune(3) == ["5", "6", "7"]
    async with shelf.store.read() as connection:
        known = (await connection.execute(select(tables.versions.c.version, tables.versions.c.metrics))).all()
    assert sorted(known) == [(str(number), {"gain": {"estimate": number}}) for number in range(2, 8)]


async def test_what_is_served_or_may_be_at_once_stays_however_old(shelf: Shelf) -> None:
    await shelf.add(2, VersionState.CHAMPION)
    await shelf.add(3, VersionState.CHAMPION)
    await shelf.add(4, VersionState.CHAMPION)
    await shelf.add(5, VersionState.AWAITING)
    await shelf.add(6, VersionState.DEPLOYING)
    for number in range(7, 10):
        await shelf.add(number, VersionState.REJECTED)
    # in service is 4, before it was 3, and 2 is further back
    assert await shelf.prune(1) == ["3", "4", "5", "6", "9"]
    assert await shelf.prune(0) == ["3", "4", "5", "6"]
    async with shelf.store.begin() as connection:
        await versions.give_up(connection, "loans", "6")
        back = await versions.send(connection, "loans", "3", VersionReason.RESTORED, None)
    assert back.path is not None


async def test_a_version_without_files_is_not_deployed_and_says_what_to_type(shelf: Shelf) -> None:
    await shelf.add(2, VersionState.REJECTED)
    await shelf.prune(0)
    async with shelf.store.begin() as connection:
        with pytest.raises(NotPossible, match="not kept") as refused:
            await versions.send(connection, "loans", "2", VersionReason.BY_HAND, "ann")
    assert "driftd retrain loans" in refused.value.hint


async def test_what_a_crash_leaves_goes_the_next_time_and_other_models_are_left_alone(shelf: Shelf) -> None:
    for number in (2, 3):
        await shelf.add(number, VersionState.REJECTED)
        await shelf.add(number, VersionState.REJECTED, model="churn")
    aside = shelf.folder / "aside"
    await asyncio.to_thread((shelf.places.models / "loans").rename, aside)
    assert await shelf.prune(0) == []
    await asyncio.to_thread(aside.rename, shelf.places.models / "loans")  # as if it had died before it removed them
    assert await shelf.prune(0) == []
    assert shelf.registry.versions("churn") == ["2", "3"]
