"""Query parameters."""

from __future__ import annotations

from starlette.datastructures import QueryParams

from sandlot.server.services.errors import InvalidRequestError

__all__ = ["flag"]

_FLAGS = {"true": True, "1": True, "false": False, "0": False}


def flag(query: QueryParams, name: str, *, default: bool) -> bool:
    """Return a parameter that is true or false."""
    text = query.get(name)
    if text is None:
        return default
    if text.lower() not in _FLAGS:
        raise InvalidRequestError(f"{name}: must be true or false.")
    return _FLAGS[text.lower()]
