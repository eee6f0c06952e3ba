"""Ids of the original server."""

from __future__ import annotations

import re
import uuid

from tests.compat.double.answers import PanicError, invalid

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
NOBODY = "0" * 25
"""The platform's team, and the template `minimal`."""
_BODY = re.compile(r"[0-9a-z]{25}")
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}")


def new(prefix: str) -> str:
    number, body = uuid.uuid4().int, ""
    while number:
        number, digit = divmod(number, 36)
        body = ALPHABET[digit] + body
    return f"{prefix}-{body:0>25}"


def parse(value: str, prefix: str) -> str:
    """Check an id in a path or a body."""
    body = value.removeprefix(f"{prefix}-")
    if body == value or not _BODY.fullmatch(body):
        raise invalid(f"invalid {prefix} id")  # original server: 1.4, and not a 404
    if int(body, 36) >= 2**128:
        raise PanicError  # original server: 1.4, the handler overruns its buffer
    return value


def template_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise invalid("invalid template name")
    return value
