"""How events are told to others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final
from uuid import uuid4

from sandlot.server.outgoing.senders import Message

from .events import Event

__all__ = ["EVENT_NAMES", "message_of", "payload_of"]

EVENT_NAMES: Final = (
    "capsule.created",
    "capsule.running",
    "capsule.paused",
    "capsule.destroyed",
    "template.snapshot.created",
    "template.snapshot.deleted",
    "host.up",
    "host.down",
)
"""What channels can be told of."""

_DONE: Final[Mapping[str, str]] = {
    "capsule.created": "was created",
    "capsule.running": "is running again",
    "capsule.paused": "was paused",
    "capsule.destroyed": "was destroyed",
    "template.snapshot.created": "was made",
    "template.snapshot.deleted": "was deleted",
    "host.up": "is up",
    "host.down": "is down",
}
_ACTORS: Final[Mapping[str, str]] = {"api_key": "API key", "user": "user", "host": "host"}


def payload_of(event: Event) -> str:
    """Return the body that webhooks get; it is ASCII, so that no one can misread it."""
    actor, resource = event.actor, event.resource
    who = {"type": actor.type, "id": actor.id, "name": actor.name}
    return json.dumps(
        {
            "event": event.name,
            "timestamp": event.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "team_id": event.team_id,
            "actor": {key: value for key, value in who.items() if value is not None},
            "resource": {"id": resource.id, "type": resource.type},
        },
        separators=(",", ":"),
    )


def message_of(payload: str, delivery_id: str | None = None) -> Message:
    """Return what is sent of an event: for machines its payload, for people a sentence."""
    event: dict[str, Any] = json.loads(payload)
    name, actor, resource = event["event"], event["actor"], event["resource"]
    done = _DONE.get(name, "says that this channel works")
    who = ""
    if actor["type"] != "system":
        who = f" by {_ACTORS.get(actor['type'], 'somebody')}"
        who += f" {actor.get('name') or actor.get('id') or ''}".rstrip()
    text = f"{resource['type'].capitalize()} {resource['id']} {done}{who}, {event['timestamp']}"
    return Message(delivery_id or str(uuid4()), payload, name, text)
