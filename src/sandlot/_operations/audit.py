"""Operations on the audit log.

A page ends at a time and an id: the next one begins right behind that row. Original Wrenn servers
cut the time to whole seconds, so that the rest of that second would be skipped. Pages of such a
server are therefore asked for from a little later than they should be: so that the last row that
was seen is on them, and others behind it. How much later is found by halving.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from .. import models
from .._flow import Flow, Request, fetch
from ..errors import InvalidArgumentError
from . import arguments

_ROOT = "/v1/audit-logs"
_MOST = 200
_USUAL = 50
_HALVINGS = 24
"""Enough to tell microseconds of a second apart."""

_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Place:
    """What is asked for, and where in the log.

    Attributes:
        filters: Query parameters that are the same for each page.
        cursor: `before` and `before_id`, with a space between.
        seen: Ids of the rows that were seen of the second that the cursor was cut to.
    """

    filters: dict[str, str] = field(default_factory=dict[str, str])
    cursor: str | None = None
    seen: frozenset[str] = _NONE


Fetched: TypeAlias = "tuple[list[models.AuditEntry], str | None, Place]"


def place(
    *,
    resource_type: str | Sequence[str] | None,
    action: str | Sequence[str] | None,
    before: datetime | None,
    limit: int | None,
    cursor: str | None,
) -> Place:
    """Return where to begin."""
    filters = arguments.without_none(
        resource_type=_words(resource_type, "resource_type"), action=_words(action, "action")
    )
    number = arguments.whole(limit, "limit")
    if number is not None:
        if not 1 <= number <= _MOST:
            raise InvalidArgumentError(f"limit must be from 1 to {_MOST}")
        filters["limit"] = str(number)
    if before is not None:
        if cursor is not None:
            raise InvalidArgumentError("give either before or cursor")
        if not _is_moment(before):
            raise InvalidArgumentError("before must be a datetime with a time zone")
        return Place(filters, before.isoformat())
    return Place(filters, None if cursor is None else _cursor(cursor))


def page(where: Place) -> Flow[Fetched]:
    """Return the rows of a page, its cursor, and where the next one is."""
    time, _, row_id = (where.cursor or "").partition(" ")
    was_cut = bool(row_id) and "." not in time
    if was_cut:
        found, items = yield from _behind(where, time, row_id)
    else:
        found = yield from _ask(where, time or None, row_id or None)
        items = found.items
    if found.next_before is None or not items:
        return items, None, where
    following = f"{found.next_before} {found.next_before_id or items[-1].id}"
    seen = frozenset(item.id for item in found.items) if "." not in found.next_before else _NONE
    if was_cut and time == found.next_before:
        seen |= where.seen
    return items, following, replace(where, cursor=following, seen=seen)


def _behind(
    where: Place, time: str, row_id: str
) -> Flow[tuple[models.AuditPage, list[models.AuditEntry]]]:
    """Return a page with a row of this second on it, and what comes behind that row."""
    second = datetime.fromisoformat(time)
    # One more, so that there is room for another beside that row.
    limit = min(int(where.filters.get("limit", _USUAL)) + 1, _MOST)
    where = replace(where, filters={**where.filters, "limit": str(limit)})
    earliest, latest, moment = 0.0, 1.0, 1.0  # parts of the second
    for _ in range(_HALVINGS):
        found = yield from _at(where, second, moment)
        ids = [item.id for item in found.items]
        if row_id in ids:
            rest = found.items[ids.index(row_id) + 1 :]
            if rest or len(ids) < limit:
                return found, rest
            latest = moment
        elif moment == 1.0 or not where.seen.isdisjoint(ids):
            latest = moment  # it ends before that row
        else:
            earliest = moment  # it begins behind it
        moment = (earliest + latest) / 2
    # The row is gone. Nothing better is left than what the server proposes.
    found = yield from _ask(where, time, row_id)
    return found, found.items


def _at(where: Place, second: datetime, moment: float) -> Flow[models.AuditPage]:
    time = second + timedelta(seconds=moment)
    text = time.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return _ask(where, text, None)


def _ask(where: Place, before: str | None, before_id: str | None) -> Flow[models.AuditPage]:
    params = dict(where.filters)
    if before is not None:
        params["before"] = before
    if before_id is not None:
        params["before_id"] = before_id
    return fetch(models.AuditPage, Request("GET", _ROOT, params=params))


def _words(value: Any, name: str) -> str | None:
    if value is None:
        return None
    words = [value] if isinstance(value, str) else arguments.optional_words(value, name) or []
    if not words or any(not word or "," in word for word in words):
        raise InvalidArgumentError(f"{name} must be a word, or a list of words")
    return ",".join(arguments.text(word, name) for word in words)


def _cursor(value: Any) -> str:
    time, _, row_id = arguments.filled_text(value, "cursor").partition(" ")
    try:
        known = datetime.fromisoformat(time).tzinfo is not None
    except ValueError:
        known = False
    if not known:
        raise InvalidArgumentError("cursor is not one that a page of the audit log has")
    return f"{time} {arguments.identifier(row_id, 'row')}" if row_id else time


def _is_moment(value: Any) -> bool:
    return isinstance(value, datetime) and value.tzinfo is not None
