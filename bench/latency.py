"""From the event that crosses the threshold to the alert in the outbox, at 1,000 events/s. Goal: p99 under 2 s."""

import json
import random
import sqlite3
import time

from running import RunningDaemon, daemon

MODELS = 40
ROWS_BEFORE, ROWS_AFTER = 400, 120
EVENTS_PER_SECOND = 1_000
PER_REQUEST = 20


def main() -> None:
    """Print the quantiles over the first alarm of each model."""
    settings = {"DRIFTD_REFERENCE_ROWS": "300", "DRIFTD_MODE": "observe"}
    with daemon(**settings) as running:
        _traffic(running)
        running.wait_until_processed()
        delays = _delays(running)
    delays.sort()
    print(
        f"{len(delays)} alarms at {EVENTS_PER_SECOND:,} events/s: median {delays[len(delays) // 2] * 1e3:.0f} ms,"
        f" p99 {delays[int(0.99 * (len(delays) - 1))] * 1e3:.0f} ms, longest {delays[-1] * 1e3:.0f} ms"
    )


def _traffic(running: RunningDaemon) -> None:
    """Each model in turn shifts by three standard deviations, so that alarms are spread over the run."""
    values = random.Random(5)
    shifts = {model: ROWS_BEFORE + values.randrange(ROWS_AFTER // 2) for model in range(MODELS)}
    due = time.monotonic()
    lines: list[bytes] = []
    for row in range(ROWS_BEFORE + ROWS_AFTER):
        for model in range(MODELS):
            mean = 3.0 if row >= shifts[model] else 0.0
            event = {
                "model": f"model-{model}",
                "id": f"{model}-{row}",
                "ts": time.time(),
                "features": {"x": values.gauss(mean, 1), "y": values.gauss(0, 1)},
                "prediction": values.randrange(2),
            }
            lines.append(json.dumps(event).encode())
            if len(lines) == PER_REQUEST:
                running.post(b"\n".join(lines))
                lines = []
                due += PER_REQUEST / EVENTS_PER_SECOND
                time.sleep(max(0.0, due - time.monotonic()))


def _delays(running: RunningDaemon) -> list[float]:
    """``ts`` of an alarm is the time at which the event was sent that completed its window."""
    with sqlite3.connect(running.folder / "store.db") as store:
        rows = store.execute(
            "select min(alarms.raised - alarms.ts) from alarms where exists"
            " (select 1 from outbox where outbox.incident = alarms.incident) group by alarms.model"
        ).fetchall()
    return [delay for (delay,) in rows]


if __name__ == "__main__":
    main()
