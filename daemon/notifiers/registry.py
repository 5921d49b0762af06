"""Every notifier, by name."""

from typing import Final

from daemon.notifiers.base import Notifier
from daemon.notifiers.log import LogNotifier
from daemon.notifiers.slack_bot import SlackBot
from daemon.notifiers.slack_webhook import SlackWebhook

# typed as what they must be, so that mypy compares each with the contract
_ALL: Final[tuple[type[Notifier], ...]] = (LogNotifier, SlackBot, SlackWebhook)

NOTIFIERS: Final[dict[str, type[Notifier]]] = {kind.name: kind for kind in _ALL}


def choose(
    *,
    webhook_url: str | None = None,
    bot_token: str | None = None,
    channel: str | None = None,
    interactive: bool = False,
    api_url: str | None = None,
) -> Notifier:
    """The notifier that the settings ask for: a bot, else a webhook, else the log.

    ``interactive`` draws the buttons, where something listens to them; ``api_url`` is where Slack's Web API is.
    Raises ValueError for a bot without a channel.
    """
    if bot_token:
        if not channel:
            raise ValueError("a Slack bot needs a channel: set DRIFTD_SLACK_CHANNEL")
        return SlackBot(bot_token, channel, interactive=interactive, base_url=api_url)
    if webhook_url:
        return SlackWebhook(webhook_url)
    return LogNotifier()
