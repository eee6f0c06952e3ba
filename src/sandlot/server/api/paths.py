"""Paths of files, whose names may be any bytes, in JSON, which has only Unicode.

Inside of the server such bytes are surrogates (PEP 383), which JSON cannot carry either: beside the
text, which then has U+FFFD in their place, goes the whole path in base64.
"""

from __future__ import annotations

import base64

from sandlot.server.services.errors import InvalidRequestError
from sandlot.server.texts import is_base64

__all__ = ["exact", "readable", "wanted_path"]


def wanted_path(field: str, text: str | None, encoded: str | None) -> str:
    """Return the path of a request, given as text or in base64.

    Raises:
        InvalidRequestError: It is given in both ways or in neither.
    """
    if text and encoded:
        raise InvalidRequestError(f"{field}: is given twice, as text and in base64.")
    if encoded:
        if not is_base64(encoded):
            raise InvalidRequestError(f"{field}_base64: is not base64.")
        return base64.b64decode(encoded).decode(errors="surrogateescape")
    if not text:
        raise InvalidRequestError(f"{field}: must not be empty.")
    return text


def readable(path: str) -> str:
    """Return a path for people and JSON."""
    return path.encode(errors="surrogateescape").decode(errors="replace")


def exact(path: str) -> str | None:
    """Return a path in base64 if its text alone does not say it."""
    if readable(path) == path:
        return None
    return base64.b64encode(path.encode(errors="surrogateescape")).decode()
