"""Alerts to Slack through an incoming webhook: each message is a new one."""

from http import HTTPStatus
from typing import TYPE_CHECKING

from daemon.notifiers.base import Delivery, Outcome, Sent
from daemon.notifiers.blocks import blocks, fallback
from daemon.notifiers.slack_answers import answered, unanswered
from daemon.notifiers.slack_connection import TIMEOUT_SECONDS, silent_logger

if TYPE_CHECKING:
    from slack_sdk.webhook.async_client import AsyncWebhookClient


class SlackWebhook:
    """Posts to the webhook at ``url``, which is itself the secret. ``timeout`` (seconds) bounds one try."""

    name = "slack_webhook"
    threads = False
    pause = 1.1  # Slack takes about one message a second for a channel

    def __init__(self, url: str, *, timeout: int = TIMEOUT_SECONDS) -> None:
        self._url = url
        self._timeout = timeout
        self._client: AsyncWebhookClient | None = None

    def __repr__(self) -> str:
        return "SlackWebhook(url=***)"

    async def send(self, delivery: Delivery) -> Outcome:
        """Post it; a webhook can neither edit nor reply."""
        try:
            answer = await self._connected().send(
                text=fallback(delivery.message, maybe_sent=delivery.maybe_sent),
                blocks=None if delivery.bare else blocks(delivery.message, maybe_sent=delivery.maybe_sent),
                unfurl_links=False,
                unfurl_media=False,
            )
        except Exception as error:  # noqa: BLE001 (slack-sdk lets through whatever aiohttp raises)
            return unanswered(error, repeatable=False)
        if answer.status_code == HTTPStatus.OK and answer.body.strip() == "ok":
            return Sent()
        return answered(
            answer.status_code,
            answer.body.strip(),
            retry_after=answer.headers.get("Retry-After"),
            credentials_hint="make a new webhook and set DRIFTD_SLACK_WEBHOOK_URL",
            channel_hint="the webhook's channel is closed to it: make a new webhook and set DRIFTD_SLACK_WEBHOOK_URL",
            repeatable=False,
        )

    async def close(self) -> None:
        """Each try has its own connection: nothing is held."""

    def _connected(self) -> "AsyncWebhookClient":
        if self._client is None:
            # late: the idle daemon need not pay for it. slack-sdk's own retries would post twice when an answer is lost
            from slack_sdk.webhook.async_client import AsyncWebhookClient

            self._client = AsyncWebhookClient(
                self._url, timeout=self._timeout, logger=silent_logger(), retry_handlers=[]
            )
        return self._client
