"""Capturing, beginning with and going back to 1 GB in 100,000 files, against `cp -a`.

The engine alone, without HTTP. The copy is made of the very files, in the same run.
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.report import Row
from sandlot.server.engine import make_engine
from sandlot.server.engine.base import Command, Engine, SandboxHandle, SandboxSpec

_FILES, _SIZE = 100_000, 10_000
_SPEC = SandboxSpec("origin", "base-python", 2, 1024, 8192)
_FILL = f"""
import os
data = os.urandom({_SIZE})
for number in range({_FILES}):
    directory = "tree/%03d" % (number // 200)
    if number % 200 == 0:
        os.makedirs(directory)
    with open("%s/%d" % (directory, number), "wb") as file:
        file.write(data)
"""
_GOAL = 0.01


async def _run(sandbox: SandboxHandle, *argv: str) -> None:
    process = await sandbox.spawn(Command(argv))
    await process.discard()
    exit = await process.wait()
    assert exit.code == 0, exit
    await process.close()


async def _timed(action: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    _ = await action()
    return time.perf_counter() - started


async def _measure(engine: Engine, directory: Path) -> list[Row]:
    origin = await engine.create(_SPEC)
    await _run(origin, "python3", "-c", _FILL)
    tree = directory / "data/sandboxes/origin/home/tree"
    copying = await _timed(
        lambda: asyncio.to_thread(subprocess.check_call, ["cp", "-a", tree, directory / "copy"])
    )
    waiting = await origin.spawn(Command(["sleep", "600"]))  # at home, as most programs are
    rows = [("snapshot of all, idle", await _timed(lambda: origin.snapshot("s1")))]
    await _run(origin, "sh", "-c", "echo x > one; rm tree/000/1")
    rows.append(("snapshot of changes, idle", await _timed(lambda: origin.snapshot("s2"))))
    spec = SandboxSpec("fork", "base-python", 2, 1024, 8192, snapshot="s2")
    rows.append(("begin with a snapshot", await _timed(lambda: engine.create(spec))))
    rows.append(("rollback", await _timed(lambda: origin.rollback("s1"))))
    await waiting.close()
    holder = await origin.spawn(Command(["sh", "-c", "echo > held; sleep 600 < held"]))
    await _run(origin, "sh", "-c", "until [ -e held ]; do sleep 0.01; done; echo y > two")
    rows.append(("snapshot of changes, busy", await _timed(lambda: origin.snapshot("s3"))))
    rows.append(("changes", await _timed(lambda: origin.changes("s1"))))
    await holder.close()
    return [
        Row(what, taken * 1000, copying * 1000, "ms", "cp -a of all", _GOAL) for what, taken in rows
    ]


async def _main() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="sandlot-", dir="/var/tmp") as name:
        engine = make_engine("local", Path(name) / "data")
        await engine.start()
        try:
            return await _measure(engine, Path(name))
        finally:
            await engine.close()


def run() -> list[Row]:
    """Compare each with copying."""
    return asyncio.run(_main())
