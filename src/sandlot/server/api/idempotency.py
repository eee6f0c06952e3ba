"""Keys that name requests."""

from __future__ import annotations

import hashlib
import json
import re

from starlette.requests import Request

from sandlot.models import Model
from sandlot.server.services.errors import InvalidRequestError

__all__ = ["fingerprint", "idempotency_key"]

_KEY = re.compile(r"[A-Za-z0-9_:.-]{1,255}")


def idempotency_key(request: Request) -> str | None:
    """Return the key of a request, if it has one."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequestError(
            "Idempotency-Key: must be 1-255 characters of A-Z a-z 0-9 _ : . -"
        )
    return key


def fingerprint(body: Model, *about: str) -> str:
    """Return what only requests have in common that ask for the same.

    Args:
        body: What is asked for.
        about: What else makes a difference.
    """
    text = json.dumps([body.to_dict(), *about] if about else body.to_dict(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
