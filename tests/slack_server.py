"""A local server that speaks Slack's protocol, with Slack's limits and Slack's bad days.

It has the incoming webhook and the Web API methods chat.postMessage and chat.update. What it accepted is in
``messages`` (as a channel shows it) and ``requests`` (everything it carried out, in order).
"""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self

from aiohttp import web

MOST_BLOCKS = 50
LONGEST_TEXT = 40_000
LIMITS = {"header": 150, "section": 3000, "context": 3000}


class Fault(Enum):
    """What goes wrong with one request."""

    INTERNAL = auto()
    """500, and nothing was done."""
    BAD_GATEWAY = auto()
    """502 with a page that quotes the address, from something in between; nothing was done."""
    UNAVAILABLE = auto()
    """503, and nothing was done."""
    RATE = auto()
    """429 whatever the traffic."""
    DROPPED = auto()
    """The connection is cut before anything was done."""
    LOST = auto()
    """Everything was done, and the connection is cut before the answer."""
    GARBAGE = auto()
    """200 with a page that is not Slack's; nothing was done."""


DONE_NOTHING = frozenset(Fault) - {Fault.LOST}


@dataclass
class Posted:
    """A message in a channel."""

    channel: str
    ts: str
    text: str
    blocks: list[dict[str, Any]]
    thread_ts: str | None = None
    broadcast: bool = False
    edits: int = 0

    def all_text(self) -> str:
        """Everything that a reader sees, and the notification's text."""
        return "\n".join([self.text, *texts(self.blocks)])


@dataclass
class Carried:
    """A request that was carried out."""

    method: str
    posted: Posted
    text: str
    blocks: list[dict[str, Any]]
    at: float

    def all_text(self) -> str:
        """Everything that a reader saw at that time."""
        return "\n".join([self.text, *texts(self.blocks)])


def texts(part: Any) -> list[str]:
    """All texts inside blocks."""
    if isinstance(part, list):
        return [text for one in part for text in texts(one)]
    if isinstance(part, dict):
        own = [part["text"]] if isinstance(part.get("text"), str) else []
        return own + [text for value in part.values() if isinstance(value, dict | list) for text in texts(value)]
    return []


@dataclass
class SlackServer:
    """Use as an asynchronous context manager. ``now`` is the server's clock, in seconds."""

    now: Callable[[], float] = time.monotonic
    token: str = "xoxb-made-up-0123456789"
    secret: str = "made-up-webhook-secret"
    channels: dict[str, str] = field(default_factory=lambda: {"#alerts": "C0ALERTS"})
    archived: set[str] = field(default_factory=set)
    seconds_per_message: float = 1.0
    retry_after: int = 1
    faults: deque[Fault] = field(default_factory=deque)
    fault: Fault | None = None
    messages: list[Posted] = field(default_factory=list)
    requests: list[Carried] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    carried: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once something was carried out."""
    _last: dict[str, float] = field(default_factory=dict)
    _number: int = 0
    _runner: web.AppRunner | None = None
    _port: int = 0

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.down()

    async def up(self) -> None:
        """Listen; after ``down``, at the same address."""
        app = web.Application()
        app.router.add_post("/services/T0/B0/{secret}", self._webhook)
        app.router.add_post("/api/{method}", self._api)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def down(self) -> None:
        """Refuse connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def webhook_url(self) -> str:
        """An incoming webhook for #alerts."""
        return f"http://127.0.0.1:{self._port}/services/T0/B0/{self.secret}"

    @property
    def api_url(self) -> str:
        """Base of the Web API."""
        return f"http://127.0.0.1:{self._port}/api/"

    async def _webhook(self, request: web.Request) -> web.StreamResponse:
        async def act(body: dict[str, Any]) -> tuple[int, str]:
            if request.match_info["secret"] != self.secret:
                return 404, "no_service"
            if "C0ALERTS" in self.archived:
                return 410, "channel_is_archived"
            error = self._flaw(body)
            if error:
                return 400, error
            if not self._has_room("C0ALERTS"):
                return 429, "rate_limited"
            self._post("webhook", "C0ALERTS", body)
            return 200, "ok"

        return await self._answer(request, act, lambda status, word: web.Response(status=status, text=word))

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        done: dict[str, Any] = {}

        async def act(body: dict[str, Any]) -> tuple[int, str]:
            error = self._unwelcome(request, body) or self._flaw(body)
            if error:
                return 200, error
            if method == "chat.update":
                old = next(
                    (one for one in self.messages if (one.channel, one.ts) == (body["channel"], body["ts"])), None
                )
                if old is None:
                    return 200, "message_not_found"
                old.text, old.blocks, old.edits = body["text"], body.get("blocks", []), old.edits + 1
                done.update(channel=old.channel, ts=old.ts)
                self._carry(method, old, body)
                return 200, ""
            if method != "chat.postMessage":
                return 200, "unknown_method"
            channel = self._channel(body)
            if not self._has_room(channel):
                return 429, "ratelimited"
            posted = self._post(method, channel, body)
            done.update(channel=channel, ts=posted.ts)
            return 200, ""

        def answer(status: int, word: str) -> web.Response:
            return web.json_response({"ok": False, "error": word} if word else {"ok": True, **done}, status=status)

        return await self._answer(request, act, answer)

    async def _answer(self, request: web.Request, act: Any, answer: Any) -> web.StreamResponse:
        fault = self.faults.popleft() if self.faults else self.fault
        page = f"<html>{request.url} {request.headers.get('Authorization')}</html>"
        broken = {
            Fault.INTERNAL: lambda: answer(500, "internal_error" if "api" in request.path else "rollup_error"),
            Fault.BAD_GATEWAY: lambda: web.Response(status=502, text=page, content_type="text/html"),
            Fault.UNAVAILABLE: lambda: web.Response(status=503, text=page, content_type="text/plain"),
            Fault.GARBAGE: lambda: web.Response(status=200, text=page, content_type="text/html"),
        }
        if fault in broken:
            return broken[fault]()
        if fault is Fault.RATE:
            return self._limited(answer(429, "ratelimited"))
        if fault is not Fault.DROPPED:
            status, word = await act(json.loads(await request.text()))
        if fault in (Fault.DROPPED, Fault.LOST):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if word not in ("", "ok"):
            self.refusals.append(word)
        response = answer(status, word)
        return self._limited(response) if status == 429 else response

    def _limited(self, response: web.Response) -> web.Response:
        response.headers["Retry-After"] = str(self.retry_after)
        return response

    def _unwelcome(self, request: web.Request, body: dict[str, Any]) -> str:
        given = request.headers.get("Authorization", "")
        if not given:
            return "not_authed"
        if given != f"Bearer {self.token}":
            return "invalid_auth"
        channel = self._channel(body)
        if not channel:
            return "channel_not_found"
        return "is_archived" if channel in self.archived else ""

    def _channel(self, body: dict[str, Any]) -> str:
        name = str(body.get("channel"))
        return name if name in self.channels.values() else self.channels.get(name, "")

    def _flaw(self, body: dict[str, Any]) -> str:
        blocks = body.get("blocks") or []
        if not body.get("text") and not blocks:
            return "no_text"
        if len(body.get("text") or "") > LONGEST_TEXT:
            return "msg_too_long"
        return "" if len(blocks) <= MOST_BLOCKS and all(map(_is_valid, blocks)) else "invalid_blocks"

    def _has_room(self, channel: str) -> bool:
        now = self.now()
        if now - self._last.get(channel, -1e9) < self.seconds_per_message:
            return False
        self._last[channel] = now
        return True

    def _post(self, method: str, channel: str, body: dict[str, Any]) -> Posted:
        self._number += 1
        ts = f"1700000000.{self._number:06}"
        posted = Posted(
            channel,
            ts,
            body["text"],
            body.get("blocks") or [],
            body.get("thread_ts"),
            bool(body.get("reply_broadcast")),
        )
        self.messages.append(posted)
        self._carry(method, posted, body)
        return posted

    def _carry(self, method: str, posted: Posted, body: dict[str, Any]) -> None:
        self.requests.append(Carried(method, posted, body["text"], body.get("blocks") or [], self.now()))
        self.carried.set()


def _is_valid(block: dict[str, Any]) -> bool:
    kind = block.get("type")
    if kind == "actions":
        return 1 <= len(block["elements"]) <= 25 and all(
            1 <= len(one["text"]["text"]) <= 75 for one in block["elements"]
        )
    if kind == "context":
        return 1 <= len(block["elements"]) <= 10 and all(_fits(one, "context") for one in block["elements"])
    return kind in LIMITS and _fits(block["text"], kind)


def _fits(text: dict[str, Any], kind: str) -> bool:
    of_right_type = text.get("type") == "plain_text" or (kind != "header" and text.get("type") == "mrkdwn")
    return of_right_type and 1 <= len(text["text"]) <= LIMITS[kind]
