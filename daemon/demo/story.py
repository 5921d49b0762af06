"""The demo itself: what happens, what must follow, and how it is told."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import click

from daemon.demo.processes import Daemon, ModelService
from daemon.demo.service import MODEL
from daemon.demo.world import Phase

FAST, SLOW = 1_500, 500
PHASE_SECONDS = 45.0
POLL_SECONDS = 0.25
ACCEPTABLE_LOSS = 0.03
"""How near to its accuracy before the change the model must come again."""


class NotClosed(RuntimeError):
    """The loop did not close; the text says where it broke."""


class Story:
    """One run of the demo, its data below ``folder``."""

    def __init__(self, folder: Path, port: int | None, say: Callable[..., None] = click.secho) -> None:
        self._folder = folder
        self._say = say
        self._started = time.monotonic()
        self.reports: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.daemon = Daemon(folder, port)
        self.service: ModelService | None = None
        self._told: set[tuple[str, int]] = set()
        self._act_number = 0

    def run(self) -> dict[str, Any]:
        """Tell it all. Raises NotClosed where the daemon did not do what it should."""
        try:
            self.daemon.wait_until_ready()
            self._tell(f"driftd is running; its status page is {self.daemon.client.url}/", fg="cyan", bold=True)
            self.service = ModelService(self.daemon, self.reports.append)
            self.service.wait_until_ready()
            self._calm()
            self._campaign()
            self._rates()
            self._broken()
            return self._summary()
        finally:
            if self.service is not None:
                self.service.stop()
            self.daemon.stop()

    # --- the acts

    def _calm(self) -> None:
        self._act(
            "A loan model, version 1, is in service. driftd learns what its traffic looks like.", Phase.CALM, FAST
        )
        self._until(lambda: self._model()["state"] == "steady", "the model was not steady after learning")
        self._let_pass(2_000)

    def _campaign(self) -> None:
        self._act(
            "A campaign brings younger applicants, by the app. The data moves; the model copes.", Phase.CAMPAIGN, FAST
        )
        self._until(lambda: self._alarms("drift"), "the campaign raised no drift alarm")
        self._let_pass(4_000)
        if self._retrains():
            raise NotClosed("a shift that hurts nobody started a retrain")
        before, during = self._accuracy(Phase.CALM), self._accuracy(Phase.CAMPAIGN)
        self._tell(
            f"accuracy {before:.3f} before, {during:.3f} during the campaign: raised, explained, nothing retrained.",
            fg="green",
        )
        self._act("The campaign ends.", Phase.CALM, FAST)
        self._let_pass(3_000)

    def _rates(self) -> None:
        self._act("Interest rates rise: who pays back, and who does not, is another matter now.", Phase.RATES, SLOW)
        start = self._row()
        self._until(lambda: self._alarms("concept"), "the changed concept raised no alarm")
        self._until(self._retrains, "the alarm started no retrain")
        self._until(lambda: self._version() != "1", "no new version came into service", PHASE_SECONDS * 2)
        switched = next(one["row"] for one in self.reports if one["version"] != "1")
        self._let_pass(1_500)
        self.events.append({"row": switched, "what": "promoted", "text": f"version {self._version()}"})
        before = self._accuracy(Phase.CALM)
        during = self._mean([one for one in self.reports if start < one["row"] and one["version"] == "1"])
        after = self._mean([one for one in self.reports if one["row"] > switched and one["version"] != "1"])
        self._tell(
            f"accuracy {before:.3f} before the change, {during:.3f} with version 1 after it, {after:.3f} with version"
            f" {self._version()}.",
            fg="green",
            bold=True,
        )
        if after < before - ACCEPTABLE_LOSS:
            raise NotClosed(f"the new version does not reach the accuracy of before: {after:.3f} against {before:.3f}")

    def _broken(self) -> None:
        self._until(lambda: not self._training(), "a retrain did not end", PHASE_SECONDS * 2)
        self._act("A release upstream breaks the data: incomes in cents, employments lost.", Phase.BROKEN, SLOW)
        self._until(lambda: self._alarms("quality"), "broken data raised no quality alarm")
        # a refit that was due before the data broke is none of its doing
        retrains = len(self._retrains())
        self._let_pass(2_000)
        if len(self._retrains()) != retrains:
            raise NotClosed("broken data started a retrain")
        self._tell("named as broken, and nothing was trained on it.", fg="green")

    def _summary(self) -> dict[str, Any]:
        one = self._model()
        picture = self._picture()
        self._say("")
        self._tell("The loop has closed.", fg="green", bold=True)
        self._say(
            f"  {one['events']['prediction']:,} predictions, {one['events']['label']:,} labels,"
            f" {one['alarms']['total']} alarms, {one['retrains']['total']} retrains, {one['promotions']} promotions,"
            f" {one['rollbacks']} rollbacks"
        )
        self._say(f"  accuracy over time: {picture}")
        self._say(f"  everything is still in {self._folder}: DRIFTD_DATA_DIR={self._folder} driftd run")
        return {
            "closed": True,
            "seconds": round(time.monotonic() - self._started, 1),
            "picture": str(picture),
            "events": self.events,
            "model": one,
        }

    # --- telling and waiting

    def _tell(self, text: str, **style: Any) -> None:
        self._say(f"{time.monotonic() - self._started:6.1f} s  {text}", **style)

    def _act(self, text: str, phase: Phase, rate: int) -> None:
        self._act_number += 1
        self._say("")
        self._tell(text, bold=True)
        self.events.append({"row": self._row(), "what": "phase", "text": phase.value})
        if self.service is not None:
            self.service.order(phase=phase.value, rate=rate)

    def _until(self, holds: Callable[[], object], otherwise: str, seconds: float = PHASE_SECONDS) -> None:
        until = time.monotonic() + seconds
        while not holds():
            self._news()
            if time.monotonic() > until:
                raise NotClosed(f"{otherwise} within {seconds:.0f} s (log: {self.daemon.log})")
            time.sleep(POLL_SECONDS)
        self._news()

    def _let_pass(self, rows: int) -> None:
        goal = self._row() + rows
        self._until(lambda: self._row() >= goal, f"the service did not decide {rows} more applications", 120)

    def _news(self) -> None:
        """Tell what the daemon has done since the last look."""
        for alarm in self._items("alarms"):
            if self._is_new("alarm", alarm["id"]):
                self.events.append({"row": alarm["row"], "what": alarm["kind"], "text": alarm["signal"]})
                since = f"change began at row {alarm['change_row']:,}"
                self._tell(f"alarm at row {alarm['row']:,}: {alarm['kind']} of {alarm['signal']}; {since}", fg="red")
        for one in self._items("decisions"):
            # what the same decision says of each of several alarms is told once
            if self._is_new("decision", one["id"]) and self._is_new(
                f"{one['action']} {one['reason']}", self._act_number
            ):
                text = (one["detail"] or {}).get("text")
                self._tell(f"decision: {one['action']}, {one['reason']}{f': {text}' if text else ''}", fg="yellow")
        for one in self._items("retrains"):
            if one.get("outcome") and self._is_new("retrain", one["id"]):
                reasons = ", ".join(one.get("reasons") or [])
                self._tell(f"gate on version {one['version']}: {one['outcome']} ({reasons})", fg="magenta")
        for line in self.daemon.new_log_lines():
            if line.get("logger") == "daemon.alerts":
                self._say(f"  slack │ {line.get('event', '')}", fg="blue", bold=True)
                for text in str(line.get("stack", "")).splitlines():
                    self._say(f"        │ {text}", fg="blue")

    def _is_new(self, what: str, number: int) -> bool:
        new = (what, number) not in self._told
        self._told.add((what, number))
        return new

    # --- looking

    def _model(self) -> dict[str, Any]:
        for one in self.daemon.client.get("v1", "status")["models"]:
            if one["model"] == MODEL:
                return dict(one)
        return {"state": "unseen", "version": None}

    def _items(self, what: str) -> list[dict[str, Any]]:
        if self._model()["state"] == "unseen":
            return []
        return sorted(self.daemon.client.pages("v1", "models", MODEL, what), key=lambda one: one["id"])

    def _alarms(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self._items("alarms") if one["kind"] == kind]

    def _retrains(self) -> list[dict[str, Any]]:
        return self._items("retrains")

    def _training(self) -> bool:
        return any(one["state"] in ("queued", "running") for one in self._retrains())

    def _version(self) -> str:
        return str(self.reports[-1]["version"]) if self.reports else "1"

    def _row(self) -> int:
        return int(self.reports[-1]["row"]) if self.reports else 0

    def _accuracy(self, phase: Phase) -> float:
        return self._mean([one for one in self.reports if one["phase"] == phase.value and one["version"] == "1"])

    @staticmethod
    def _mean(reports: list[dict[str, Any]]) -> float:
        return mean(one["accuracy"] for one in reports) if reports else 0.0

    def _picture(self) -> Path:
        data, picture = self._folder / "demo.json", self._folder / "demo.png"
        data.write_text(json.dumps({"reports": self.reports, "events": self.events}))
        subprocess.run([sys.executable, "-I", "-m", "daemon.demo.picture", str(data), str(picture)], check=True)
        return picture
