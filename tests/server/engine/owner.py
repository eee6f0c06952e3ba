"""A server in small, for tests that kill it: keeps sandboxes until it is told otherwise.

Arguments: engine, data directory, "ephemeral" or "kept", the state to be in ("running", "paused" or
"creating"), and how long programs sleep, which tells them apart. Prints a line when it is in it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from sandlot.server.engine import make_engine
from sandlot.server.engine.base import Command, SandboxSpec


async def main(kind: str, data_dir: str, lifetime: str, state: str, length: str) -> None:
    engine = make_engine(kind, Path(data_dir), ephemeral=lifetime == "ephemeral")
    await engine.start()
    template = engine.capabilities.templates[0]
    specs = [SandboxSpec(f"box-{number}", template, 1, 128, 64) for number in range(3)]
    for spec in specs:
        sandbox = await engine.create(spec)
        daemon = f"(setsid setsid sleep {length} &); sleep {length} & chmod 0 ."
        process = await sandbox.spawn(Command(["/bin/sh", "-c", daemon]))
        _ = await process.wait()
        if state == "paused":
            await sandbox.pause()
    if state == "creating":
        more = [SandboxSpec(f"more-{number}", template, 1, 128, 64) for number in range(10)]
        tasks = [asyncio.create_task(engine.create(spec)) for spec in more]
        _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    _ = os.write(1, b"there\n")
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
