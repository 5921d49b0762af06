"""Which drift is explained by broken data: a burst of nulls also moves the law of the feature that it hits."""

from collections.abc import Iterable
from typing import Final

from daemon.alerts.alarm import FEATURES, Alarm
from detectors.base import Kind

EXPLAINED_SHARE: Final = 0.5
"""Of the shift of all features together, as the alarm ranks it."""


def explanation(alarm: Alarm, alarms: Iterable[Alarm]) -> Alarm | None:
    """The open data-quality alarm among ``alarms`` that explains ``alarm``, if there is one.

    It explains drift of its own signal, and drift of the features together where the broken ones account for at least
    half of it. Nothing else: that the model errs more often must be said even where the cause seems clear.
    """
    if alarm.kind is not Kind.DRIFT:
        return None
    broken = {other.signal: other for other in alarms if other.is_broken_data and other.is_open}
    if alarm.signal != FEATURES:
        return broken.get(alarm.signal)
    guilty = [(share, signal) for signal, share in alarm.ranking if signal in broken]
    if guilty and sum(share for share, _ in guilty) >= EXPLAINED_SHARE:
        return broken[max(guilty)[1]]
    return None
