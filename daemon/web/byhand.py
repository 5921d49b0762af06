"""The routes that change something: what a person asks for by hand."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from aiohttp import web

from daemon.web.context import CONTEXT, NoSuch
from daemon.web.problem import answer, bad_request, not_found
from daemon.web.reads import is_known, unknown_model
from detectors.columns import Stream
from detectors.reference import Reference

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
LONGEST_SILENCE_HOURS: Final = 366 * 24.0
MOST_LETTERS: Final = 10_000
MSGPACK: Final = "application/msgpack"
"""For a reference, which holds bytes that JSON has no form for."""


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """Who asks, and why; both are stored."""

    by: Name = "api"
    reason: Annotated[str, msgspec.Meta(max_length=1_000)] = ""


class Silence(Asked):
    """What not to alert about, and for how long."""

    hours: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_SILENCE_HOURS)] | None = None
    until: float | None = None
    signal: Name | None = None


class Approval(Asked):
    """Yes or no."""

    approved: bool = True


class Resend(Asked):
    """Which dead letters; all that have not been sent again, where none are named."""

    ids: Annotated[list[int], msgspec.Meta(max_length=MOST_LETTERS)] | None = None


class GivenReference(msgspec.Struct, forbid_unknown_fields=True):
    """The law of each stream, as ``Reference.to_dict`` writes it."""

    by: Name = "api"
    task: Literal["binary", "multiclass", "regression"] | None = None
    streams: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)


Body = TypeVar("Body", bound=msgspec.Struct)
Handler = Callable[[web.Request], Awaitable[web.Response]]


async def retrain(request: web.Request) -> web.Response:
    """Ask for a retrain; it is queued and follows the rules of every retrain."""
    model, asked = await _model(request), await _body(request, Asked)
    done = await request.app[CONTEXT].actions.retrain(model, by=asked.by, reason=asked.reason)
    return answer(done, HTTPStatus.ACCEPTED)


async def rollback(request: web.Request) -> web.Response:
    """Put the version before this one back into service."""
    model, asked = await _model(request), await _body(request, Asked)
    return answer(await request.app[CONTEXT].actions.rollback(model, by=asked.by, reason=asked.reason))


async def promote(request: web.Request) -> web.Response:
    """Put a version into service, whatever the gate said."""
    model, asked, version = await _model(request), await _body(request, Asked), request.match_info["version"]
    actions = request.app[CONTEXT].actions
    return await _found(
        actions.promote(model, version, by=asked.by, reason=asked.reason),
        f"{model} has no version {version[:80]!r}",
        f"`driftd versions {model}` lists them",
    )


async def acknowledge(request: web.Request) -> web.Response:
    """Say that somebody has seen an alarm: it stays open and is not repeated."""
    model, asked = await _model(request), await _body(request, Asked)
    alarm = _number(request.match_info["id"])
    return await _found(
        request.app[CONTEXT].actions.acknowledge(model, alarm, by=asked.by),
        f"{model} has no alarm {alarm}",
        f"GET /v1/models/{model}/alarms lists them",
    )


async def silence(request: web.Request) -> web.Response:
    """Keep a model, or one signal of it, from alerting for a time. What is found is stored all the same."""
    model, asked = await _model(request), await _body(request, Silence)
    context = request.app[CONTEXT]
    now = context.clock()
    if (asked.hours is None) == (asked.until is None):
        raise bad_request("either hours or until is needed", 'send {"hours": 24}')
    until = asked.until if asked.until is not None else now + (asked.hours or 0.0) * 3600
    if not now < until <= now + LONGEST_SILENCE_HOURS * 3600:
        raise bad_request("until is not within the coming year", 'send {"hours": 24}, or until in epoch seconds')
    done = await context.actions.silence(model, signal=asked.signal, until=until, by=asked.by, reason=asked.reason)
    return answer(done, HTTPStatus.CREATED)


async def approve(request: web.Request) -> web.Response:
    """Let a version that waits for a person go into service, or not."""
    model, asked, approval = await _model(request), await _body(request, Approval), request.match_info["id"]
    actions = request.app[CONTEXT].actions
    return await _found(
        actions.approve(model, approval, approved=asked.approved, by=asked.by, reason=asked.reason),
        f"no version {approval[:80]!r} of {model} waits for an approval",
        f"GET /v1/models/{model}/versions?state=awaiting lists those that do",
    )


async def resend_one(request: web.Request) -> web.Response:
    """Send one dead letter through again."""
    letter, asked = _number(request.match_info["id"]), await _body(request, Asked)
    return await _found(
        request.app[CONTEXT].actions.resend([letter], by=asked.by),
        f"there is no dead letter {letter}",
        "GET /v1/dead-letters lists them",
        HTTPStatus.ACCEPTED,
    )


async def resend(request: web.Request) -> web.Response:
    """Send dead letters through again: those named by ``ids``, or all that have not been."""
    asked = await _body(request, Resend)
    return await _found(
        request.app[CONTEXT].actions.resend(asked.ids, by=asked.by),
        "one of these dead letters does not exist",
        "GET /v1/dead-letters lists them",
        HTTPStatus.ACCEPTED,
    )


async def set_reference(request: web.Request) -> web.Response:
    """Say what a model's data looked like when all was well. The model need not have had an event yet.

    The body is msgpack, since a reference holds bytes.
    """
    name = request.match_info["model"]
    given = await _body(request, GivenReference)
    try:
        references = {Stream(stream): Reference.from_dict(law) for stream, law in given.streams.items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise bad_request(
            f"this is no reference: {error}", "`driftd reference MODEL FILE` makes and sends one"
        ) from None
    if not references:
        raise bad_request("no stream has a reference", "`driftd reference MODEL FILE` makes and sends one")
    return answer(await request.app[CONTEXT].actions.set_reference(name, given.task, references, by=given.by))


async def _model(request: web.Request) -> str:
    name = request.match_info["model"]
    async with request.app[CONTEXT].store.read() as connection:
        if not await is_known(connection, name):
            raise await unknown_model(connection, name)
    return name


async def _body(request: web.Request, kind: type[Body]) -> Body:
    content = await request.read()
    if not content.strip():
        return kind()
    decode = msgspec.msgpack.decode if request.content_type == MSGPACK else msgspec.json.decode
    try:
        return decode(content, type=kind)
    except msgspec.DecodeError as error:
        fields = ", ".join(kind.__struct_fields__)
        raise bad_request(str(error), f"send a JSON object with some of {fields}, or nothing") from None


async def _found(
    action: Awaitable[Mapping[str, Any]], otherwise: str, hint: str, status: HTTPStatus = HTTPStatus.OK
) -> web.Response:
    try:
        return answer(await action, status)
    except NoSuch:
        raise not_found(otherwise, hint) from None


def _number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 19:  # noqa: PLR2004 (what fits into 64 bits for certain)
        return int(text)
    raise not_found(f"{text[:80]!r} is no number", "ids are whole numbers")
