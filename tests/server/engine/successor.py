"""Two lives of an engine, as any user; run by `test_ordinary_user.py`.

Argument: data directory. Prints what it found as a JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from sandlot.server.engine import make_engine
from sandlot.server.engine.base import Command, Engine, SandboxHandle, SandboxSpec


async def run(sandbox: SandboxHandle, script: str) -> str:
    process = await sandbox.spawn(Command(["/bin/sh", "-c", script]))
    output = b""
    while (piece := await process.read()) is not None:
        output += piece.data
    _ = await process.wait()
    await process.close()  # before its end this would kill what it has left behind
    return output.decode()


async def begin(data_dir: Path) -> Engine:
    engine = make_engine("local", data_dir, orphan_timeout=60)
    await engine.start()
    return engine


async def first(data_dir: Path) -> None:
    engine = await begin(data_dir)
    running = await engine.create(SandboxSpec("running", "minimal", 1, 64, 8))
    paused = await engine.create(SandboxSpec("paused", "minimal", 1, 64, 8))
    _ = await run(running, "echo kept > file; sleep 600 >/dev/null 2>&1 &")
    _ = await running.spawn(Command(["sleep", "601"]))
    count = "(while :; do echo >> lines; done) >/dev/null 2>&1 &"
    _ = await run(paused, f"{count} until [ -s lines ]; do sleep 0.01; done")
    await paused.pause()
    print("there", flush=True)
    await asyncio.Event().wait()


def live_and_die(data_dir: Path) -> None:
    """Run the first life in a process of its own, and kill it."""
    with subprocess.Popen(
        [sys.executable, __file__, str(data_dir), "first"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        process.send_signal(signal.SIGKILL)


async def second(data_dir: Path) -> None:
    lines = data_dir / "sandboxes/paused/home/lines"
    found: dict[str, object] = {}
    live_and_die(data_dir)
    engine = await begin(data_dir)
    sandboxes = {each.id: each for each in await engine.adopt()}
    found["ids"] = sorted(sandboxes)
    found["file"] = await run(sandboxes["running"], "cat file")
    commands = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"
    found["commands"] = await run(sandboxes["running"], commands)
    size = lines.stat().st_size
    _ = await sandboxes["paused"].usage()
    found["still"] = lines.stat().st_size == size
    await sandboxes["paused"].resume()
    count = "set -- $(wc -l lines); until [ $(wc -l < lines) -gt $1 ]; do sleep 0.01; done"
    found["goes on"] = await run(sandboxes["paused"], f"{count}; echo yes")
    await engine.close()
    found["after"] = sorted(os.listdir(data_dir))
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run((first if sys.argv[2:] else second)(Path(sys.argv[1])))
