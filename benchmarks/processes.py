"""Memory of the processes that take part, sampled while something runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import psutil

MIB = 1 << 20


def parts() -> dict[str, list[psutil.Process]]:
    """Find the client (this process), its embedded server, and the server's zygote and agents."""
    here = psutil.Process()
    found: dict[str, list[psutil.Process]] = {"client": [here], "server": [], "agent": []}
    for child in here.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            words = " ".join(child.cmdline())
            if "sandlot.server" in words:
                found["server"].append(child)
            elif "guest.zygote" in words:
                found["agent"].append(child)
    return found


def resident(processes: list[psutil.Process]) -> int:
    """Bytes of memory of their own that processes hold together."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            memory = process.memory_info()
            total += memory.rss - memory.shared
    return total


@dataclass
class Peaks:
    """The most that each part held above what it held at first, in MiB."""

    above_idle: dict[str, float] = field(default_factory=dict[str, float])


@contextlib.contextmanager
def watched() -> Iterator[Peaks]:
    """Sample the memory of all parts every 10 ms."""
    members = parts()
    idle = {name: resident(processes) for name, processes in members.items()}
    peaks = Peaks(dict.fromkeys(members, 0.0))
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.01):
            for name, processes in members.items():
                above = (resident(processes) - idle[name]) / MIB
                peaks.above_idle[name] = max(peaks.above_idle[name], above)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peaks
    finally:
        done.set()
        sampler.join()
