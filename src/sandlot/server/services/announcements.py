"""Which events come of what happens to sandboxes and hosts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from sandlot.server.store.hosts import HostRecord
from sandlot.server.store.records import SandboxRecord

from .events import Event, Events, Resource
from .lifecycle import Way
from .lives import Lives
from .principals import DEFAULT_TEAM, SYSTEM, current_actor

__all__ = ["announce_host", "announce_sandboxes"]

_NAMES: Final[Mapping[Way, str]] = {
    "start": "capsule.created",
    "pause": "capsule.paused",
    "resume": "capsule.running",
    "restart": "capsule.running",
    "end": "capsule.destroyed",
    "lose": "capsule.destroyed",
}


def announce_sandboxes(lives: Lives, events: Events) -> None:
    """Publish each transition from now on."""

    def tell(way: Way, record: SandboxRecord) -> None:
        if way in _NAMES:
            # Only what nobody asked for has a reason.
            actor = current_actor() if record.status_reason is None else SYSTEM
            resource = Resource("sandbox", record.id)
            events.publish(Event(_NAMES[way], record.team_id, resource, actor))

    lives.when_moved(tell)


def announce_host(events: Events, name: Literal["host.up", "host.down"], host: HostRecord) -> None:
    """Publish that a host was lost, or found again; regular ones are the default team's matter."""
    team_id = host.team_id or DEFAULT_TEAM
    events.publish(Event(name, team_id, Resource("host", host.id), SYSTEM))
