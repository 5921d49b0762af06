"""The demo's model in service: a process of its own, as a web service behind which a model decides would be.

Told on standard input what the world is like and how many applications come a second (``{"phase": ..., "rate": ...}``),
it decides applications, sends its predictions to the daemon and the truth some time later, serves whatever version the
daemon has made the current one, and reports on standard output how often each version was right.
"""

import json
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from daemon.client import Client, NoAnswer, Refused
from daemon.demo.world import Applications, Phase, World

MODEL = "loans"
CHUNK = 100
LABELS_LATE = 200
"""Rows after which the truth about an application is known."""
TRAINING_ROWS = 5_000
SEED = 20


class Service:
    """Decides applications with the current version of the model."""

    def __init__(self, daemon: Client, current: Path) -> None:
        self._daemon = daemon
        self._current = current
        self._world = World(SEED)
        self._target: str | None = None
        self.version = "1"
        self.model = self._first_model()
        self._truth: deque[tuple[str, int]] = deque()
        self._row = 0

    def _first_model(self) -> Any:
        """What somebody trained last year on the loans of that time."""
        import pandas as pd
        from sklearn.compose import make_column_selector, make_column_transformer
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        history = self._world.applications(TRAINING_ROWS, Phase.CALM)
        numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
        columns = make_column_transformer(
            (numbers, make_column_selector(dtype_include="number")),
            (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
        )
        model = make_pipeline(columns, LogisticRegression(max_iter=1_000))
        return model.fit(pd.DataFrame(history.features), history.unpaid)

    def follow(self) -> None:
        """Load the current version if it is another one."""
        from retrain import registry

        try:
            target = str(self._current.readlink())
        except OSError:
            return
        if target != self._target:
            folder = self._current.resolve()
            self.model = registry.load(folder)
            self.version = folder.name
            self._target = target

    def decide(self, phase: Phase, count: int) -> dict[str, Any]:
        """Decide ``count`` applications, tell the daemon, and report how often that was right."""
        import pandas as pd

        applications = self._world.applications(count, phase)
        frame = pd.DataFrame(applications.features)
        scores = self.model.predict_proba(frame)[:, 1]
        decisions = (scores >= 0.5).astype(int)  # noqa: PLR2004 (the usual cut)
        events = self._events(applications, decisions.tolist(), scores.tolist())
        self._send(b"\n".join(events))
        right = decisions == applications.unpaid
        return {"row": self._row, "version": self.version, "phase": phase.value, "accuracy": float(np.mean(right))}

    def _events(self, applications: Applications, decisions: list[int], scores: list[float]) -> list[bytes]:
        now = time.time()
        columns = {name: column.tolist() for name, column in applications.features.items()}
        events = []
        for place, (decision, score) in enumerate(zip(decisions, scores, strict=True)):
            one = f"application-{self._row:07d}"
            features = {name: column[place] for name, column in columns.items()}
            features["employment_years"] = _null(features["employment_years"])
            event = {"id": one, "model": MODEL, "version": self.version, "ts": now, "features": features}
            event |= {"prediction": decision, "score": round(score, 5)}
            events.append(json.dumps(event).encode())
            self._truth.append((one, int(applications.unpaid[place])))
            self._row += 1
            if len(self._truth) > LABELS_LATE:
                known, label = self._truth.popleft()
                truth = {"type": "label", "id": known, "model": MODEL, "ts": now, "label": label}
                events.append(json.dumps(truth).encode())
        return events

    def _send(self, body: bytes) -> None:
        while True:
            try:
                self._daemon.send(body)
            except (NoAnswer, Refused):
                time.sleep(0.5)  # the daemon is busy or starting: a service that sends events waits and tries again
            else:
                return


def _null(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124 (only NaN differs from itself)


def main(url: str, current: str) -> None:
    """Serve until standard input ends."""
    order: dict[str, Any] = {"phase": Phase.CALM.value, "rate": 0}
    ended = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            order.update(json.loads(line))
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    service = Service(Client(url), Path(current))
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201 (this is how it reports)
    due = time.monotonic()
    while not ended.is_set():
        if not order["rate"]:
            time.sleep(0.05)
            due = time.monotonic()
            continue
        service.follow()
        print(json.dumps(service.decide(Phase(order["phase"]), CHUNK)), flush=True)  # noqa: T201 (likewise)
        due = max(due + CHUNK / order["rate"], time.monotonic() - 1)
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
