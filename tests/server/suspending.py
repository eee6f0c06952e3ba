"""A server that imports this stands still at a moment that a test has chosen.

It stops itself, as if by `kill -STOP`, the first time that it gets to the moment that the file
`moment` in its data directory names; it goes on when it is sent a SIGCONT. How long it holds claims
on idempotency keys, and waits for those of others, is in the environment.

Moments: `claimed` (a key is in the database), `noted` (the row of a sandbox is too), `made` (the
engine has the sandbox), `captured` (it has the files of a snapshot), `building` (what has become of
a build is in the database), `done` (a request with a key was carried out).
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from sandlot.server import plane
from sandlot.server.engine.local.engine import LocalEngine
from sandlot.server.services import snapshots
from sandlot.server.services.idempotency import Terms
from sandlot.server.store.sql.builds import SqlBuilds
from sandlot.server.store.sql.database import Database
from sandlot.server.store.sql.idempotency import SqlIdempotency
from sandlot.server.store.sql.sandboxes import SqlSandboxes

TERMS = "SANDLOT_TESTS_TERMS"
"""Environment variable with the three numbers."""


databases: list[Database] = []


def is_moment(name: str) -> bool:
    moment = Path(sys.argv[sys.argv.index("--data-dir") + 1], "moment")
    if not moment.exists() or moment.read_text() != name:
        return False
    moment.unlink()
    return True


async def pass_moment(name: str) -> None:
    if is_moment(name):
        # Who is stopped amidst a transaction of SQLite stops all others too. There is one
        # connection to a file: whoever has it knows that nothing is going on.
        async with databases[0]._engine.connect():
            os.kill(os.getpid(), signal.SIGSTOP)


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


terms = Terms(*(float(word) for word in os.environ[TERMS].split()))
opened = Database.__init__
Database.__init__ = lambda self, engine: (opened(self, engine), databases.append(self))[0]
make: Any = functools.partial(plane.Idempotency, terms=terms)
plane.Idempotency = make  # type: ignore[misc]
stop_at(SqlIdempotency, "claim", after="claimed")
stop_at(SqlSandboxes, "add", after="noted")
stop_at(LocalEngine, "create", after="made")
stop_at(snapshots, "capture", after="captured")
stop_at(SqlBuilds, "save", after="building")
stop_at(SqlIdempotency, "finish", before="done")
