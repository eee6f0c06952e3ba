"""Starting the server, making a sandbox and running a command, against bare spawns."""

from __future__ import annotations

import statistics
import sys
import time

from benchmarks import rivals
from benchmarks.report import Row, interleaved
from sandlot import Client
from sandlot.local import EmbeddedServer


def _start() -> float:
    started = time.perf_counter()
    server = EmbeddedServer.start()
    taken = time.perf_counter() - started
    server.close()
    return taken


def _server() -> Row:
    starts = [_start() for _ in range(5)]
    modules = "fastapi, uvicorn, sqlalchemy.ext.asyncio"
    (bare,) = interleaved(5, lambda: rivals.spawn(sys.executable, "-c", f"import {modules}"))
    return Row(
        "server ready", statistics.median(starts) * 1000, bare * 1000, "ms", f"import {modules}"
    )


def run() -> list[Row]:
    """Compare start, create and exec."""
    rows = [_server()]
    with Client.local() as client, client.sandboxes.create() as sandbox:

        def create() -> None:
            client.sandboxes.create().destroy()

        def execute() -> None:
            _ = sandbox.exec(["true"], check=True)

        created, executed, unshared, host, call = interleaved(
            100, create, execute, rivals.unshare, lambda: rivals.spawn("true"), client.health
        )
        limits = [("true under unshare", unshared)]
        if rivals.has("bwrap"):
            created, executed, isolated = interleaved(50, create, execute, rivals.bwrap)
            limits.append(("true under bwrap", isolated))
        for against, limit in limits:
            rows += [
                Row("create + destroy", created * 1000, limit * 1000, "ms", against),
                Row("exec true", executed * 1000, limit * 1000, "ms", against),
            ]
        bare = (host + call) * 1000
        rows.append(
            Row("exec true", executed * 1000, bare, "ms", "true on the host + an HTTP call")
        )
    return rows
