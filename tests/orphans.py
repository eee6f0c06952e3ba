"""Looking for what is left of servers and engines, of one directory only.

Other test runs, with sandboxes of their own, may share the machine: nothing is looked at that does
not name the directory.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["assert_no_orphans", "orphans"]

_PATIENCE = 45.0


def orphans(place: Path) -> list[str]:
    """Return what there is of engines whose data directories are this one or below it."""
    found = [f"cgroup {path}" for path in _noted(place) if path.exists()]
    for boxes in _data(place, "sandboxes"):
        with contextlib.suppress(OSError):
            found += [f"directory {boxes}/{name}" for name in os.listdir(boxes)]
    return found + [f"process {pid}: {why}" for pid, why in _processes(os.fspath(place))]


def assert_no_orphans(place: Path) -> None:
    """Assert that nothing is left; what was killed may take a moment to be gone."""
    deadline = time.monotonic() + _PATIENCE
    while left := orphans(place):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.01)


def _data(place: Path, name: str) -> list[Path]:
    return [place / name, *place.glob(f"*/{name}")]


def _noted(place: Path) -> set[Path]:
    noted: set[Path] = set()
    for notes in _data(place, "cgroups"):
        with contextlib.suppress(OSError):
            noted |= {Path(line) for line in notes.read_text().splitlines()}
    return noted


def _processes(place: str) -> Iterator[tuple[str, str]]:
    """Return processes of this directory: zygotes hold its lock, sandboxes have mounts of it."""
    seen = {os.readlink("/proc/self/ns/mnt")}
    mine = str(os.getpid())
    for pid in os.listdir("/proc"):
        if pid.isdigit() and pid != mine:
            with contextlib.suppress(OSError):  # it has ended, or is somebody else's
                why = _connection(f"/proc/{pid}", place, seen)
                if why is not None:
                    yield pid, why


def _connection(process: str, place: str, seen: set[str]) -> str | None:
    """Return what a process has to do with a directory."""
    fd = os.open(f"{process}/cmdline", os.O_RDONLY)  # it is read of all processes: without a file
    command = os.read(fd, 4096)
    os.close(fd)
    if not command:  # of the kernel, or a zombie
        return None
    names: tuple[str, ...] = ("cwd", "root", "exe")
    if b"guest.zygote" in command:
        names += tuple(f"fd/{name}" for name in os.listdir(f"{process}/fd"))
    for name in names:
        with contextlib.suppress(OSError):
            if os.readlink(f"{process}/{name}").startswith(place):
                return name
    namespace = os.readlink(f"{process}/ns/mnt")
    if namespace not in seen:
        seen.add(namespace)
        with open(f"{process}/mountinfo") as file:
            if place in file.read():
                return "mounts"
    return None
