"""What a checkpoint says, as metrics and in the log."""

from typing import Final

import structlog

from daemon import metrics
from daemon.checkpoint import Snapshot
from daemon.metrics import Metrics

log = structlog.get_logger(__name__)

EVENT_TYPES = ("prediction", "features", "label")
DISTRUSTED: Final = "labels show that performance was estimated wrongly: it is learned anew"
TRUSTED: Final = "performance is estimated again, by what fresh labels have taught"


def measure(told: Metrics, snapshot: Snapshot, now: float) -> None:
    """Count what has been stored at ``now``."""
    told.set(metrics.LAST_CHECKPOINT, now)
    for one in snapshot.monitors:
        model, counts = one.monitor.model, one.findings.counts
        for kind in EVENT_TYPES:
            if counts[kind]:
                told.add(metrics.EVENTS, counts[kind], model, kind)
        told.add(metrics.JOINED, counts["joined"], model)
        told.add(metrics.DUPLICATES, counts["duplicates"], model)
        for verdict in one.findings.verdicts:
            if not verdict.recovered:
                told.add(metrics.ALARMS, 1, model, verdict.kind)
        for turn in one.findings.turns:
            say = log.info if turn.trusted else log.warning
            say(TRUSTED if turn.trusted else DISTRUSTED, model=model, since_row=turn.row, since=turn.ts)


def tell_dead_letters(told: Metrics, snapshot: Snapshot) -> None:
    """Count what was put aside, by reason."""
    for letter in snapshot.dead:
        told.add(metrics.DEAD_LETTERS, 1, str(letter["reason"]))
