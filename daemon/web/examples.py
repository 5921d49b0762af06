"""An example for each thing that goes in or out; a test holds them against the schemas."""

from typing import Any, Final

PREDICTION: Final = {
    "type": "prediction",
    "id": "8c1f",
    "model": "loans",
    "version": "3",
    "ts": "2026-11-20T12:00:00Z",
    "features": {"age": 41, "state": "MA", "income": None},
    "prediction": 1,
    "score": 0.83,
    "segment": {"channel": "web"},
}
LABEL: Final = {"type": "label", "id": "8c1f", "model": "loans", "ts": "2026-11-23T09:00:00Z", "label": 0}


def _measured(metric: str, value: float, low: float, high: float) -> dict[str, Any]:
    figures = {"metric": metric, "rows": 2_000, "value": value, "low": low, "high": high}
    return figures | {"classes": None, "why_not": None}


MODEL: Final = {
    "model": "loans",
    "task": "binary",
    "state": "steady",
    "held": None,
    "version": "3",
    "events": {"prediction": 120_000, "features": 0, "label": 60_000},
    "joined": 59_990,
    "waiting": 10,
    "duplicates": 0,
    "revised": 0,
    "expired": 0,
    "dead_letters": 2,
    "lag": 0,
    "alarms": {"open": 1, "total": 4},
    "retrains": {"running": 0, "total": 2},
    "promotions": 1,
    "rollbacks": 0,
    "performance": {
        "metric": "accuracy",
        "value": 0.81,
        "low": 0.79,
        "high": 0.83,
        "reference": 0.84,
        "rows": 2_000,
        "positive": "1",
        "metrics": [
            _measured("accuracy", 0.81, 0.79, 0.83),
            _measured("f1", 0.72, 0.69, 0.75),
            _measured("auc", 0.87, 0.85, 0.89),
            _measured("log_loss", 0.42, 0.39, 0.46),
            _measured("rms_calibration_error", 0.011, 0.0, 0.032),
        ],
    },
    "estimate": {
        "metric": "accuracy",
        "state": "trusted",
        "trusted": True,
        "distrusted_since": None,
        "learning": None,
        "value": 0.82,
        "low": 0.8,
        "high": 0.84,
        "real": None,
        "rows": 2_400,
        "first_row": 117_400,
        "last_row": 119_799,
        "last_ts": 1_795_169_800.0,
        "labels": 0,
        "checked": {
            "value": 0.815,
            "low": 0.795,
            "high": 0.835,
            "real": 0.81,
            "rows": 2_300,
            "first_row": 60_000,
            "last_row": 62_299,
            "last_ts": 1_795_080_000.0,
            "labels": 2_290,
        },
    },
    "rows": 120_000,
    "first_ts": 1_795_000_000.0,
    "last_ts": 1_795_170_000.0,
    "last_label_ts": 1_795_169_000.0,
    "last_arrival": 1_795_170_001.2,
}

NOBODY: Final = {
    "workers": [],
    "unread": [],
    "unowned": [],
    "parcels": {"count": 0, "events": 0},
    "troubles": [],
}
WORKERS: Final = {
    "workers": [
        {
            "worker": "node-1-5f0c93aa",
            "host": "node-1",
            "roles": ["ingest", "detect"],
            "release": "0.1.0",
            "url": None,
            "started": 1_795_100_000.0,
            "seen": 1_795_170_001.0,
            "alive": True,
            "partitions": [{"topic": "driftd.events", "partition": 0, "behind": 40}],
            "models": ["loans"],
        }
    ],
    "unread": [{"topic": "driftd.events", "partition": 1, "behind": None}],
    "unowned": [],
    "parcels": {"count": 1, "events": 500},
    "troubles": [
        {
            "text": "nobody reads driftd.events 1",
            "hint": "see the logs of the workers that ingest; DRIFTD_TOPICS has to be the same for all",
        }
    ],
    "lag": 540,
    "time": 1_795_170_002.0,
}

EXAMPLES: Final[dict[str, Any]] = {
    "Event": PREDICTION,
    "Taken": {
        "accepted": 499,
        "rejected": 1,
        "errors": [{"line": 7, "reason": "missing_field", "detail": "a label needs the `id` of its prediction"}],
    },
    "Model": MODEL,
    "Status": {
        "models": [MODEL],
        "version": "0.1.0",
        "mode": "auto",
        "ready": True,
        "lag": 0,
        "fleet": NOBODY,
        "events": {"prediction": 120_000, "features": 0, "label": 60_000},
        "dead_letters": 2,
        "time": 1_795_170_002.0,
    },
    "Workers": WORKERS,
    "Asked": {"by": "ana", "reason": "new training data is in place"},
    "Silence": {"hours": 24, "signal": "feature:age", "by": "ana", "reason": "known change of the form"},
    "Approval": {"approved": True, "by": "ana"},
    "Resend": {"ids": [4, 5], "by": "ana"},
    "Alive": {"alive": True},
    "Ready": {"ready": True},
    "Problem": {
        "type": "urn:driftd:problem:not-found",
        "title": "Not Found",
        "status": 404,
        "detail": "no model is called 'loan'",
        "hint": "did you mean loans?",
    },
}
