"""The control groups of one sandbox: its limits, its freezer and its meter."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandlot.server.engine.base import EngineError
from sandlot.server.guest import removal

__all__ = ["FREEZE", "Group", "GroupPart"]

FREEZE = "freeze"
"""The ability to freeze: a controller of version 1, and always there in version 2."""

_MIB = 1024 * 1024
_PERIOD = 100_000  # microseconds; the kernel's default
_PATIENCE = 10.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class GroupPart:
    """A group in one hierarchy."""

    path: Path
    version: int
    controllers: frozenset[str]

    def below(self, name: str) -> GroupPart:
        """Return the group of this name in it."""
        return GroupPart(self.path / name, self.version, self.controllers)


class Group:
    """The groups of a sandbox, one in each hierarchy."""

    def __init__(self, parts: Sequence[GroupPart]) -> None:
        self._parts = parts
        self._by_controller: Mapping[str, GroupPart] = {
            name: part for part in parts for name in part.controllers
        }

    @property
    def directories(self) -> list[str]:
        """Where a process has to be entered."""
        return [str(part.path) for part in self._parts]

    @property
    def can_freeze(self) -> bool:
        """Whether `freeze` and `thaw` work."""
        return FREEZE in self._by_controller

    @property
    def is_frozen(self) -> bool:
        """Whether it is frozen, or about to be.

        Raises:
            OSError: The group is not there.
        """
        part = self._by_controller.get(FREEZE)
        if part is None:
            return False
        if part.version == 1:
            return _read(part, "freezer.state").strip() != "THAWED"
        return _read(part, "cgroup.freeze").strip() == "1"

    def make(self) -> None:
        """Make the groups.

        Raises:
            OSError: They cannot be made.
        """
        try:
            for part in self._parts:
                part.path.mkdir()
        except OSError:
            self.remove()
            raise

    def limit(self, *, memory_mb: int, processes: int, vcpus: int) -> None:
        """Set the limits for which there is a controller.

        Raises:
            OSError: The kernel does not accept them.
        """
        memory, quota = memory_mb * _MIB, vcpus * _PERIOD
        part = self._by_controller.get("memory")
        if part is not None and part.version == 1:
            _write(part, "memory.limit_in_bytes", memory)
            _write_if_there(part, "memory.memsw.limit_in_bytes", memory)
            # Version 1 counts the buffers of TCP sockets apart; version 2 with all the rest.
            _write_if_there(part, "memory.kmem.tcp.limit_in_bytes", memory // 4)
        elif part is not None:
            _write(part, "memory.max", memory)
            _write_if_there(part, "memory.swap.max", 0)
        part = self._by_controller.get("pids")
        if part is not None:
            _write(part, "pids.max", processes)
        part = self._by_controller.get("cpu")
        if part is not None and part.version == 1:
            _write(part, "cpu.cfs_quota_us", quota)
        elif part is not None:
            _write(part, "cpu.max", f"{quota} {_PERIOD}")

    async def freeze(self) -> None:
        """Return when no process runs any more.

        Raises:
            EngineError: Some do not stop.
        """
        part = self._by_controller[FREEZE]
        deadline = time.monotonic() + _PATIENCE
        delay = 0.0002
        _write(part, *_FREEZE[part.version])
        while not _is_frozen(part):
            if time.monotonic() > deadline:
                await self.thaw()
                raise EngineError("the sandbox could not be paused: some processes do not stop")
            await asyncio.sleep(delay)
            delay = min(delay * 2, 0.02)
            _write(part, *_FREEZE[part.version])  # version 1 gives up where a process is in the way

    async def thaw(self) -> None:
        """Let all processes run on."""
        self.release()

    def release(self) -> None:
        """Let all processes run on, so that they can die."""
        part = self._by_controller.get(FREEZE)
        if part is not None:
            with contextlib.suppress(FileNotFoundError):
                _write(part, *_THAW[part.version])

    def count_ooms(self) -> int:
        """Return how many processes were killed for want of memory so far."""
        part = self._by_controller.get("memory")
        if part is None:
            return 0
        name = "memory.oom_control" if part.version == 1 else "memory.events"
        try:
            return _statistics(part, name).get("oom_kill", 0)
        except OSError:
            return 0  # the group is being removed

    @property
    def can_end(self) -> bool:
        """Whether `end` works."""
        return "pids" in self._by_controller

    def end(self) -> None:
        """Kill everything but process 1, from outside: it may be too busy to do so itself.

        Raises:
            OSError: That is not possible.
        """
        part = self._by_controller["pids"]
        most = _read(part, "pids.max")
        _write(part, "pids.max", 0)  # nothing forks any more, so that one look is enough
        try:
            for pid in _read(part, "cgroup.procs").split():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    if not _is_first(int(pid)):
                        os.kill(int(pid), signal.SIGKILL)
        finally:
            _write(part, "pids.max", most)

    def remove(self) -> None:
        """Kill what is left in the groups and remove them.

        Raises:
            OSError: They stay in use.
        """
        for part in self._parts:
            removal.remove_cgroup(str(part.path))

    def measure_cpu(self) -> float:
        """Return the seconds of CPU time used."""
        part = self._by_controller.get("cpuacct")
        if part is not None:
            return int(_read(part, "cpuacct.usage")) / 1e9
        for part in self._parts:
            if part.version == 2:  # there is a cpu.stat even without the controller
                return _statistics(part, "cpu.stat").get("usage_usec", 0) / 1e6
        return sum(sum(map(int, fields[11:15])) for fields in self._process_table()) / _TICKS

    def measure_memory(self) -> int:
        """Return the bytes of memory in use."""
        part = self._by_controller.get("memory")
        if part is None:
            return sum(int(fields[21]) for fields in self._process_table()) * _PAGE
        # What the kernel would drop before anything else is not counted as in use.
        if part.version == 1:
            used = int(_read(part, "memory.usage_in_bytes"))
            idle = _statistics(part, "memory.stat").get("total_inactive_file", 0)
        else:
            used = int(_read(part, "memory.current"))
            idle = _statistics(part, "memory.stat").get("inactive_file", 0)
        return max(used - idle, 0)

    def _process_table(self) -> list[list[bytes]]:
        """Return the third and later fields of `/proc/PID/stat` of all processes in the groups."""
        table: list[list[bytes]] = []
        for pid in _read(self._parts[0], "cgroup.procs").split():
            with contextlib.suppress(OSError):
                data = Path(f"/proc/{pid}/stat").read_bytes()
                table.append(data[data.rindex(b")") + 2 :].split())
        return table


_FREEZE = {1: ("freezer.state", "FROZEN"), 2: ("cgroup.freeze", "1")}
_THAW = {1: ("freezer.state", "THAWED"), 2: ("cgroup.freeze", "0")}


def _is_first(pid: int) -> bool:
    """Tell whether a process is process 1 of a namespace; see proc_pid_status(5)."""
    for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
        if line.startswith(b"NSpid:"):
            return line.split()[-1] == b"1"
    return False


def _is_frozen(part: GroupPart) -> bool:
    if part.version == 1:
        return _read(part, "freezer.state").strip() == "FROZEN"
    return _statistics(part, "cgroup.events").get("frozen") == 1


def _read(part: GroupPart, name: str) -> str:
    return (part.path / name).read_text()


def _statistics(part: GroupPart, name: str) -> dict[str, int]:
    """Return a file of lines with a name and a number."""
    lines = (line.split() for line in _read(part, name).splitlines())
    return {key: int(value) for key, value in lines}


def _write(part: GroupPart, name: str, value: str | int) -> None:
    _ = (part.path / name).write_text(str(value))


def _write_if_there(part: GroupPart, name: str, value: int) -> None:
    """Set a limit that not every kernel has; there is nothing to limit then."""
    with contextlib.suppress(FileNotFoundError):
        _write(part, name, value)
