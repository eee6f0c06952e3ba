"""Where pages of lists begin and end: a time, to the microsecond, and an id."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime

from starlette.datastructures import QueryParams

from sandlot.server.services.errors import InvalidRequestError

__all__ = ["cursor", "page_limit", "parse_cursor"]

_MAX_LIMIT = 1000


def page_limit(query: QueryParams) -> int | None:
    """Return how many items a page shall have; None if it was not said."""
    text = query.get("limit")
    if not text:
        return None
    if not (re.fullmatch("[0-9]{1,4}", text) and 1 <= int(text) <= _MAX_LIMIT):
        raise InvalidRequestError(f"limit: must be a number from 1 to {_MAX_LIMIT}.")
    return int(text)


def cursor(time: datetime, item_id: str) -> str:
    """Return where a page ends."""
    micros = round(time.timestamp() * 1_000_000)
    return base64.urlsafe_b64encode(f"{micros}:{item_id}".encode()).decode().rstrip("=")


def parse_cursor(
    query: QueryParams, is_item: Callable[[str], object]
) -> tuple[datetime, str] | None:
    """Return where the page before ended; None for the first page.

    Args:
        query: The query.
        is_item: Tells whether a text looks like the id of an item.
    """
    text = query.get("cursor")
    if not text:
        return None
    try:
        decoded = base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4)).decode()
        micros, _, item_id = decoded.partition(":")
        seconds, fraction = divmod(int(micros), 1_000_000)
        time = datetime.fromtimestamp(seconds, UTC).replace(microsecond=fraction)
    except (binascii.Error, ValueError, OverflowError, OSError) as error:
        raise InvalidRequestError("cursor: is not one that this server gave.") from error
    if not is_item(item_id):
        raise InvalidRequestError("cursor: is not one that this server gave.")
    return time, item_id
