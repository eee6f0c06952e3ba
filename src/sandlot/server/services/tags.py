"""Names of processes."""

from __future__ import annotations

import re
import secrets
from collections.abc import Container, Mapping
from typing import Final, Literal

from .errors import ConflictError, InvalidRequestError

__all__ = ["Kind", "check", "new"]

Kind = Literal["background", "terminal", "command"]

_TAG = re.compile(r"(?![0-9]+\Z)[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PREFIXES: Final[Mapping[Kind, str]] = {
    "background": "proc",
    "terminal": "pty",
    "command": "exec",
}


def check(taken: Container[str], tag: str) -> str:
    """Return a tag that somebody wants for a process.

    Raises:
        InvalidRequestError: It is none.
        ConflictError: It is taken.
    """
    if not _TAG.fullmatch(tag):
        raise InvalidRequestError(
            "tag: must be 1 to 64 of A-Za-z0-9._-, begin with a letter or digit, and not"
            " consist of digits alone."
        )
    if tag in taken:
        raise ConflictError(f"A process with the tag {tag!r} runs in this sandbox.")
    return tag


def new(kind: Kind) -> str:
    """Make a tag."""
    digits = 16 if kind == "command" else 4  # the tag of a command is for its client only
    return f"{_PREFIXES[kind]}-{secrets.token_hex(digits)}"
