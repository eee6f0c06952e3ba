"""A sandbox that is there, as opposed to its row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from sandlot.server.engine.base import SandboxHandle
from sandlot.server.store.records import SandboxRecord

from .clock import RunClock
from .deadlines import Deadlines
from .errors import InvalidStateError
from .lifecycle import wrong_state

__all__ = ["LiveSandbox"]


class LiveSandbox:
    """A running or paused sandbox.

    Whoever changes its state holds `lock`. Whoever uses it does so inside of `active`, which holds
    the idle timer still; the timer calls `on_idle` once nothing has happened for `timeout_sec`.

    Args:
        record: Its row; `running` or `paused`.
        handle: What the engine has of it.
        on_idle: Called when it is idle.
        on_due: Called with the reason when its lifetime or its lease is over.

    Attributes:
        record: Its row as it is, or is about to be, in the store; `current` is more exact.
        clock: Its time.
        ending: Why it is being destroyed, once it is.
    """

    def __init__(
        self,
        record: SandboxRecord,
        handle: SandboxHandle,
        on_idle: Callable[[LiveSandbox], None],
        on_due: Callable[[LiveSandbox, str], None],
    ) -> None:
        self.record = record
        self.handle = handle
        self.lock = asyncio.Lock()
        self.clock = RunClock()
        self.ending: str | None = None
        self.last_active = record.last_active_at or datetime.now(UTC)
        self.deadlines = Deadlines(record, lambda reason: on_due(self, reason))
        self._loop = asyncio.get_running_loop()
        self._touched = self._loop.time()
        self._on_idle = on_idle
        self._users = 0
        self._timer: asyncio.TimerHandle | None = None
        if record.status == "paused":
            self.clock.pause()
        else:
            self.watch_idleness()

    @property
    def current(self) -> SandboxRecord:
        """Its row with the times as they are now."""
        return replace(
            self.record,
            last_active_at=self.last_active,
            lease_expires_at=self.deadlines.lease_expires_at,
        )

    @property
    def busy(self) -> bool:
        """Whether something is happening in it."""
        return self._users > 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing has happened for `timeout_sec`."""
        return not self.busy and self._left() <= 0

    def require(self, *statuses: str) -> None:
        """Check that it is in one of these statuses.

        Raises:
            InvalidStateError: It is in another one.
        """
        if self.record.status not in statuses or self.ending is not None:
            found = self.record.status if self.ending is None else "stopped"
            raise InvalidStateError(wrong_state(found, " or ".join(statuses)))

    @contextmanager
    def active(self) -> Generator[None]:
        """Count as activity for as long as the block lasts."""
        self._users += 1
        self.touch()
        try:
            yield
        finally:
            self._users -= 1
            self.touch()

    def touch(self) -> None:
        """Start the idle timer anew."""
        self.last_active = datetime.now(UTC)
        self._touched = self._loop.time()
        self.watch_idleness()

    def watch_idleness(self) -> None:
        """Have the idle timer run, unless it does."""
        if self.record.timeout_sec and self._timer is None and self.record.status == "running":
            self._arm(self.record.timeout_sec)

    def forget_idleness(self) -> None:
        """Stop the idle timer; `touch` starts it again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._check)

    def _check(self) -> None:
        # Moving a timer at every command would cost more than looking again when it fires.
        self._timer = None
        if self.busy:
            self._arm(self.record.timeout_sec)
        elif self._left() > 0:
            self._arm(self._left())
        else:
            self._on_idle(self)

    def _left(self) -> float:
        return self.record.timeout_sec - (self._loop.time() - self._touched)
