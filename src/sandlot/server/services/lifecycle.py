"""The states of a sandbox, and all the ways from one to another.

    (new) ──begin──▶ pending ──start──▶ running ◀──resume── paused
                        │                  │  └───pause──────▲│
                        fail               └──end──┬──────end─┘
                        ▼                          ▼
                      error                     stopped

`TRANSITIONS` is the only list of them, and `move` the only thing that gives a record another
status: what is not in the table cannot happen. Each transition is made in one place, whose task is
finished even if whoever asked for it gives up, and which holds the lock of its sandbox:

=========  ==========================  =============================================================
begin      `Sandboxes.create`          The row is written before the engine begins.
start      `Lives.enter`               A requester that gave up meanwhile has it ended at once.
fail       `Sandboxes.create`          The engine has left nothing behind.
pause      `Lives.pause`               If the engine fails, everything runs on.
resume     `Lives.resume`              If the engine fails, it stays paused.
restart    `Lives.restart`             Running again, with other files; from paused too.
end        `Lives.end`                 Refuses all others from the moment it is asked for. If the
                                       engine fails, the state is what it was; one that ends by
                                       itself (death, time, lease) is tried again until it is done.
lose       `Sandboxes.recover`         What did not survive the server.
=========  ==========================  =============================================================

A row that cannot be written does not undo what has happened: it is written later.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from sandlot.server.store.records import SandboxRecord

from .errors import InvalidStateError

__all__ = ["FIRST_STATUS", "TRANSITIONS", "Way", "expires_at", "move", "wrong_state"]

Way = Literal["start", "fail", "pause", "resume", "restart", "end", "lose"]

FIRST_STATUS: Final = "pending"
"""Status of a record when it begins."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A way from some states to another."""

    sources: frozenset[str]
    target: str


def _way(*sources: str, to: str) -> Transition:
    return Transition(frozenset(sources), to)


TRANSITIONS: Final[Mapping[Way, Transition]] = {
    "start": _way("pending", to="running"),
    "fail": _way("pending", to="error"),
    "pause": _way("running", to="paused"),
    "resume": _way("paused", to="running"),
    "restart": _way("running", "paused", to="running"),
    "end": _way("running", "paused", to="stopped"),
    "lose": _way("pending", "running", "paused", to="stopped"),
}

_ADVICE = {
    "paused": "resume it first",
    "pending": "wait until it runs",
    "running": "pause it first",
    "stopped": "create a new one",
    "error": "create a new one",
}


def move(record: SandboxRecord, way: Way, reason: str | None = None) -> SandboxRecord:
    """Return the record after a transition.

    Args:
        record: What is known of the sandbox.
        way: Which transition.
        reason: Why, where nobody asked for it.

    Raises:
        InvalidStateError: There is no such way from where the sandbox is.
    """
    transition = TRANSITIONS[way]
    if record.status not in transition.sources:
        raise InvalidStateError(
            wrong_state(record.status, " or ".join(sorted(transition.sources, reverse=True)))
        )
    now = datetime.now(UTC)
    begins = transition.target == "running"
    return replace(
        record,
        status=transition.target,
        status_reason=reason,
        started_at=now if begins else record.started_at,
        last_updated=now,
    )


def expires_at(record: SandboxRecord) -> datetime | None:
    """Return when a sandbox will end by its lifetime or its lease, as far as that is known.

    Its idle time is left out: that moves with everything that happens.
    """
    if record.status in ("stopped", "error"):
        return None
    ends = list[datetime]()
    if record.max_lifetime_sec:
        ends.append(record.created_at + timedelta(seconds=record.max_lifetime_sec))
    if record.lease_expires_at is not None:
        ends.append(record.lease_expires_at)
    return min(ends, default=None)


def wrong_state(found: str, wanted: str) -> str:
    """Say that a sandbox is in the wrong state and what to do about it."""
    advice = _ADVICE.get(found, "look at its status")
    return f"The sandbox is {found}, not {wanted}: {advice}."
