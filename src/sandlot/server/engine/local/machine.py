"""This machine: what of it sandboxes can use.

Control groups that the server is in count: what a container may not use is not there.
"""

from __future__ import annotations

import math
import os
import platform
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sandlot.server.engine.figures import Node

__all__ = ["THIS_MACHINE", "describe_machine", "find_limits"]

THIS_MACHINE: Final = "local"
"""Name of the only node that engines of one machine have. It is no host name: those change."""

_LIMITING = frozenset({"cpu", "memory"})
_MIB = 1 << 20
_GIB = 1 << 30


def describe_machine(directory: Path, process: Path = Path("/proc/self")) -> Node:
    """Return what sandboxes in a directory can use of this machine."""
    cores, memory = find_limits(process)
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(_processors())
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Node(
        name=THIS_MACHINE,
        arch=platform.machine() or None,
        cpu_cores=min(len(affinity), math.ceil(cores)) if cores else len(affinity),
        memory_mb=min(physical, memory or physical) // _MIB,
        disk_gb=shutil.disk_usage(directory).total // _GIB,
        address=socket.gethostname() or None,
    )


def find_limits(process: Path) -> tuple[float | None, int | None]:
    """Return how many processors and bytes of memory the control groups of a process leave it.

    Args:
        process: Its directory in `/proc`.
    """
    cores: list[float] = []
    memory: list[int] = []
    for group in _groups(process):
        # Version 2: "max" or a number, and "max" or a quota before the period (cgroup-v2.rst).
        memory += _numbers(group / "memory.max")
        quota = _numbers(group / "cpu.max")
        # Version 1: -1, or a number near 2**63, where there is none.
        memory += _numbers(group / "memory.limit_in_bytes")
        quota += _numbers(group / "cpu.cfs_quota_us") + _numbers(group / "cpu.cfs_period_us")
        if len(quota) == 2 and min(quota) > 0:
            cores.append(quota[0] / quota[1])
    return min(cores, default=None), min(memory, default=None)


def _groups(process: Path) -> Iterator[Path]:
    """Yield the control groups of a process, and those around them as far as they can be seen."""
    try:
        memberships = (process / "cgroup").read_text().splitlines()
        mounts = (process / "mountinfo").read_text().splitlines()
    except OSError:
        return  # no Linux, or a kernel without them
    all_groups = (line.split(":", 2) for line in memberships)
    own = {
        names: path
        for _, names, path in all_groups
        if not names or _LIMITING & set(names.split(","))
    }
    for mount in mounts:
        before, _, after = mount.partition(" - ")
        fields, (kind, _, options) = before.split(" "), after.split(" ", 2)
        if kind not in ("cgroup", "cgroup2"):
            continue
        root, place = fields[3], Path(fields[4])
        for names, path in own.items():
            first = names.partition(",")[0]
            if (kind == "cgroup2") == (not names) and (not names or first in options.split(",")):
                below = Path(path).relative_to(root) if Path(path).is_relative_to(root) else Path()
                yield place / below
                yield from (place / parent for parent in below.parents)


def _numbers(file: Path) -> list[int]:
    try:
        words = file.read_text().split()
    except OSError:
        return []
    return [int(word) for word in words] if all(word.isdecimal() for word in words) else []


def _processors() -> int:
    return os.cpu_count() or 1
