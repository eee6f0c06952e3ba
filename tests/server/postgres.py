"""A PostgreSQL server for tests, if its programs are installed."""

from __future__ import annotations

import asyncio
import itertools
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

_NEEDED = "SANDLOT_TESTS_NEED_POSTGRESQL"
_numbers = itertools.count(1)


def programs() -> Path | None:
    """Return where the programs of PostgreSQL are."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if on_path := shutil.which("postgres"):
        found.append(Path(on_path).resolve())
    return next((path.parent for path in found if (path.parent / "initdb").exists()), None)


def require() -> None:
    """Skip what needs PostgreSQL where it is not installed; fail where it is said to be."""
    if programs() is None:
        reason = "PostgreSQL is not installed; as root, internal/postgresql installs it"
        if os.environ.get(_NEEDED):
            pytest.fail(f"{reason} ({_NEEDED} is set)")
        pytest.skip(reason)


def account() -> str | None:
    """Return who may run it: not root."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


@contextmanager
def serve() -> Iterator[str]:
    """Run a server, and give the URL of its database; nothing of it stays."""
    require()
    where, user = programs(), account() if os.geteuid() == 0 else None
    assert where is not None
    with TemporaryDirectory(prefix="pg-", dir="/tmp") as directory:
        if user is not None:
            shutil.chown(directory, user)
        data = Path(directory) / "data"

        def run(*command: str) -> None:
            done = subprocess.run(
                command, user=user, cwd=directory, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr

        run(str(where / "initdb"), "-D", str(data), "-U", "test", "-A", "trust", "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={directory} -c fsync=off"
        control = [str(where / "pg_ctl"), "-D", str(data), "-w"]
        run(*control, "-o", options, "-l", str(Path(directory) / "log"), "start")
        try:
            yield f"postgresql+asyncpg://test@/postgres?host={directory}"
        finally:
            run(*control, "-m", "immediate", "stop")


def new_database(url: str) -> str:
    """Make an empty database in a server, and return its URL."""
    name = f"test_{next(_numbers)}"

    async def make() -> None:
        engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            _ = await connection.execute(text(f"CREATE DATABASE {name}"))
        await engine.dispose()

    asyncio.run(make())
    return make_url(url).set(database=name).render_as_string(hide_password=False)


async def empty(url: str) -> None:
    """Remove all rows of a database that has our tables."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        _ = await connection.execute(text("TRUNCATE teams, users CASCADE"))
    await engine.dispose()
