"""Silence is an alarm once it is longer than a model's own silences, and over when events come again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from databases import Database

from daemon.monitoring.monitor import Monitor
from daemon.monitoring.options import MonitorOptions
from daemon.monitoring.volume import LABELS, TRAFFIC, Volume
from daemon.settings.tunables import VolumeSettings
from daemon.stores.engine import Store, open_store

SETTINGS = VolumeSettings(traffic_seconds=100, traffic_factor=10, labels_seconds=1_000, labels_factor=10)
START = 1_000_000.0


@pytest.fixture
async def store(database: Database, tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(database.store(tmp_path))
    yield store
    await store.close()


def heard(volume: Volume, monitor: Monitor, *moments: float, labels: bool = False) -> None:
    for moment in moments:
        monitor.last_arrival = START + moment
        if labels:
            monitor.last_label_arrival = START + moment
        volume.heard([monitor])


def found(volume: Volume, monitor: Monitor, moment: float, until: float | None = None) -> list[tuple[str, bool]]:
    now, until = START + moment, START + (moment if until is None else until)
    return [(one.signal, one.recovered) for one in volume.verdicts(monitor, SETTINGS, now, until)]


@pytest.fixture
def monitor() -> Monitor:
    return Monitor("loans", MonitorOptions(), lambda _reference: ())


def test_traffic_that_stops_is_said_once_and_so_is_its_return(monitor: Monitor) -> None:
    volume = Volume(START)
    heard(volume, monitor, 0, 1, 2)

    assert found(volume, monitor, 102) == []
    assert found(volume, monitor, 103) == [(TRAFFIC, False)]
    assert found(volume, monitor, 500) == []
    heard(volume, monitor, 600)
    assert found(volume, monitor, 601) == [(TRAFFIC, True)]


def test_a_model_that_is_silent_every_night_may_be_silent(monitor: Monitor) -> None:
    volume = Volume(START)
    heard(volume, monitor, 0, 50, 51)

    assert found(volume, monitor, 51 + 500) == [], "ten times its longest silence is 500 seconds"
    assert found(volume, monitor, 51 + 501) == [(TRAFFIC, False)]


def test_labels_are_missed_only_while_predictions_come(monitor: Monitor) -> None:
    volume = Volume(START)
    heard(volume, monitor, 0, 1, labels=True)
    heard(volume, monitor, *range(2, 1_100, 10))

    assert found(volume, monitor, 1_100) == [(LABELS, False)]
    assert found(volume, monitor, 1_300) == [(TRAFFIC, False)]


def test_the_time_in_which_the_daemon_did_not_run_is_no_silence(monitor: Monitor) -> None:
    volume = Volume(START + 10_000)
    heard(volume, monitor, 0, 1)

    assert found(volume, monitor, 10_050) == []


def test_a_backlog_is_no_silence_and_a_silence_in_it_is(monitor: Monitor) -> None:
    volume = Volume(START)
    heard(volume, monitor, 0, 1)

    assert found(volume, monitor, 900, until=1) == [], "others wait in the log behind what was read last"
    assert found(volume, monitor, 901, until=101) == []
    assert found(volume, monitor, 902, until=102) == [(TRAFFIC, False)], "others have come for so long"


async def test_what_is_known_survives_a_restart(monitor: Monitor, store: Store) -> None:
    before, after = Volume(START), Volume(START + 300)
    heard(before, monitor, 0, 1)
    assert found(before, monitor, 200) == [(TRAFFIC, False)]
    async with store.begin() as connection:
        await before.save(connection, ["loans"])
    async with store.read() as connection:
        await after.load(connection)

    heard(after, monitor, 301)
    assert found(after, monitor, 302) == [(TRAFFIC, True)]
