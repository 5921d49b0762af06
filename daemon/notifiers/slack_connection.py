"""How both Slack notifiers use slack-sdk."""

import logging
from typing import Final

TIMEOUT_SECONDS: Final = 10
"""For one try, from the connection to the end of the answer."""


def silent_logger() -> logging.Logger:
    """A logger for slack-sdk's clients: with their own they write addresses and headers, which hold the secret.

    They ask for the level of the logger itself and not for the one in effect, so it must be set on it.
    """
    logger = logging.getLogger("driftd.slack_sdk")
    logger.setLevel(logging.WARNING)
    return logger
