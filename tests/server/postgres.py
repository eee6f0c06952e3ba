"""A PostgreSQL server for tests, if its programs are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


def programs() -> Path | None:
    """Return where the programs of PostgreSQL are."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if on_path := shutil.which("postgres"):
        found.append(Path(on_path).resolve())
    return next((path.parent for path in found if (path.parent / "initdb").exists()), None)


def account() -> str | None:
    """Return who may run it: not root."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in names), None)


@contextmanager
def serve() -> Iterator[str]:
    """Run a server, and give the URL of its database; nothing of it stays."""
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
