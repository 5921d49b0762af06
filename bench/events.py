"""Seeded events of about 445 bytes: 16 numbers, 4 categories, labels for half of the predictions."""

import json
import random
from collections.abc import Iterator

NUMBERS, CATEGORIES = 16, 4
STATES = ("CA", "TX", "NY", "FL", "IL", "PA", "OH", "GA", "NC", "MI")
LABELS_LATE = 500


def make_predictions(count: int, seed: int, first: int = 0) -> list[bytes]:
    """``count`` prediction events, one a line."""
    return [line for line in make_events(count, seed, first) if b'"label"' not in line]


def make_events(predictions: int, seed: int, first: int = 0) -> Iterator[bytes]:
    """``predictions`` prediction events, and a label for every second of them some time later."""
    values = random.Random(seed)
    answers: dict[int, int] = {}
    for row in range(first, first + predictions):
        answers[row] = values.randrange(2)
        features: dict[str, float | str] = {}
        features |= {f"number_{number}": round(values.gauss(0, 1), 5) for number in range(NUMBERS)}
        features |= {f"state_{number}": values.choice(STATES) for number in range(CATEGORIES)}
        event = {
            "type": "prediction",
            "id": f"{row:010d}",
            "model": "loans",
            "version": "3",
            "ts": 1_790_000_000 + row,
            "features": features,
            "prediction": answers[row],
            "score": round(values.random(), 4),
        }
        yield json.dumps(event, separators=(",", ":")).encode()
        known = row - LABELS_LATE
        if known >= first and known % 2 == 0:
            wrong = values.random() < 0.1
            label = {"type": "label", "id": f"{known:010d}", "model": "loans", "label": answers.pop(known) ^ wrong}
            yield json.dumps(label, separators=(",", ":")).encode()
        else:
            answers.pop(known, None)
