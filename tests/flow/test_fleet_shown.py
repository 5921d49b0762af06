"""What is shown of a fleet is what its workers do: no store is made up here."""

from pathlib import Path

from databases import Database
from fleets import Fleet, partitioned
from pipelines import START, World, small
from seeded_events import traffic

from daemon.fleet import view
from daemon.fleet.workers import GONE_SECONDS

LOG = traffic(60)


async def shown(world: World) -> view.Fleet:
    async with world.stores[0].read() as connection:
        return await view.view(connection, world.now)


async def test_who_reads_and_watches_what_follows_who_comes_goes_and_dies(tmp_path: Path, database: Database) -> None:
    world = World.made(tmp_path, database, options=small(), now=START + 1e6)
    fleet = Fleet(world, partitioned(LOG, 2, [number % 2 for number in range(len(LOG))], START))
    watching = await fleet.join("watching")  # its store is the one that is asked
    await fleet.join("reading")
    await fleet.assign({"watching": [], "reading": [0, 1]})

    await fleet.read("reading", 0, 1_000)
    await fleet.members["reading"].ingest.flush()
    events = len(fleet.logs[0])
    now = await shown(world)
    assert (now.parcels, now.waiting, now.unowned) == (1, events, ("loans",))
    assert [one.text for one in now.troubles()] == ["nobody watches loans"]

    await fleet.finish()
    now = await shown(world)
    have = {one.worker.worker: (one.alive, one.reads, one.models) for one in now.members}
    assert sorted(models for _, _, models in have.values()) == [(), ("loans",)]
    assert have["reading"][:2] == (True, "driftd.events 0-1")
    assert (now.waiting, now.unread, now.unowned, list(now.troubles())) == (0, (), (), [])

    await fleet.kill("reading")
    world.now += GONE_SECONDS + 10
    await fleet.beat(watching)
    now = await shown(world)
    assert [(one.worker.worker, one.alive, one.reads) for one in now.members] == [
        ("reading", False, ""),
        ("watching", True, ""),
    ]
    assert next(now.troubles()).text == "nobody reads driftd.events 0-1"

    await fleet.assign({"watching": [0, 1]})
    await fleet.finish()
    now = await shown(world)
    (alive,) = now.alive
    assert (alive.reads, alive.models, list(now.troubles())) == ("driftd.events 0-1", ("loans",), [])

    await fleet.go("watching")
    assert [one.worker.worker for one in (await shown(world)).alive] == []
    await world.close()
