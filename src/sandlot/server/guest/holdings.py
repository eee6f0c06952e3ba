"""What processes hold that no directory shows: memory, and files without a name.

What is asked is `/proc`. A process that made itself unreadable (PR_SET_DUMPABLE) tells only how
much memory it has; what else it holds stays unknown.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping

__all__ = ["Holdings", "choose", "find", "memory_files"]

_BLOCK = 512  # of st_blocks, whatever the file system's own (stat(3type))


class Holdings:
    """Files without a name that processes have open, in bytes.

    Attributes:
        disk: Those of one file system.
        memory: Those in memory, most of them made by memfd_create(2).
    """

    def __init__(self, disk: int, memory: int) -> None:
        self.disk = disk
        self.memory = memory


def find(pids: Iterable[int], device: int, memory_devices: frozenset[int]) -> Holdings:
    """Add up the files without a name that these processes have open.

    Args:
        pids: The processes.
        device: File system (`st_dev`) whose files are `disk`.
        memory_devices: Those whose files are neither: they have a size of their own.
    """
    found: dict[tuple[int, int], int] = {}
    for pid in pids:
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for name in names:
            try:
                status = os.stat(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if status.st_nlink == 0 and stat.S_ISREG(status.st_mode):
                found[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK
    disk = memory = 0
    for (owner, _), size in found.items():
        if owner == device:
            disk += size
        elif owner not in memory_devices:
            memory += size
    return Holdings(disk, memory)


def memory_files(directories: Iterable[str]) -> int:
    """Return the bytes in use on file systems in memory."""
    total = 0
    for directory in directories:
        status = os.statvfs(directory)
        total += (status.f_blocks - status.f_bfree) * status.f_frsize
    return total


def choose(resident: Mapping[int, int], files: int, limit: int) -> int | None:
    """Return the process that has most memory, if all together have more than they may.

    Args:
        resident: The processes, with the resident memory of each in bytes.
        files: Bytes of files in memory, which may be mapped by processes as well.
        limit: How much they may have.
    """
    # Looking into processes takes long for large ones, and is not needed as long as this upper
    # bound, which counts what they share several times, is low enough.
    if sum(resident.values()) + files <= limit:
        return None
    exact = _exact_memory(resident)
    own = sum(pair[0] for pair in exact.values())
    shared = sum(pair[1] for pair in exact.values())
    if own + max(shared, files) <= limit:
        return None
    return max(exact, key=lambda pid: sum(exact[pid]), default=None)


def _exact_memory(resident: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Return what each process has for itself, and of what is shared in memory, in bytes.

    What several processes share is divided between them, as pages of a forked process are shared
    with its parent until somebody writes. Of a process that cannot be looked into all that is
    resident counts.
    """
    exact: dict[int, tuple[int, int]] = {}
    for pid, size in resident.items():
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            continue
        except OSError:
            exact[pid] = (size, 0)
            continue
        fields = {line.split(b":")[0]: line.split() for line in lines[1:]}
        own, shared = fields.get(b"Pss_Anon"), fields.get(b"Pss_Shmem")
        if own is not None and shared is not None:
            exact[pid] = (int(own[1]) << 10, int(shared[1]) << 10)
    return exact
