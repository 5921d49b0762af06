"""Splits a value of the log into JSON documents."""

from typing import Final

import msgspec

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_sequence = msgspec.json.Decoder(msgspec.Raw)
_array = msgspec.json.Decoder(list[msgspec.Raw])


def documents_of(value: bytes) -> list[bytes]:
    """The documents of ``value``, or its lines where it is not JSON throughout.

    A value is one document after another, on lines of their own or not, each on one line or on several; an array is the
    documents that it holds. What cannot be read that way is taken line by line, so that one bad line costs no other.
    """
    value = value.removeprefix(BYTE_ORDER_MARK)
    try:
        return _flat(value)
    except (msgspec.DecodeError, RecursionError):
        found: list[bytes] = []
        for line in value.split(b"\n"):
            try:
                found += _flat(line)
            except (msgspec.DecodeError, RecursionError):
                found.append(line.strip())
        return found


def _flat(value: bytes) -> list[bytes]:
    found: list[bytes] = []
    for raw in _sequence.decode_lines(value):
        document = bytes(raw)
        found += map(bytes, _array.decode(document)) if document.startswith(b"[") else [document]
    return found
