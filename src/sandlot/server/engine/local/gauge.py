"""What a sandbox uses, looked up no more often than it can have changed.

Sandboxes are measured every second, and most of them do nothing. Whatever a program does takes CPU
time: where that stands still, so does the rest, but for what the kernel does in its own time.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

from sandlot.server.engine.base import Usage

from .disk import DiskMeter

__all__ = ["Gauge", "Meter"]

_SETTLED: Final = 10.0
"""Seconds without CPU time after which nothing is left to be noticed: disk lags behind by 5."""
_LONGEST: Final = 60.0
"""Seconds after which everything is looked up again."""


class Meter(Protocol):
    """Measures a sandbox from outside."""

    def measure_cpu(self) -> float:
        """Return the seconds of CPU time used."""
        ...

    def measure_memory(self) -> int:
        """Return the bytes of memory in use."""
        ...


class Gauge:
    """Measures one sandbox.

    Args:
        meter: Where its CPU time and its memory are found.
        disk: Where its disk is found.
    """

    def __init__(self, meter: Meter, disk: DiskMeter) -> None:
        self._meter = meter
        self._disk = disk
        self._last: Usage | None = None
        self._idle_since = 0.0
        self._looked_at = 0.0

    async def measure(self) -> Usage:
        """Return what it uses."""
        cpu, now = self._meter.measure_cpu(), time.monotonic()
        last = self._last
        if last is None or cpu != last.cpu_seconds:
            self._idle_since = now
        elif now - self._idle_since > _SETTLED and now - self._looked_at < _LONGEST:
            return last
        self._looked_at = now
        self._last = Usage(cpu, self._meter.measure_memory(), await self._disk.measure())
        return self._last
