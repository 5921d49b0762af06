"""Events for the tests of the pipeline, as they travel."""

import json
from random import Random
from typing import Any


def line(**event: Any) -> bytes:
    """One event on one line."""
    return json.dumps(event).encode()


def prediction(number: int, rng: Random, **fields: Any) -> dict[str, Any]:
    """A prediction of a model with two numbers and a category."""
    age = round(rng.gauss(40, 10), 1)
    return {
        "type": "prediction",
        "id": f"p{number}",
        "model": "loans",
        "ts": 1_795_176_000.0 + number,
        "features": {
            "age": age,
            "income": round(rng.lognormvariate(10, 1), 2),
            "state": rng.choice(["MA", "NY", "CA"]),
        },
        "prediction": int(rng.random() < 0.3),
        "score": round(rng.random(), 3),
        **fields,
    }


def label(number: int, value: Any, **fields: Any) -> dict[str, Any]:
    """The label of a prediction."""
    return {
        "type": "label",
        "id": f"p{number}",
        "model": "loans",
        "ts": 1_795_180_000.0 + number,
        "label": value,
        **fields,
    }


def traffic(count: int, seed: int = 1, *, drift_at: int | None = None, delay: int = 5) -> list[bytes]:
    """Predictions, each followed ``delay`` predictions later by its label; from ``drift_at`` on the world has moved."""
    rng = Random(seed)
    lines = []
    for number in range(count):
        event = prediction(number, rng)
        moved = drift_at is not None and number >= drift_at
        if moved:
            event["features"]["age"] += 25
        lines.append(line(**event))
        if number >= delay:
            wrong = rng.random() < (0.5 if moved else 0.1)
            lines.append(line(**label(number - delay, int(wrong))))
    return lines


BAD = (
    b"nothing",
    b"{",
    b'{"type": "label"}',
    b'{"model": "", "prediction": 1}',
    b'{"model": "loans", "prediction": 1, "features": [1]}',
    b'{"model": "loans", "prediction": 1, "features": {"age": "\xff"}}',
    b'{"model": "churn", "prediction": 1, "features": {"": 1}}',
    b"\xff",
)
ODD = (None, None, "x", [1], {"y": 1}, True, float("nan"), float("inf"), 10**400)


def anything(seed: int, count: int) -> list[bytes]:
    """Events of all types and several models in any order: early, late, twice, revised, odd and bad."""
    rng = Random(seed)
    few = rng.choice([3, 10, 40])  # ids that are about at one time
    odd = rng.choice([0.0, 0.03, 0.2])
    lines = []
    for number in range(count):
        if rng.random() < 0.04:
            lines.append(rng.choice(BAD))
            continue
        one = rng.randrange(number // 2, number // 2 + few)
        common: dict[str, Any] = {"model": rng.choice(["loans"] * 4 + ["churn"])}
        if rng.random() < 0.9:
            common["id"] = rng.choice([f"p{one}"] * 9 + [one, float(one), str(one)])
        if rng.random() < 0.9:
            common["ts"] = rng.choice([1_795_176_000 + number, "2026-11-20T12:00:00Z", "2026-11-20T12:00:00"])
        kind = rng.random()
        if kind < 0.5:
            common |= {"features": _features(rng, number, odd)} if rng.random() < 0.9 else {}
            common |= {"prediction": rng.choice([0, 1, 1.0, "1", True, None])}
            common |= {"score": rng.choice([0.25, 0.75, None, {"0": 0.25, "1": 0.75}, {str(number % 30): 0.5}])}
            common |= (
                {"version": rng.choice(["1", "1", 1] if number < 120 else ["2", "2", "1", 3])}
                if rng.random() < 0.8
                else {}
            )
            common |= {"label": rng.choice([0, 1])} if rng.random() < 0.03 else {}
        elif kind < 0.9:
            common |= {"type": "label", "label": rng.choice([0, 1, "1", False])}
        else:
            common |= {"type": "features", "features": _features(rng, number, odd)}
        lines.append(line(**common))
    return lines


def ordinary(seed: int, count: int) -> list[bytes]:
    """Events of one model, all written alike, but for one in a hundred."""
    rng = Random(seed)
    few, odd = rng.choice([5, 30, 60]), rng.choice([0.0, 0.0, 0.01])
    classes: list[Any] = rng.choice([[0, 1], ["a", "b"], [0.5, 1.25, 3.0, 7.5], [True, False]])
    untimed = rng.choice([0.0, 0.3, 1.0])
    lines = []
    for number in range(count):
        if rng.random() < odd:
            lines.append(rng.choice(BAD))
            continue
        event: dict[str, Any] = {
            "model": "loans",
            "id": f"p{rng.randrange(number // 2, number // 2 + few)}",
        }
        if rng.random() >= untimed:
            event["ts"] = f"2026-11-20T12:00:{number % 60:02d}Z"
        if rng.random() < 0.6:
            features = {"age": rng.choice([1, 2.5, None, -3e10]), "state": rng.choice(["MA", "NY\u00e9", 'C"A', None])}
            if rng.random() < odd:
                features["late"] = 1
            event |= {"prediction": rng.choice(classes), "score": rng.choice([None, 0.25, 0.5])}
            event["version"] = rng.choice(["1", "1", None] if number < 150 else ["2", "1"])
            if rng.random() < 0.9:
                event["features"] = features
        else:
            event |= {"type": "label", "label": rng.choice(classes)}
        lines.append(line(**event))
    return lines


def _features(rng: Random, number: int, odd: float) -> dict[str, Any]:
    features: dict[str, Any] = {"age": rng.choice([1, 2.5, 3, 40.25, -1]), "state": rng.choice(["MA", "NY", "CA"])}
    if number > 100:
        features["late"] = rng.choice([None, 1, 2])
    for name in list(features):
        if rng.random() < odd:
            features[name] = rng.choice(ODD)
        elif rng.random() < odd:
            del features[name]
    return features
