"""A store as the daemon would leave it: models in every state of the loop, with what was measured, raised and done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from seeded_world import CHUNK, NOW, SECONDS_A_ROW, World, draw_features, draw_outcomes, draw_predictions
from sqlalchemy import insert

from daemon.monitoring import charts
from daemon.monitoring.window import Chunk
from daemon.stores import tables
from daemon.stores.engine import Store, open_store, sqlite_url
from daemon.stores.migrate import upgrade
from detectors.columns import Stream
from detectors.reference import Reference

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

_made: dict[bool, bytes] = {}


async def make_store(folder: Path, *, seeded: bool = False) -> Store:
    """An empty store, or one with the models of ``seed``. Each kind is made once, and copied from then on."""
    path = folder / "store.sqlite"
    if seeded not in _made:
        await upgrade(sqlite_url(path))
        store = open_store(sqlite_url(path))
        if seeded:
            await seed(store)
        await store.close()
        _made[seeded] = path.read_bytes()
    path.write_bytes(_made[seeded])
    return open_store(sqlite_url(path))


async def seed(store: Store) -> None:
    """Five models: one in alarm and retraining, one on probation, one that counts numbers, one calm, one learning."""
    async with store.begin() as connection:
        await _loans(connection)
        await _churn(connection)
        await _model(connection, "prices", "steady", World(3, regression=True), version="2026-10")
        await _model(connection, "fraud", "steady", World(4), version="12")
        await _learning(connection)
        await connection.execute(
            insert(tables.dead_letters),
            [
                {
                    "topic": "driftd.events",
                    "partition": 0,
                    "offset": offset,
                    "line": 0,
                    "model": "loans" if offset % 2 else None,
                    "reason": "not_json" if offset % 2 else "missing_field",
                    "detail": "JSON is malformed: invalid character (byte 12)",
                    "body": b'{"model": "loans", oops}',
                    "at": NOW - 60 * offset,
                }
                for offset in range(1, 8)
            ],
        )


async def seed_many(store: Store, number: int) -> None:
    """``number`` models, most of them steady, with a status and no measurements."""
    states = ["steady"] * 40 + ["alarm", "retraining", "watching", "learning", "learning", "held"]
    async with store.begin() as connection:
        for i in range(number):
            name = f"{('pricing', 'churn', 'fraud', 'demand', 'ranking')[i % 5]}-{('eu', 'us', 'apac')[i % 3]}-{i:03d}"
            await _status(
                connection,
                name,
                states[(i * 7) % len(states)],
                rows=1_000 + 977 * i,
                version=str(1 + i % 9),
                performance=_performance(0.75 + (i * 37 % 200) / 1_000, 0.85),
                last_arrival=NOW - i % 40,
            )


async def _loans(connection: AsyncConnection) -> None:
    world = World(1, change_row=20_031, shift=1.1)
    await _model(connection, "loans", "retraining", world, version="3")
    raised = NOW - 190.0
    await connection.execute(
        insert(tables.alarms),
        [
            _alarm(
                "loans", 1, "concept", "error", "critical", 20_413, 20_031, raised, {"reference": 0.16, "current": 0.31}
            ),
            _alarm(
                "loans",
                2,
                "drift",
                "features",
                "warning",
                20_380,
                20_031,
                raised,
                {"effect": 0.86},
                [["feature:age", 0.62], ["feature:income", 0.27], ["feature:state", 0.08], ["score", 0.03]],
            ),
            _alarm(
                "loans",
                3,
                "quality",
                "feature:employer",
                "warning",
                22_110,
                22_004,
                raised + 60,
                {"bin": "missing", "reference": 0.004, "current": 0.38},
                acknowledged_by="ana",
            ),
            {
                **_alarm("loans", 4, "drift", "score", "warning", 9_120, 8_790, NOW - 40_000, {"effect": 0.14}),
                "state": "closed",
                "closed": NOW - 36_000,
                "closed_reason": "recovered",
            },
        ],
    )
    await connection.execute(
        insert(tables.decisions),
        [
            _decision(
                "loans",
                NOW - 39_990,
                9_120,
                "alert_only",
                "kind_does_not_train",
                "an alarm of kind drift does not train: DRIFTD_RETRAIN__ON names those that do",
            ),
            _decision("loans", raised, 20_413, "wait", "too_few_labels", "212 of 500 fresh labels so far"),
            _decision("loans", raised + 95, 20_931, "retrain", "error_rose", None),
        ],
    )
    await connection.execute(
        insert(tables.jobs),
        [
            _job(
                "loans",
                1,
                "succeeded",
                "schedule",
                NOW - 90_000,
                outcome="hold",
                version="2b",
                reasons=["gain_not_proven"],
                gain=(0.004, -0.011, 0.019),
                cutoff=NOW - 90_000,
            ),
            _job(
                "loans",
                2,
                "succeeded",
                "alarm",
                NOW - 61_000,
                outcome="promote",
                version="3",
                reasons=["gain_proven"],
                gain=(0.062, 0.041, 0.083),
                cutoff=NOW - 61_000,
            ),
            _job("loans", 3, "running", "alarm", raised + 95, alarm=1, version="4", stage="train", progress=0.58),
        ],
    )
    await connection.execute(
        insert(tables.versions),
        [
            _version("loans", "2", "retired", NOW - 200_000, promoted=NOW - 190_000, retired=NOW - 60_700, from_row=0),
            _version("loans", "2b", "rejected", NOW - 89_900, reason="gain_not_proven"),
            _version("loans", "3", "champion", NOW - 60_800, promoted=NOW - 60_700, from_row=4_021),
        ],
    )


async def _churn(connection: AsyncConnection) -> None:
    world = World(2, change_row=9_000, back_row=17_500, shift=0.25, later_error=0.27)
    await _model(connection, "churn", "watching", world, version="8")
    await connection.execute(
        insert(tables.alarms),
        [
            {
                **_alarm(
                    "churn",
                    11,
                    "concept",
                    "error",
                    "critical",
                    9_480,
                    9_012,
                    NOW - 45_000,
                    {"reference": 0.16, "current": 0.27},
                ),
                "state": "closed",
                "closed": NOW - 20_000,
                "closed_reason": "new_version",
            }
        ],
    )
    await connection.execute(
        insert(tables.jobs),
        [
            _job(
                "churn",
                11,
                "succeeded",
                "alarm",
                NOW - 44_000,
                alarm=11,
                outcome="promote",
                version="8",
                reasons=["gain_proven"],
                gain=(0.104, 0.081, None),
            )
        ],
    )
    await connection.execute(
        insert(tables.versions),
        [
            _version("churn", "7", "retired", NOW - 400_000, promoted=NOW - 390_000, retired=NOW - 19_000, from_row=0),
            _version("churn", "8", "champion", NOW - 19_500, promoted=NOW - 19_000, from_row=17_500),
        ],
    )
    await connection.execute(
        insert(tables.decisions), [_decision("churn", NOW - 44_900, 9_480, "retrain", "error_rose", None)]
    )


async def _learning(connection: AsyncConnection) -> None:
    await _status(
        connection, "uplift <b>test</b>", "learning", rows=1_240, version=None, performance=None, last_arrival=NOW - 1
    )


async def _model(connection: AsyncConnection, name: str, state: str, world: World, version: str) -> None:
    rng = np.random.default_rng(world.seed)
    references = {
        Stream.FEATURES: Reference.learn(draw_features(rng, np.arange(2_000), world)),
        Stream.PREDICTION: Reference.learn(draw_predictions(rng, np.arange(2_000), world)),
        Stream.OUTCOME: Reference.learn(draw_outcomes(rng, np.arange(2_000), world)),
    }
    draw = {Stream.FEATURES: draw_features, Stream.PREDICTION: draw_predictions, Stream.OUTCOME: draw_outcomes}
    measured = []
    for chunk in range(world.chunks):
        rows = 2_000 + np.arange(chunk * CHUNK, (chunk + 1) * CHUNK)
        for stream, reference in references.items():
            columns = draw[stream](rng, rows, world)
            codes = reference.encode(columns)
            counts = np.stack([np.bincount(codes[:, s], minlength=reference.width) for s in range(codes.shape[1])])
            made = Chunk(reference, counts, CHUNK, int(rows[-1]), float(columns.ts[-1]))
            measured += charts.rows_of([(made, version)], name)
    await connection.execute(insert(tables.signals), measured)
    await connection.execute(
        insert(tables.states),
        [
            {"model": name, "part": f"reference:{stream}", "data": msgspec.msgpack.encode(reference.to_dict())}
            for stream, reference in references.items()
        ],
    )
    errors = [row for row in measured if row["signal"] == "error"]
    mean = float(np.mean([row["value"] for row in errors[-4:]]))
    before = float(errors[-1]["reference"])
    last = 2_000 + world.chunks * CHUNK
    performance = (
        {
            "metric": "mae",
            "value": mean,
            "low": mean * 0.97,
            "high": mean * 1.03,
            "reference": before,
            "rows": 2_000,
            "positive": None,
            "metrics": [
                _measured("mae", mean, mean * 0.97, mean * 1.03),
                _measured("rmse", mean * 1.3, mean * 1.2, mean * 1.4),
            ],
        }
        if world.regression
        else _performance(1 - mean, 1 - before)
    )
    await _status(
        connection, name, state, last, version, performance, NOW - 2, "regression" if world.regression else "binary"
    )


def _performance(value: float, reference: float) -> dict[str, Any]:
    return {
        "metric": "accuracy",
        "value": value,
        "low": value - 0.016,
        "high": value + 0.016,
        "reference": reference,
        "rows": 2_000,
        "positive": "1",
        "metrics": [
            _measured("accuracy", value, value - 0.016, value + 0.016),
            _measured("f1", 0.613, 0.577, 0.651),
            _measured("auc", 0.874, 0.856, 0.891),
            _measured("log_loss", 0.412, 0.386, 0.441),
            {"metric": "rms_calibration_error", "rows": 80, "value": None, "low": None, "high": None, "classes": None}
            | {"why_not": "not enough data: 80 rows, it takes 100"},
        ],
    }


def _measured(metric: str, value: float, low: float, high: float) -> dict[str, Any]:
    figures = {"metric": metric, "rows": 2_000, "value": value, "low": low, "high": high}
    return figures | {"classes": None, "why_not": None}


async def _status(
    connection: AsyncConnection,
    name: str,
    state: str,
    rows: int,
    version: str | None,
    performance: dict[str, Any] | None,
    last_arrival: float,
    task: str = "binary",
) -> None:
    labels = rows // 2 if performance is not None else 0
    await connection.execute(
        insert(tables.models).values(
            model=name,
            task=task,
            state=state,
            version=version,
            rows=rows,
            first_ts=NOW - rows * SECONDS_A_ROW,
            last_ts=NOW,
            last_label_ts=NOW - 300,
            last_arrival=last_arrival,
            performance=performance,
            created=NOW - 1e6,
            learning=state == "learning",
            watching=state == "watching",
            held="the last two versions failed to deploy: the model folder is not writable"
            if state == "held"
            else None,
        )
    )
    counts = {
        "prediction": rows,
        "label": labels,
        "joined": max(labels - 10, 0),
        "waiting": rows - labels,
        "dead_letters": rows % 3,
    }
    await connection.execute(
        insert(tables.counters), [{"model": name, "name": one, "value": value} for one, value in counts.items()]
    )


def _alarm(
    model: str,
    number: int,
    kind: str,
    signal: str,
    severity: str,
    row: int,
    change_row: int,
    raised: float,
    evidence: dict[str, Any],
    ranking: list[list[Any]] | None = None,
    acknowledged_by: str | None = None,
) -> dict[str, Any]:
    return {
        "id": number,
        "model": model,
        "version": "3",
        "kind": kind,
        "signal": signal,
        "detector": "e_detector",
        "severity": severity,
        "row": row,
        "ts": raised - 4,
        "change_row": change_row,
        "change_ts": raised - 1_150,
        "evidence": evidence,
        "ranking": ranking or [[signal, 1.0]],
        "state": "open",
        "raised": raised,
        "closed": None,
        "closed_reason": None,
        "acknowledged_by": acknowledged_by,
        "acknowledged": raised + 100 if acknowledged_by else None,
    }


def _decision(
    model: str, at: float, row: int, action: str, reason: str, text: str | None, alarm: int | None = None
) -> dict[str, Any]:
    return {
        "alarm": alarm,
        "model": model,
        "at": at,
        "row": row,
        "action": action,
        "reason": reason,
        "detail": {"text": text} if text else {"labels": 532},
    }


def _job(
    model: str,
    number: int,
    state: str,
    trigger: str,
    started: float,
    *,
    version: str,
    alarm: int | None = None,
    outcome: str | None = None,
    reasons: list[str] | None = None,
    gain: tuple[float, float, float | None] | None = None,
    stage: str | None = None,
    progress: float | None = None,
    cutoff: float | None = None,
) -> dict[str, Any]:
    result = None
    if gain is not None:
        result = {"gain": {"estimate": gain[0], "low": gain[1], "high": gain[2], "confidence": 0.95, "loss": "error"}}
    return {
        "id": number,
        "model": model,
        "state": state,
        "trigger": trigger,
        "alarm": alarm,
        "version": version,
        "stage": stage,
        "progress": progress,
        "created": started - 2,
        "started": started,
        "cutoff": cutoff,
        "finished": started + 214 if outcome else None,
        "outcome": outcome,
        "reasons": reasons,
        "result": result,
    }


def _version(
    model: str,
    version: str,
    state: str,
    created: float,
    *,
    promoted: float | None = None,
    retired: float | None = None,
    from_row: int | None = None,
    reason: str | None = None,
) -> dict[str, Any]:
    return {
        "model": model,
        "version": version,
        "state": state,
        "origin": "trained",
        "created": created,
        "hash": f"sha256:{created:.0f}a8b41c09d7",
        "promoted": promoted,
        "retired": retired,
        "from_row": from_row,
        "reason": reason,
    }
