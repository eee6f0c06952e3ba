"""Query parameters; one that is empty is as good as none."""

from __future__ import annotations

import re
from datetime import date

from starlette.datastructures import QueryParams

from sandlot.server.services.errors import InvalidRequestError

__all__ = ["day", "flag"]

_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def flag(query: QueryParams, name: str, *, default: bool) -> bool:
    """Return a parameter that is true or false."""
    text = query.get(name)
    if not text:
        return default
    if text.lower() not in _FLAGS:
        raise InvalidRequestError(f"{name}: must be true or false.")
    return _FLAGS[text.lower()]


def day(query: QueryParams, name: str) -> date | None:
    """Return a parameter that is a day, YYYY-MM-DD; None if it was not said."""
    text = query.get(name)
    if not text:
        return None
    try:
        if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass  # the 30th of February
    raise InvalidRequestError(f"{name}: must be a day such as 2026-11-01.")
