"""The id by which a document finds its partition, so that a label comes to where its prediction came to."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np

from daemon.events.documents import documents_of
from daemon.events.event_formats import NotAnEvent, normalise
from daemon.events.event_rules import as_text

BETWEEN_DOCUMENTS: Final = (b"\n", b"}{", b"} {")
"""One of them is where one document ends and the next begins; in a single one they are rare."""


AT_ONCE: Final = 1 << 17
"""Bytes that are searched together."""


class _Plain(msgspec.Struct):
    """A document that names its id as we do, and is not wrapped in anything."""

    id: str | int | float
    specversion: msgspec.UnsetType = msgspec.UNSET
    inputs: msgspec.UnsetType = msgspec.UNSET
    instances: msgspec.UnsetType = msgspec.UNSET
    outputs: msgspec.UnsetType = msgspec.UNSET
    predictions: msgspec.UnsetType = msgspec.UNSET


_plain: Final = msgspec.json.Decoder(_Plain)


def key_of(document: bytes) -> str | None:
    """The id of a document; None where it has none, or is no event.

    A logged request of many rows, each of which gets an id of its own, has that of its first row.
    """
    try:
        return as_text(_plain.decode(document).id) or None
    except (msgspec.DecodeError, RecursionError):
        pass
    try:
        events = normalise(document)
    except (NotAnEvent, RecursionError):
        return None
    found = events[0].get("id") if events else None
    return as_text(found) if isinstance(found, str | int | float) and found != "" else None


def keyed_documents(value: bytes) -> Iterator[tuple[bytes, str | None]]:
    """The documents of a value, each on one line, with their ids."""
    for document in documents_of(value):
        one_line = document if b"\n" not in document else _compact(document)
        yield one_line, key_of(one_line)


def count_documents(value: bytes) -> int:
    """How many documents a value holds."""
    if value[:1] == b"{" and not any(between in value for between in BETWEEN_DOCUMENTS):
        return 1
    return len(documents_of(value))


def count_all(values: Sequence[bytes]) -> list[int]:
    """How many documents each of many values holds."""
    # what is looked at together should stay in a processor's cache
    at_once = max(1, AT_ONCE * len(values) // (sum(map(len, values)) + 1))
    counts: list[int] = []
    for start in range(0, len(values), at_once):
        some = values[start : start + at_once]
        lines = _are_lines(b"\n".join(some))
        if lines == len(some):
            counts += [1] * lines
        elif lines:
            counts += [value.count(b"\n") + 1 for value in some]
        else:
            counts += map(count_documents, some)
    return counts


def _are_lines(value: bytes) -> int:
    """The lines of a value that holds a document on each; 0 where that is not plain to see.

    It is where all lines begin and end with a brace, and nothing behind another brace can begin a document. Where they
    are not JSON throughout, documents are told apart by lines as well.
    """
    if not (value.startswith(b"{") and value.endswith(b"}")):
        return 0
    octets = np.frombuffer(value, np.uint8)
    behind = octets[np.flatnonzero(octets[:-1] == _CLOSING) + 1]
    ends = np.flatnonzero(octets == _LINE_END)
    plain = _MAY_FOLLOW[behind].all() and (octets[ends - 1] == _CLOSING).all() and (octets[ends + 1] == _OPENING).all()
    return len(ends) + 1 if plain else 0


_OPENING, _CLOSING, _LINE_END = (ord(one) for one in "{}\n")
_MAY_FOLLOW: Final = np.isin(np.arange(256), [ord(one) for one in ",]}\n"])


def _compact(document: bytes) -> bytes:
    try:
        return msgspec.json.format(document, indent=-1)
    except (msgspec.DecodeError, RecursionError):
        return document.replace(b"\n", b" ")
