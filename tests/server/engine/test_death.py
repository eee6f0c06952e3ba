"""Death of the server, of whatever kind: nothing of its sandboxes stays."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sandlot
from sandlot.server.engine import make_engine
from sandlot.server.engine.base import Exit

from .conftest import Box, eventually, spec

OWNER = Path(__file__).with_name("owner.py")
SOURCE = Path(sandlot.__file__).parent.parent


class Owner:
    """A running `owner.py`, and what there is of it outside of its own process.

    It is made of what is known before the end: other servers may run on this machine.
    """

    lengths = itertools.count(os.getpid() * 1000)

    def __init__(self, kind: str, data_dir: Path, lifetime: str, state: str) -> None:
        self.data_dir = data_dir
        self._mark = str(next(self.lengths)).encode()
        self._process = subprocess.Popen(
            [sys.executable, str(OWNER), kind, str(data_dir), lifetime, state, self._mark],
            stdout=subprocess.PIPE,
            env={"PATH": os.defpath, "PYTHONPATH": str(SOURCE)},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"there\n"
        (self.zygote,) = children_of(self._process.pid)
        self._family = {self.zygote, *children_of(self.zygote)}
        notes = data_dir / "cgroups"
        self._cgroups = notes.read_text().splitlines() if notes.exists() else []
        assert len(self._family) >= 3 + 1
        assert kind == "process" or os.getuid() or any(map(os.path.exists, self._cgroups))

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        self._process.kill()
        _, _ = self._process.communicate()

    def processes(self) -> set[int]:
        """Return the living processes that belong to it."""
        return {pid for pid in self._family | marked(self._mark) if is_alive(pid)}

    def wait_gone(self) -> None:
        """Wait until no process and no control group is left of it."""
        asyncio.run(eventually(lambda: not self.processes()))
        asyncio.run(eventually(lambda: not any(map(os.path.exists, self._cgroups))))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def marked(mark: bytes) -> set[int]:
    """Return the processes with this argument, but those of the test."""
    found: set[int] = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            arguments = path.read_bytes().split(b"\0")
            if mark in arguments and b"sleep" in arguments[0]:
                found.add(int(path.parent.name))
    return found


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("state", ["running", "paused", "creating"])
@pytest.mark.parametrize("kind", ["local", "process"])
def test_killed_server(kind: str, state: str, tmp_path: Path) -> None:
    owner = Owner(kind, tmp_path / "data", "ephemeral", state)
    owner.kill()
    owner.wait_gone()
    asyncio.run(eventually(lambda: not owner.data_dir.exists()))


def test_killed_server_keeps_its_directory(tmp_path: Path) -> None:
    owner = Owner("local", tmp_path / "data", "kept", "running")
    owner.kill()
    owner.wait_gone()
    asyncio.run(eventually(lambda: not (owner.data_dir / "sandboxes").exists()))
    assert owner.data_dir.exists()


def test_server_and_zygote_killed_at_once(tmp_path: Path) -> None:
    """With nobody left to clean up, processes die all the same; the next life removes the rest."""
    owner = Owner("local", tmp_path / "data", "kept", "running")
    os.kill(owner.zygote, signal.SIGSTOP)
    owner.kill()
    os.kill(owner.zygote, signal.SIGKILL)
    asyncio.run(eventually(lambda: not owner.processes()))
    assert len(os.listdir(owner.data_dir / "sandboxes")) == 3

    async def next_life() -> None:
        engine = make_engine("local", owner.data_dir)
        await engine.start()
        try:
            assert os.listdir(owner.data_dir / "sandboxes") == []
            box = Box(engine, await engine.create(spec("box-1")), owner.data_dir)
            assert (await box.run("echo", "x")).exit == Exit(0)
        finally:
            await engine.close()

    asyncio.run(next_life())
    owner.wait_gone()


def test_frozen_sandboxes_are_found_by_the_next_life(tmp_path: Path) -> None:
    owner = Owner("local", tmp_path / "data", "kept", "paused")
    os.kill(owner.zygote, signal.SIGSTOP)
    owner.kill()
    os.kill(owner.zygote, signal.SIGKILL)
    engine = make_engine("local", owner.data_dir)

    async def next_life() -> None:
        await engine.start()
        await engine.close()

    asyncio.run(next_life())
    owner.wait_gone()


def test_signals_of_the_terminal_are_not_for_the_zygote(tmp_path: Path) -> None:
    owner = Owner("local", tmp_path / "data", "kept", "running")
    assert os.getpgid(owner.zygote) != os.getpgid(owner.pid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(owner.zygote, number)
    assert is_alive(owner.zygote)
    owner.kill()
    owner.wait_gone()
