"""Alerts to Slack through a bot: one message an incident, edited as things change, with its details in a thread."""

from typing import TYPE_CHECKING, Any

from daemon.notifiers.base import Delivery, Failed, Manner, Outcome, Problem, Ref, Sent
from daemon.notifiers.blocks import blocks, fallback
from daemon.notifiers.slack_answers import GONE, answered, unanswered
from daemon.notifiers.slack_connection import TIMEOUT_SECONDS, silent_logger

if TYPE_CHECKING:
    from slack_sdk.web.async_client import AsyncWebClient

_GONE = Failed(Problem.MESSAGE, "the message to edit is gone", permanent=False)


class SlackBot:
    """Posts to ``channel`` (a name or an id) as the bot of ``token``.

    With ``interactive`` the message has buttons: only where something listens to them. ``base_url`` is where Slack's
    Web API is (slack-sdk's default), ``timeout`` (seconds) bounds one try.
    """

    name = "slack_bot"
    threads = True
    pause = 1.1  # Slack takes about one message a second for a channel

    def __init__(
        self,
        token: str,
        channel: str,
        *,
        interactive: bool = False,
        base_url: str | None = None,
        timeout: int = TIMEOUT_SECONDS,
    ) -> None:
        self._token = token
        self._channel = channel
        self._interactive = interactive
        self._base_url = base_url
        self._timeout = timeout
        self._client: AsyncWebClient | None = None

    def __repr__(self) -> str:
        return f"SlackBot(token=***, channel={self._channel!r}, interactive={self._interactive})"

    async def send(self, delivery: Delivery) -> Outcome:
        """Post, edit or reply. A message that was deleted meanwhile is posted anew instead of edited."""
        words = self._words(delivery)
        if delivery.ref is None or delivery.manner is Manner.POST:
            return await self._call("chat.postMessage", {"channel": self._channel, **words})
        if delivery.manner is Manner.REPLY:
            thread = {"thread_ts": delivery.ref.ts, "reply_broadcast": delivery.loud}
            return await self._call("chat.postMessage", {"channel": delivery.ref.channel, **thread, **words})
        outcome = await self._call("chat.update", {"channel": delivery.ref.channel, "ts": delivery.ref.ts, **words})
        if outcome is _GONE:
            return await self._call("chat.postMessage", {"channel": self._channel, **words})
        return outcome

    async def close(self) -> None:
        """Each try has its own connection: nothing is held."""

    def _words(self, delivery: Delivery) -> dict[str, Any]:
        # an edit that is made twice is made once: nothing to warn of
        maybe_sent = delivery.maybe_sent and delivery.manner is not Manner.EDIT
        message = delivery.message
        markup = [] if delivery.bare else blocks(message, maybe_sent=maybe_sent, interactive=self._interactive)
        return {"text": fallback(message, maybe_sent=maybe_sent), "blocks": markup, "link_names": False} | (
            {} if delivery.manner is Manner.EDIT else {"unfurl_links": False, "unfurl_media": False}
        )

    async def _call(self, method: str, arguments: dict[str, Any]) -> Outcome:
        from slack_sdk.errors import SlackApiError

        repeatable = method == "chat.update"
        try:
            answer = await self._connected().api_call(method, json=arguments)
            return Sent(Ref(str(answer["channel"]), str(answer["ts"])))
        except SlackApiError as refusal:
            response = refusal.response
        except Exception as error:  # noqa: BLE001 (slack-sdk lets through whatever aiohttp raises)
            return unanswered(error, repeatable=repeatable)
        data = getattr(response, "data", None)
        word = data.get("error", "") if isinstance(data, dict) else ""
        if repeatable and word in GONE:
            return _GONE
        needed = data.get("needed") if isinstance(data, dict) else None
        token_hint = f"give the app the scope {needed}" if needed else "check DRIFTD_SLACK_BOT_TOKEN"
        return answered(
            int(getattr(response, "status_code", 0) or getattr(response, "status", 0)),
            str(word),
            retry_after=response.headers.get("Retry-After"),
            credentials_hint=token_hint,
            channel_hint="check DRIFTD_SLACK_CHANNEL, and invite the bot to the channel",
            repeatable=repeatable,
        )

    def _connected(self) -> "AsyncWebClient":
        if self._client is None:
            # late: the idle daemon need not pay for it. slack-sdk's own retries would post twice when an answer is lost
            from slack_sdk.web.async_client import AsyncWebClient

            self._client = AsyncWebClient(self._token, timeout=self._timeout, logger=silent_logger(), retry_handlers=[])
            if self._base_url is not None:
                self._client.base_url = self._base_url.rstrip("/") + "/"
        return self._client
