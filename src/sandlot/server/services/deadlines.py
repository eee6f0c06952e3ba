"""Times at which a sandbox ends by itself: that of its longest life, and that of its lease.

Both run on while the sandbox is paused. A lease is counted on a clock that stands still while this
machine sleeps, as its client may sleep with it; a lifetime is counted on the wall clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sandlot.server.store.records import SandboxRecord

__all__ = ["Deadlines"]

_LONGEST_SLEEP = 3600.0
"""Seconds after which the wall clock is looked at again: it may have been set."""


class Deadlines:
    """The timers of one sandbox.

    Args:
        record: Whose; its lease begins anew, as it could not be renewed without this.
        on_due: Called once, with the reason, when the sandbox is to end.

    Attributes:
        lease_expires_at: When the lease ends; None without one.
    """

    def __init__(self, record: SandboxRecord, on_due: Callable[[str], None]) -> None:
        self.lease_expires_at: datetime | None = None
        self._lease_sec = record.lease_sec
        self._lifetime_sec = record.max_lifetime_sec
        self._created_at = record.created_at
        self._on_due = on_due
        self._loop = asyncio.get_running_loop()
        self._lease: asyncio.TimerHandle | None = None
        self._lifetime: asyncio.Handle | None = None
        if self._lifetime_sec:
            self._await_end()
        if self._lease_sec:
            self.renew()

    def renew(self) -> None:
        """Begin a new period of the lease; nothing without one, or once it is due."""
        if not self._lease_sec or (self._lease is None and self.lease_expires_at is not None):
            return
        if self._lease is not None:
            self._lease.cancel()
        self._lease = self._loop.call_later(self._lease_sec, self._run_out)
        self.lease_expires_at = datetime.now(UTC) + timedelta(seconds=self._lease_sec)

    def stop(self) -> None:
        """Let nothing happen any more."""
        timers: tuple[asyncio.Handle | None, ...] = (self._lease, self._lifetime)
        for timer in timers:
            if timer is not None:
                timer.cancel()
        self._lease = self._lifetime = None

    def _run_out(self) -> None:
        self.stop()
        self._on_due(f"Its lease was not renewed for {self._lease_sec} seconds.")

    def _await_end(self) -> None:
        age = (datetime.now(UTC) - self._created_at).total_seconds()
        left = self._lifetime_sec - age
        if left > 0:
            self._lifetime = self._loop.call_later(min(left, _LONGEST_SLEEP), self._await_end)
            return
        # Not at once: a sandbox that is being taken over has to be there first.
        self._lifetime = self._loop.call_soon(self._outlive)

    def _outlive(self) -> None:
        self.stop()
        self._on_due(f"It was to live for {self._lifetime_sec} seconds at most.")
