"""`driftd status` and `driftd doctor` where several daemons share the work."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from http_daemon import running
from seeded_fleet import ALL_ROUND, READER, seed_fleet
from seeded_store import NOW

from daemon.cli import main
from daemon.stores.engine import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from databases import Postgresql

    from daemon.fleet.workers import Worker

RELEASE = version("driftd")


def driftd(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


class TestStatus:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DRIFTD_DATA_DIR", str(tmp_path))

    async def test_says_which_worker_has_what(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running(tmp_path, seeded=True) as daemon:
            monkeypatch.setenv("DRIFTD_HTTP_PORT", str(daemon.server.port))
            await seed_fleet(daemon.store)
            said = await asyncio.to_thread(driftd, "status")
            assert said.exit_code == 0, said.output
            lines = [" ".join(line.split()) for line in said.stdout.splitlines()]
            assert "worker host roles reads behind watches seen" in lines
            assert "node-1-5f0c93aa node-1 ingest,detect driftd.events 0-2 1240 churn, loans just now" in lines
            assert "node-3-c4d2aa10 node-3 train gone, 7 min ago" in lines
            assert any(line.startswith("nobody reads driftd.events 4: see the logs") for line in lines)
            answer = json.loads((await asyncio.to_thread(driftd, "status", "--json")).stdout)
            assert answer["fleet"]["workers"][0]["models"] == ["churn", "loans"]
            assert answer["lag"] == 1_632

    async def test_says_nothing_of_workers_where_the_daemon_is_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with running(tmp_path, seeded=True) as daemon:
            monkeypatch.setenv("DRIFTD_HTTP_PORT", str(daemon.server.port))
            said = await asyncio.to_thread(driftd, "status")
            assert said.exit_code == 0, said.output
            assert "loans" in said.stdout
            assert "worker" not in said.stdout

    async def test_of_one_model_says_every_figure_of_its_performance(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with running(tmp_path, seeded=True) as daemon:
            monkeypatch.setenv("DRIFTD_HTTP_PORT", str(daemon.server.port))
            said = await asyncio.to_thread(driftd, "status", "loans")
            assert said.exit_code == 0, said.output
            lines = [" ".join(line.split()) for line in said.stdout.splitlines()]
            place = next(place for place, line in enumerate(lines) if line.startswith("performance accuracy 0.7"))
            assert lines[place + 1 : place + 5] == [
                "f1 0.613 [0.577, 0.651]",
                "auc 0.874 [0.856, 0.891]",
                "log_loss 0.412 [0.386, 0.441]",
                "rms_calibration_error not enough data: 80 rows, it takes 100",
            ]

    async def test_shows_workers_before_the_first_event(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running(tmp_path) as daemon:
            monkeypatch.setenv("DRIFTD_HTTP_PORT", str(daemon.server.port))
            await seed_fleet(daemon.store)
            said = await asyncio.to_thread(driftd, "status")
            assert "no model yet" in said.stdout
            assert "node-1-5f0c93aa" in said.stdout


class TestDoctor:
    @pytest.fixture
    def url(self, postgresql: Postgresql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
        url = postgresql.store(tmp_path)
        monkeypatch.setenv("DRIFTD_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("DRIFTD_DATABASE_URL", url)
        monkeypatch.setenv("DRIFTD_BROKER", "kafka://127.0.0.1:1")
        return url

    def seed(self, url: str, *those: Worker) -> None:
        async def seed() -> None:
            store = open_store(url)
            await seed_fleet(store, *those, now=time.time())
            await store.close()

        asyncio.run(seed())

    def findings(self) -> dict[str, dict[str, object]]:
        return {one["what"]: one for one in json.loads(driftd("doctor", "--json").stdout)["findings"]}

    def test_says_who_is_there_and_what_each_has(self, url: str) -> None:
        self.seed(url, replace(READER, release=RELEASE), replace(ALL_ROUND, release=RELEASE))
        found = self.findings()
        assert found["worker node-1-5f0c93aa"]["detail"] == (
            "ingest, detect; reads driftd.events 0-2, 1,240 behind; watches churn, loans"
        )
        assert found["worker node-2-90be1c07"]["well"]
        assert not {"clocks", "release"} & set(found)

    def test_finds_what_nobody_does(self, url: str) -> None:
        self.seed(url)
        said = driftd("doctor").stdout
        assert "BAD  fleet: nobody reads driftd.events 4\n     see the logs of the workers that ingest" in said
        assert "BAD  fleet: nobody watches newcomer" in said
        assert "warn worker node-3-c4d2aa10: gone, last seen 7 min ago" in said

    def test_finds_a_clock_that_is_ahead(self, url: str) -> None:
        self.seed(url, READER, replace(ALL_ROUND, seen=NOW + 600))
        clocks = self.findings()["clocks"]
        assert not clocks["well"]
        assert "node-2 is " in str(clocks["detail"])
        assert "NTP" in str(clocks["hint"])

    def test_finds_workers_of_another_release(self, url: str) -> None:
        self.seed(url, replace(READER, release="0.0.1"), replace(ALL_ROUND, release=RELEASE))
        release = self.findings()["release"]
        assert (release["well"], release["doubtful"]) == (True, True)
        assert release["detail"] == f"node-1-5f0c93aa runs 0.0.1, this is {RELEASE}"

    def test_finds_nothing_wrong_with_a_fleet_that_was_not_started(self, url: str) -> None:
        assert url
        found = self.findings()
        assert found["workers"]["well"]
        assert "fleet" not in found

    def test_warns_of_machines_that_share_no_archive(
        self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert url
        assert "DRIFTD_ARCHIVE_URL: is not set" in str(self.findings()["settings"])
        monkeypatch.setenv("DRIFTD_ARCHIVE_URL", str(tmp_path))
        assert self.findings()["settings"]["detail"] == "valid"

    def test_leaves_a_store_that_is_away_to_the_stores_own_line(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DRIFTD_DATABASE_URL", f"{url}_that_is_not_there")
        found = self.findings()
        assert not found["store"]["well"]
        assert "workers" not in found
