"""Splits a body into lines of one event each, without decoding what is in them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

import msgspec

from daemon.web.problem import Problem, ProblemKind, bad_request

EXAMPLE: Final = '{"model": "loans", "id": "8c1f", "features": {"age": 41}, "prediction": 1}'
REFUSED_TYPES: Final = ("multipart/", "text/html", "application/xml", "text/xml", "image/", "audio/", "video/")
BLANK: Final = b" \t\r\n"

_elements = msgspec.json.Decoder(list[msgspec.Raw])
_any = msgspec.json.Decoder(msgspec.Raw)


def lines(body: bytes, content_type: str, headers: Mapping[str, str]) -> bytes:
    """The events of ``body``, a line each.

    What the body is shows in its first byte rather than in its Content-Type, which command lines get wrong: ``[`` opens
    a JSON array (also a batch of CloudEvents), anything else is NDJSON or one object over several lines. NDJSON comes
    back as it is. The attributes of a CloudEvent in ``ce-`` headers are put around its data.

    Raises a Problem: 400 where there is nothing or the array is broken, 415 for what cannot be events.
    """
    if content_type.startswith(REFUSED_TYPES):
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            ProblemKind.UNSUPPORTED_TYPE,
            f"{content_type} is not understood",
            hint="send application/json, application/x-ndjson or application/cloudevents+json",
        )
    start = _first(body)
    if start is None:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            ProblemKind.EMPTY_BODY,
            "the body is empty",
            hint=f"send an event, such as {EXAMPLE}",
            example=msgspec.Raw(EXAMPLE.encode()),
        )
    if "ce-specversion" in headers:
        return _enveloped(body, content_type, headers)
    if body[start] == ord("["):
        return _array(body)
    newline = body.find(b"\n", start)
    if newline > 0 and body[start] == ord("{") and not _is_json(body[start:newline]):
        return _one_object(body)
    return body


def _first(body: bytes) -> int | None:
    for position, byte in enumerate(body):
        if byte not in BLANK:
            return position
    return None


def _is_json(line: bytes) -> bool:
    try:
        _any.decode(line)
    except msgspec.DecodeError:
        return False
    return True


def _array(body: bytes) -> bytes:
    try:
        elements = _elements.decode(body)
    except msgspec.DecodeError as error:
        raise bad_request(
            f"the array is not JSON: {error}; nothing of it was taken",
            "send NDJSON, an event a line: then a bad one does not keep the others out",
        ) from None
    if not elements:
        raise bad_request("the array is empty", f"send events, such as [{EXAMPLE}]")
    if b"\n" not in body:
        return b"\n".join(elements)
    return b"\n".join(_compact(bytes(element)) for element in elements)


def _one_object(body: bytes) -> bytes:
    """A body whose first line begins an object and does not end it: pretty-printed, or NDJSON that begins badly."""
    if _is_json(body):
        return _compact(body)
    if b"\n{" in body:
        return body
    # one broken object is one bad event, not one for each of its lines
    return body.replace(b"\r", b" ").replace(b"\n", b" ")


def _compact(body: bytes) -> bytes:
    return msgspec.json.format(body, indent=-1) if b"\n" in body else body


def _enveloped(body: bytes, content_type: str, headers: Mapping[str, str]) -> bytes:
    """A CloudEvent in binary mode as one in structured mode."""
    if not _is_json(body):
        raise bad_request("the data of the CloudEvent is not JSON", "send it with Content-Type: application/json")
    attributes: dict[str, object] = {
        name[3:].lower(): unquote(value) for name, value in headers.items() if name.lower().startswith("ce-")
    }
    data = msgspec.Raw(_compact(body.strip()))
    return msgspec.json.encode({**attributes, "datacontenttype": content_type, "data": data})
