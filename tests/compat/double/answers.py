"""How the original server writes what it answers, and reads what it is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

_HERE = timezone(timedelta(hours=6))
_INT32 = range(-(2**31), 2**31)


class ProblemError(Exception):
    """What is answered with an error."""

    def __init__(self, status: int, code: str, message: str = "no", **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.detail = {"code": code, "message": message, **more}


class PanicError(Exception):
    """What ends the connection without an answer."""


def invalid(message: str) -> ProblemError:
    return ProblemError(400, "invalid_request", message)


def missing(what: str) -> ProblemError:
    return ProblemError(404, "not_found", f"{what} not found")


def reply(value: Any, status: int = 200) -> Response:
    """Answer with JSON."""
    # original server: 1.1 and 1.3, a line end behind it, and `<`, `>`, `&` escaped.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Response(text + "\n", status, media_type="application/json")


def nothing() -> Response:
    return Response(status_code=204)


def problem(failure: ProblemError) -> Response:
    """Answer with an error."""
    # original server: 1.8, no request id.
    return reply({"error": failure.detail}, failure.status)


def present(**fields: Any) -> dict[str, Any]:
    """Leave out what is absent."""
    # original server: 1.3, optional fields are omitted, not null.
    return {name: value for name, value in fields.items() if value is not None}


def local_time(moment: datetime) -> str:
    # original server: 1.5, whole seconds in the time zone of the server.
    return moment.astimezone(_HERE).isoformat(timespec="seconds")


def utc_time(moment: datetime) -> str:
    # original server: 1.5, whole seconds, for the audit log, statistics and events.
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


class Fields:
    """The body of a request."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise invalid("invalid JSON body")
        # original server: 1.2, names match in any case, null is absent, unknown ones are ignored.
        self._fields = {k.lower(): v for k, v in value.items() if v is not None}

    def text(self, name: str, default: str = "") -> str:
        value = self._fields.get(name, default)
        if not isinstance(value, str):
            raise invalid("invalid JSON body")
        return value

    def needed(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise invalid(f"{name} is required")
        return value

    def whole(self, name: str, default: int = 0) -> int:
        # original server: 1.2, other numbers than whole ones of 32 bits are refused.
        value = self._fields.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value not in _INT32:
            raise invalid("invalid JSON body")
        return value

    def flag(self, name: str) -> bool:
        value = self._fields.get(name, False)
        if not isinstance(value, bool):
            raise invalid("invalid JSON body")
        return value

    def texts(self, name: str) -> list[str]:
        value = self._fields.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise invalid("invalid JSON body")
        return list(value)

    def mapping(self, name: str) -> Mapping[str, str]:
        value = self._fields.get(name, {})
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            raise invalid("invalid JSON body")
        return dict(value)


async def fields(request: Request) -> Fields:
    """Read a JSON body, whatever its type is said to be."""
    body = (await request.body()).decode(errors="replace").lstrip()
    try:
        # original server: 1.2, what follows the first value is ignored.
        value, _ = json.JSONDecoder().raw_decode(body)
    except ValueError:
        raise invalid("invalid JSON body") from None
    return Fields(value)
