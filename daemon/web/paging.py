"""Lists in pages, with a cursor that is the place where the last page ended."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web
from sqlalchemy import ColumnElement, Select, Table, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from daemon.web.problem import Problem, ProblemKind, bad_request

DEFAULT_LIMIT: Final = 100
MOST_ITEMS: Final = 1_000
PAGING: Final = ("limit", "cursor", "order")


@dataclass(frozen=True, slots=True)
class Filter:
    """One query parameter of a list: what it means, and the condition that its value makes.

    ``condition`` raises ValueError where the value makes no sense.
    """

    name: str
    meaning: str
    condition: Callable[[str], ColumnElement[bool]]
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listing:
    """One list: its rows, the key by which they are ordered (newest first unless asked otherwise), its filters.

    ``item`` turns a row into what is shown.
    """

    name: str
    table: Table
    key: tuple[ColumnElement[Any], ...]
    filters: tuple[Filter, ...]
    item: Callable[[Mapping[str, Any]], dict[str, Any]]
    newest_first: bool = True


def parameters(request: web.Request, known: Sequence[str]) -> dict[str, str]:
    """The query of ``request``. Raises a Problem that names the nearest known parameter for one that is not."""
    for name in request.query:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            takes = ", ".join(known) or "none"
            raise bad_request(
                f"{name[:80]!r} is no parameter of {request.path}",
                f"did you mean {near[0]}? It takes {takes}" if near else f"it takes {takes}",
            )
    return dict(request.query)


async def page(
    connection: AsyncConnection, listing: Listing, where: Sequence[ColumnElement[bool]], query: Mapping[str, str]
) -> dict[str, Any]:
    """One page of ``listing``: ``{"items": [...], "total": n, "next": cursor or None}``."""
    limit = _limit(query)
    newest_first = _newest_first(query, default=listing.newest_first)
    conditions = [*where, *(_condition(one, query[one.name]) for one in listing.filters if one.name in query)]
    scope = _scope(listing, where, query)
    total = await connection.scalar(select(func.count()).select_from(listing.table).where(*conditions))
    rows: Select[Any] = select(listing.table).where(*conditions).limit(limit + 1)
    rows = rows.order_by(*(column.desc() if newest_first else column.asc() for column in listing.key))
    if "cursor" in query:
        last = tuple_(*_after(query["cursor"], scope, len(listing.key)))
        place = tuple_(*listing.key)
        rows = rows.where(place < last if newest_first else place > last)
    found = (await connection.execute(rows)).mappings().all()
    more = len(found) > limit
    items = found[:limit]
    return {
        "items": [listing.item(dict(row)) for row in items],
        "total": total,
        "next": _cursor(scope, [items[-1][column.name] for column in listing.key]) if more else None,
    }


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_ITEMS:
        raise bad_request(f"limit={text[:20]!r} is no number from 1 to {MOST_ITEMS}", f"use limit={DEFAULT_LIMIT}")
    return int(text)


def _newest_first(query: Mapping[str, str], *, default: bool) -> bool:
    order = query.get("order", "desc" if default else "asc")
    if order not in {"asc", "desc"}:
        raise bad_request(f"order={order[:20]!r} is neither asc nor desc", "use order=asc or order=desc")
    return order == "desc"


def _condition(one: Filter, value: str) -> ColumnElement[bool]:
    try:
        return one.condition(value)
    except ValueError as error:
        raise bad_request(f"{one.name}={value[:80]!r} makes no sense: {error}", f"{one.name}: {one.meaning}") from None


def _scope(listing: Listing, where: Sequence[ColumnElement[bool]], query: Mapping[str, str]) -> str:
    """A mark of the list and its filters: a cursor of another list would skip rows without a word."""
    fixed = [str(one.compile(compile_kwargs={"literal_binds": True})) for one in where]
    chosen = sorted((name, value) for name, value in query.items() if name not in {"limit", "cursor"})
    return hashlib.blake2s(msgspec.json.encode([listing.name, fixed, chosen]), digest_size=6).hexdigest()


def _cursor(scope: str, key: list[Any]) -> str:
    return urlsafe_b64encode(msgspec.msgpack.encode([scope, *key])).decode().rstrip("=")


def _after(cursor: str, scope: str, length: int) -> list[Any]:
    try:
        content = msgspec.msgpack.decode(
            urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=list[str | int | float]
        )
    except (ValueError, msgspec.DecodeError):
        content = []
    if len(content) != length + 1 or content[0] != scope:
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            ProblemKind.BAD_CURSOR,
            "this cursor is not one of this list with these filters",
            hint="start without cursor, and then pass on `next` of each answer unchanged",
        )
    return content[1:]
