"""Ids: a prefix and a random 128-bit number in base 36."""

from __future__ import annotations

import hashlib
import uuid

__all__ = ["is_id", "new_id", "related_id"]

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_LENGTH = 25  # what 2**128 - 1 needs in base 36
_LIMIT = 1 << 128


def new_id(prefix: str) -> str:
    """Return a new id such as `cl-0d6mbv0qsirzq3cwfa3xcpzsm`."""
    return _written(prefix, uuid.uuid4().int)


def related_id(first: str, which: int | str) -> str:
    """Return the id of another thing that belongs to the first one."""
    digest = hashlib.sha256(f"{first}:{which}".encode()).digest()
    return _written(first.partition("-")[0], int.from_bytes(digest[:16], "big"))


def is_id(prefix: str, text: str) -> bool:
    """Tell whether `text` is an id with this prefix, whether or not something has it."""
    start, _, body = text.partition("-")
    if start != prefix or len(body) != _LENGTH or not set(body) <= set(_DIGITS):
        return False
    return int(body, 36) < _LIMIT


def _written(prefix: str, number: int) -> str:
    digits: list[str] = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, 36)
        digits.append(_DIGITS[digit])
    return f"{prefix}-{''.join(reversed(digits))}"
