"""How long to wait before a message is tried again."""

from random import Random
from typing import Final

from daemon.notifiers.base import Failed, RetryLater

FIRST_SECONDS: Final = 2.0
LONGEST_SECONDS: Final = 300.0
HOPELESS_SECONDS: Final = 600.0
"""Until somebody acts, a try that cannot succeed only shows in the log that nobody has."""


def wait_seconds(outcome: RetryLater | Failed, attempts: int, random: Random) -> float:
    """Seconds until the next try, after ``attempts`` tries (1 or more) of which the last came out as ``outcome``.

    The service's own wish is followed. Otherwise the wait doubles up to five minutes, and half of it is drawn by lot,
    so that many daemons do not come back to a recovering service at the same moment.
    """
    if isinstance(outcome, Failed):
        return HOPELESS_SECONDS if outcome.permanent else 0.0
    if outcome.seconds is not None:
        return outcome.seconds
    longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(attempts - 1, 30))
    return longest * (0.5 + 0.5 * random.random())
