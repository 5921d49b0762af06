"""Start to ready, and the memory of a daemon that has nothing to do. Goals: under 3 s, under 120 MB."""

import statistics
import time

from bench.running import daemon

RUNS = 5
IDLE_SECONDS = 3.0


def main() -> None:
    """Print the medians."""
    seconds, memory = [], []
    for _ in range(RUNS):
        with daemon() as running:
            running.stop()
            seconds.append(running.start())  # the second start, on a folder that is there
            time.sleep(IDLE_SECONDS)
            memory.append(running.resident_mb())
    print(f"start to ready: {statistics.median(seconds):.2f} s (of {RUNS}: {min(seconds):.2f} to {max(seconds):.2f})")
    print(f"idle memory: {statistics.median(memory):.0f} MB (of {RUNS}: {min(memory):.0f} to {max(memory):.0f})")


if __name__ == "__main__":
    main()
