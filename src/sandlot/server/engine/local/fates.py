"""What befell the programs of a sandbox beyond their exit status: limits that ended something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["Fate", "Fates"]


class Fate:
    """What befell one program.

    Args:
        count_ooms: Returns how many processes of the sandbox the kernel has killed for want of
            memory so far; none are seen if None.

    Attributes:
        oom: Something of it, or of what runs beside it, was killed for want of memory.
        no_space: It was killed since the sandbox stored more than it may.
    """

    __slots__ = ("_before", "_count_ooms", "no_space", "oom")

    def __init__(self, count_ooms: Callable[[], int] | None = None) -> None:
        self.oom = False
        self.no_space = False
        self._count_ooms = count_ooms
        self._before = 0 if count_ooms is None else count_ooms()

    def seal(self) -> None:
        """Take note that the program has ended; may be repeated."""
        count, self._count_ooms = self._count_ooms, None
        # The kernel counts before it kills: __oom_kill_process() of mm/oom_kill.c
        if count is not None and count() > self._before:
            self.oom = True


class Fates:
    """Those of all programs that run in a sandbox.

    Args:
        count_ooms: As for each of them.
    """

    def __init__(self, count_ooms: Callable[[], int] | None = None) -> None:
        self._count_ooms = count_ooms
        self._running: dict[int, Fate] = {}

    def follow(self, key: int, exit_status: asyncio.Future[int]) -> Fate:
        """Return the fate of a program that was just started."""
        fate = self._running[key] = Fate(self._count_ooms)
        exit_status.add_done_callback(lambda _: self._end(key))
        return fate

    def forget(self, key: int) -> None:
        """Follow a program no more, as it was not started after all."""
        _ = self._running.pop(key, None)

    def decide(self, key: int | None = None, *, oom: bool = False, no_space: bool = False) -> None:
        """Note why a program is about to be killed, or all are."""
        for name, fate in self._running.items():
            if key in (None, name):
                fate.oom |= oom
                fate.no_space |= no_space

    def _end(self, key: int) -> None:
        fate = self._running.pop(key, None)
        if fate is not None:
            fate.seal()
