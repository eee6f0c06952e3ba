"""What happens, for those who want to know: a bus inside the server.

Names are those of the contract: `capsule.created`, `capsule.running` (after a resume),
`capsule.paused`, `capsule.destroyed`, `template.snapshot.created`, `template.snapshot.deleted`,
`host.up`, `host.down`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .principals import Actor, current_actor

__all__ = ["Event", "Events", "Resource", "Subscriber"]

_log = logging.getLogger("sandlot.server")


@dataclass(frozen=True, slots=True)
class Resource:
    """What something happened to.

    Attributes:
        type: `sandbox`, `snapshot` or `host`.
        id: Its id; of snapshots, the name.
    """

    type: str
    id: str


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        team_id: Whose it is.
        actor: Who did it: whoever the code that made this event acts for, unless said otherwise.
    """

    name: str
    team_id: str
    resource: Resource
    actor: Actor = field(default_factory=current_actor)
    time: datetime = field(default_factory=_now)


Subscriber = Callable[[Event], None]


class Events:
    """Passes events on, in order, to all who subscribed.

    Subscribers are called at once and must not block: those with more to do start a task. One that
    fails is logged, and keeps nobody else from hearing.
    """

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Have a function called with each event from now on; return what ends that."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def publish(self, event: Event) -> None:
        """Tell all subscribers."""
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(event)
            except Exception:
                _log.exception("a subscriber failed", extra={"event_name": event.name})
