"""Starting the server, making a sandbox and running a command, against bare spawns."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import time

from benchmarks.report import Row, interleaved
from sandlot import Client
from sandlot.local import EmbeddedServer

NAMESPACES = [
    f"--{kind}" for kind in ("user", "map-root-user", "mount", "pid", "net", "ipc", "uts")
]
"""What util-linux's unshare needs to give a command the namespaces that a sandbox has."""


def _spawn(*argv: str) -> None:
    _ = subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def _bwrap() -> None:
    options = (
        "--unshare-all --unshare-user --uid 1000 --gid 1000 --cap-drop ALL --new-session"
        " --die-with-parent --clearenv --ro-bind /usr /usr --symlink usr/bin /bin"
        " --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev"
        " --tmpfs /tmp --tmpfs /home"
    )
    _spawn("bwrap", *options.split(), "/usr/bin/true")


def _start() -> float:
    started = time.perf_counter()
    server = EmbeddedServer.start()
    taken = time.perf_counter() - started
    server.close()
    return taken


def _server() -> Row:
    starts = [_start() for _ in range(5)]
    modules = "fastapi, uvicorn, sqlalchemy.ext.asyncio"
    (bare,) = interleaved(5, lambda: _spawn(sys.executable, "-c", f"import {modules}"))
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

        def unshare() -> None:
            _spawn("unshare", *NAMESPACES, "--cgroup", "--fork", "true")

        created, executed, unshared, host, call = interleaved(
            100, create, execute, unshare, lambda: _spawn("true"), client.health
        )
        limits = [("true under unshare", unshared)]
        if shutil.which("bwrap"):
            created, executed, isolated = interleaved(50, create, execute, _bwrap)
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
