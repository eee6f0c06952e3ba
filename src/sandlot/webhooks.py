"""For those who receive webhooks: is this from the server that knows the secret, and is it new?

    event = sandlot.webhooks.verify(body, headers, secret)

It needs the body byte for byte as it came, before any framework has read it as JSON. Deliveries
may come twice: whoever minds remembers `event.delivery_id` for as long as they are tried, which is
half an hour unless the server is told otherwise. The standard library is all that this needs.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeGuard

from .errors import InvalidArgumentError, SandlotError

__all__ = ["Event", "EventActor", "EventResource", "WebhookError", "verify"]

_SIGNATURE = "x-wrenn-signature"
_DELIVERY = "x-wrenn-delivery"
_TIMESTAMP = "x-wrenn-timestamp"


class WebhookError(SandlotError, ValueError):
    """A request is not to be believed: answer it with 400, and do nothing else."""


@dataclass(frozen=True, slots=True)
class EventActor:
    """Who did it.

    Attributes:
        type: `user`, `api_key`, `host`, or `system` for what nobody asked for.
        name: What people call them.
    """

    type: str
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class EventResource:
    """What it happened to.

    Attributes:
        type: `sandbox`, `snapshot` or `host`.
        id: Its id; of snapshots, the name.
    """

    type: str
    id: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        name: What, such as `capsule.created`.
        time: When it happened; a delivery may come much later.
        delivery_id: The same however often the server has to try; empty if it did not say.
        data: All that came, with what this version does not know.
    """

    name: str
    time: datetime
    team_id: str
    actor: EventActor
    resource: EventResource
    delivery_id: str
    data: Mapping[str, Any]


def verify(body: bytes, headers: Mapping[str, str], secret: str, tolerance: float = 300) -> Event:
    """Check the signature and the age of a webhook request, and read it.

    Args:
        body: The body as it came.
        headers: The headers; how their names are spelled does not matter.
        secret: What `channels.create` gave.
        tolerance: Seconds that may lie between when it was sent and now, either way. What somebody
            recorded is worthless to them afterwards.

    Raises:
        WebhookError: It is forged, damaged or old, or is no event.
    """
    content = _content(body)
    if not secret:
        raise InvalidArgumentError("secret is empty: anybody could sign with it")
    found = {name.lower(): value for name, value in headers.items()}
    timestamp, signature = found.get(_TIMESTAMP, ""), found.get(_SIGNATURE, "")
    signed = timestamp.encode("utf-8", "replace") + b"." + content
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    # As bytes, because texts that are not ASCII cannot be compared in constant time.
    given = signature.encode("utf-8", "replace")
    if not hmac.compare_digest(f"sha256={digest}".encode(), given):
        raise WebhookError("the signature is missing, or was not made with this secret")
    sent = _time(timestamp)
    if sent is None or abs(time.time() - sent.timestamp()) > tolerance:
        raise WebhookError(f"it was not sent within {tolerance:g} seconds of now")
    return _event(content, found.get(_DELIVERY, ""))


def _content(value: Any) -> bytes:
    if not isinstance(value, bytes | bytearray):
        raise InvalidArgumentError("body must be the bytes that came, not what was read from them")
    return bytes(value)


def _event(body: bytes, delivery_id: str) -> Event:
    try:
        data = json.loads(body)
    except ValueError as error:
        raise WebhookError("the body is not JSON") from error
    if not _is_object(data):
        raise WebhookError("the body is not an event")
    actor, resource = data.get("actor"), data.get("resource")
    when = _time(data.get("timestamp"))
    name, team_id = data.get("event"), data.get("team_id")
    if (
        when is None
        or not isinstance(name, str)
        or not isinstance(team_id, str)
        or not _is_object(actor)
        or not _is_object(resource)
    ):
        raise WebhookError("the body is not an event")
    return Event(
        name=name,
        time=when,
        team_id=team_id,
        actor=EventActor(_text(actor, "type") or "", _text(actor, "id"), _text(actor, "name")),
        resource=EventResource(_text(resource, "type") or "", _text(resource, "id") or ""),
        delivery_id=delivery_id,
        data=data,
    )


def _time(text: object) -> datetime | None:
    """Read a time; whole seconds since 1970 are understood, too."""
    if not isinstance(text, str):
        return None
    try:
        if text.isdecimal():
            return datetime.fromtimestamp(int(text), UTC)
        when = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return None if when.tzinfo is None else when


def _text(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    return value if isinstance(value, str) else None


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
