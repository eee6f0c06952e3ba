"""What tests see of a server from outside: its processes, its files, its connections."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.colours import Colour
from tests.nursery import nursery

PATIENCE = 45.0
_numbers = itertools.count(random.randrange(10**6, 10**7))


@dataclass
class Server:
    """A server that runs."""

    base_url: str
    api_key: str
    pid: int
    data_dir: Path

    @property
    def port(self) -> int:
        return int(self.base_url.rpartition(":")[2])

    @property
    def homes(self) -> list[Path]:
        """Directories of the sandboxes that it keeps."""
        return list((self.data_dir / "sandboxes").iterdir())

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let it do nothing for a while: requests arrive, and stay without an answer."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):  # it was killed, and waited for
                os.kill(self.pid, signal.SIGCONT)

    def has_unread(self) -> bool:
        """Tell whether a request has arrived that it has not read yet."""
        wanted = f":{self.port:04X}"
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            is_ours = fields[1].endswith(wanted) and fields[3] == "01"  # established
            if is_ours and int(fields[4].partition(":")[2], 16) > 0:
                return True
        return False


@dataclass
class Live:
    """A colour and a server."""

    colour: Colour
    server: Server

    def client(self, **options: Any) -> Any:
        options = {"base_url": self.server.base_url, **options}
        return self.colour.client(options.pop("api_key", self.server.api_key), **options)

    @asynccontextmanager
    async def box(self, **options: Any) -> AsyncIterator[Any]:
        """Open a sandbox with a client of its own."""
        async with self.client() as client, client.sandboxes.create(**options) as box:
            yield box


@dataclass
class Traces:
    """What of a server is on this machine."""

    data_dir: Path
    processes: list[psutil.Process] = field(default_factory=list[psutil.Process])
    cgroups: list[Path] = field(default_factory=list[Path])

    @classmethod
    def of(cls, pid: int, data_dir: Path) -> Traces:
        server = psutil.Process(pid)
        noted = data_dir / "cgroups"
        lines = noted.read_text().splitlines() if noted.exists() else []
        return cls(
            data_dir,
            [server, *server.children(recursive=True)],
            [Path(line) for line in lines if Path(line).exists()],
        )

    def left(self) -> list[str]:
        """Return what is still there."""
        left = [f"process {each.pid}" for each in self.processes if is_alive(each)]
        left += [f"cgroup {path}" for path in self.cgroups if path.exists()]
        left += [
            f"mount {line}"
            for line in Path("/proc/self/mounts").read_text().splitlines()
            if str(self.data_dir) in line
        ]
        # Whoever cleans up may remove the directory between two looks at it.
        with contextlib.suppress(FileNotFoundError):
            left += [f"directory {home}" for home in (self.data_dir / "sandboxes").iterdir()]
        return left


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def servers() -> set[int]:
    """Return the embedded servers that this process owns."""
    found = set[int]()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            is_server = "sandlot.server" in child.cmdline() and child.pid != nursery().pid
            if is_server and is_alive(child):
                found.add(child.pid)
    return found


def marker() -> str:
    """Return an argument for `sleep` that no other process has."""
    return f"86400.{next(_numbers)}"


def running(mark: str) -> list[int]:
    """Return the processes on this machine that have a mark in their command lines."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            # Zombies have no command line; other processes end while one looks.
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def peak_memory(pid: int) -> int:
    return _memory(pid, "VmHWM")


def reset_peak_memory(pid: int) -> int:
    """Begin to measure the peak anew; return the memory in use."""
    _ = Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc_pid_clear_refs(5)
    return _memory(pid, "VmRSS")


def _memory(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise LookupError(name)


async def eventually(condition: Callable[[], Any], patience: float = PATIENCE) -> None:
    """Assert that something comes to be true that nobody announces."""
    deadline = time.monotonic() + patience
    while True:
        happened = condition()
        if asyncio.iscoroutine(happened):
            happened = await happened
        if happened:
            return
        assert time.monotonic() < deadline, "it never came to be true"
        await asyncio.sleep(0.02)


def until(condition: Callable[[], Any], patience: float = PATIENCE) -> None:
    """Assert the same, blocking."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it never came to be true"
        time.sleep(0.02)


def program(
    source: str, *args: str, python: str = sys.executable, **options: Any
) -> subprocess.Popen[str]:
    """Start a Python program that tells on its standard output how far it is."""
    return subprocess.Popen(
        [python, "-u", "-c", textwrap.dedent(source), *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


async def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line that a program prints."""
    assert process.stdout is not None
    return (await asyncio.to_thread(process.stdout.readline)).rstrip("\n")
