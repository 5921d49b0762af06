"""`POST /v1/events` with bodies of 500 events, each answered once it is durable. Goal: 20,000 events a second."""

import argparse
import http.client
import threading
import time

from bench.events import make_predictions
from bench.running import RunningDaemon, daemon

BODY_EVENTS = 500


def main() -> None:
    """Print events a second."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--senders", type=int, default=4)
    chosen = parser.parse_args()
    lines = make_predictions(20_000, seed=1)
    size = sum(map(len, lines)) / len(lines)
    with daemon(DRIFTD_LIMITS__BACKLOG_EVENTS="10000000") as running:
        seconds = _send(running, lines, chosen.events, chosen.senders)
    print(
        f"{chosen.events:,} events of {size:.0f} bytes, {BODY_EVENTS} a request, {chosen.senders} senders:"
        f" {chosen.events / seconds:,.0f} events/s, durable"
    )


def _send(running: RunningDaemon, lines: list[bytes], events: int, senders: int) -> float:
    bodies = [b"\n".join(lines[start : start + BODY_EVENTS]) for start in range(0, len(lines), BODY_EVENTS)]
    share = events // BODY_EVENTS // senders
    refused: list[int] = []

    def send(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", running.port)
        for turn in range(share):
            connection.request("POST", "/v1/events", bodies[(number + turn * senders) % len(bodies)])
            answer = connection.getresponse()
            answer.read()
            if answer.status != 202:
                refused.append(answer.status)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(senders)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if refused:
        raise SystemExit(f"refused: {sorted(set(refused))}")
    return seconds


if __name__ == "__main__":
    main()
