"""What a checkpoint says, as metrics."""

from daemon import metrics
from daemon.checkpoint import Snapshot
from daemon.metrics import Metrics

EVENT_TYPES = ("prediction", "features", "label")


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


def tell_dead_letters(told: Metrics, snapshot: Snapshot) -> None:
    """Count what was put aside, by reason."""
    for letter in snapshot.dead:
        told.add(metrics.DEAD_LETTERS, 1, str(letter["reason"]))
