"""A server that imports this kills itself at a moment that a test has chosen.

While there is a file `moment` in its data directory, with the name of a moment and a number in it,
all work stops that gets to that moment; with the last of so many the server dies, as if by
`kill -9`.

Moments: `asked` (a key was read), `claimed` (it is in the database), `noted` (the sandbox is too),
`made` (the engine has what was asked for), `done` (the database has it), `answered`.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sandlot.server import middleware
from sandlot.server.engine.local.engine import LocalEngine
from sandlot.server.services import checkpoints, lives, snapshots
from sandlot.server.store.sql.idempotency import SqlIdempotency
from sandlot.server.store.sql.sandboxes import SqlSandboxes

PLACE = Path(next(word for word in sys.argv if word.startswith("--data-dir=")).partition("=")[2])
arrived = 0


async def pass_moment(name: str) -> None:
    global arrived
    try:
        wanted, _, count = (PLACE / "moment").read_text().partition(" ")
    except FileNotFoundError:
        return
    if wanted != name:
        return
    arrived += 1
    if arrived == int(count):
        os.kill(os.getpid(), signal.SIGKILL)
    await asyncio.Event().wait()


def stop_at(owner: Any, name: str, *, before: str | None = None, after: str | None = None) -> None:
    """Put moments around a coroutine function."""
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)

    @functools.wraps(original)
    async def wrapper(*args: Any, **options: Any) -> Any:
        if before is not None:
            await pass_moment(before)
        result = await original(*args, **options)
        if after is not None:
            await pass_moment(after)
        return result

    setattr(owner, name, wrapper)


async def send(self: Any, message: Any) -> None:
    """Send a piece of an answer to a request with a key."""
    is_keyed = any(name == b"idempotency-key" for name, _ in self._scope["headers"])
    await send_now(self, message)
    if is_keyed and message["type"] == "http.response.body" and not message.get("more_body"):
        await pass_moment("answered")


stop_at(SqlIdempotency, "claim", before="asked", after="claimed")
stop_at(SqlSandboxes, "add", after="noted")
stop_at(LocalEngine, "create", after="made")
stop_at(snapshots, "capture", after="made")
stop_at(checkpoints, "capture", after="made")
stop_at(SqlIdempotency, "finish", before="done")
stop_at(lives.Lives, "enter", after="done")
send_now = middleware._Exchange.send
middleware._Exchange.send = send
