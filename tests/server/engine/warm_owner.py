"""A server in small with prepared sandboxes, for a test that kills it. Argument: data directory."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path

from sandlot.server.engine import make_engine
from sandlot.server.engine.base import SandboxSpec


class Announcer(logging.Handler):
    """Says so when a sandbox is prepared."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "a sandbox is prepared":
            _ = os.write(1, b"prepared\n")


async def main(data_dir: str) -> None:
    logger = logging.getLogger("sandlot.server.engine")
    logger.setLevel(logging.INFO)
    logger.addHandler(Announcer())
    wanted = [SandboxSpec("any", "python-jupyter", 1, 512, 64)] * 2
    engine = make_engine("local", Path(data_dir), ephemeral=True, warm=wanted)
    await engine.start()
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
