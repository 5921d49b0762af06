"""kill -9 at random moments under load: nothing accepted is lost, nothing is counted twice, the alarms are the same."""

import argparse
import json
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench.running import RunningDaemon
from bench.stores import add_option, new_store

ROWS = 30_000
CHANGE = 20_000
PER_REQUEST = 50
LABELS_LATE = 200
PAUSE_SECONDS = 0.02
SETTINGS = {"DRIFTD_MODE": "observe"}


def events() -> list[bytes]:
    """Requests of a model whose feature, and later whose error, changes; labels come 200 rows late."""
    values = random.Random(11)
    lines: list[bytes] = []
    predictions: list[int] = []
    for row in range(ROWS):
        mean = 0.6 if row >= CHANGE else 0.0
        predictions.append(values.randrange(2))
        event = {"id": str(row), "ts": row, "features": {"x": values.gauss(mean, 1), "c": values.choice("abc")}}
        lines.append(json.dumps(event | {"prediction": predictions[-1], "score": values.random()}).encode())
        if row >= LABELS_LATE:
            late = row - LABELS_LATE
            wrong = values.random() < (0.25 if late >= CHANGE else 0.1)
            truth = {"type": "label", "id": str(late), "ts": row, "label": predictions[late] ^ wrong}
            lines.append(json.dumps(truth).encode())
    return [b"\n".join(lines[start : start + PER_REQUEST]) for start in range(0, len(lines), PER_REQUEST)]


def outcome(running: RunningDaemon) -> dict[str, Any]:
    """What must be the same."""
    running.wait_until_processed()
    status = running.model("default")
    alarms = running.get("/v1/models/default/alarms?limit=100&order=asc")["items"]
    return {
        "counts": {name: status[name] for name in ("events", "joined", "waiting", "duplicates", "dead_letters")},
        "alarms": [(one["kind"], one["signal"], one["row"], one["change_row"]) for one in alarms],
    }


def run(kills: int, seed: int, server: str | None) -> dict[str, Any]:
    """Send everything, killing so often on the way; a request without an answer is sent again."""
    bodies = events()
    with tempfile.TemporaryDirectory(prefix="driftd-bench-") as folder, new_store(server) as (store, _):
        running = RunningDaemon(Path(folder), **SETTINGS, **store)
        running.start()

        def kill() -> None:
            moments = random.Random(seed)
            for _ in range(kills):
                time.sleep(moments.uniform(0.1, 1.2))
                running.kill()
                running.start()

        killer = threading.Thread(target=kill)
        killer.start()
        for body in bodies:
            _insist(running, body)
            if killer.is_alive():
                time.sleep(PAUSE_SECONDS)
        if killer.is_alive():
            raise SystemExit("the events were all sent before the kills were over: pause longer")
        found = outcome(running)
        running.stop()
    return found


def _insist(running: RunningDaemon, body: bytes) -> None:
    # a request that died unanswered may have been stored: its ids make the second sending harmless
    while True:
        try:
            running.post(body)
        except OSError:
            time.sleep(0.05)
        else:
            return


def main() -> None:
    """Compare a run with kills with one without."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    add_option(parser)
    chosen = parser.parse_args()
    unbroken, broken = run(0, 0, chosen.store), run(chosen.kills, chosen.seed, chosen.store)
    resent = broken["counts"].pop("duplicates")
    unbroken["counts"].pop("duplicates")
    print(f"unbroken: {unbroken}")
    print(f"{chosen.kills} kills: {broken} ({resent} events sent again, counted once)")
    if unbroken != broken:
        raise SystemExit("the outcomes differ")
    print("the outcomes are the same")


if __name__ == "__main__":
    main()
