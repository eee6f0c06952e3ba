"""Code in kernels, against a kernel on this machine without anything around it.

Ours and the limit take turns.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

from benchmarks.kernels import TEMPLATE, Peer, compared, peer, spread
from benchmarks.report import Row
from sandlot import AsyncClient, Client, Execution
from sandlot.local import EmbeddedServer
from sandlot.sandbox import Sandbox

ROUNDS = 400
UNCOUNTED = 20
MASSES = 9
BATCHES, BATCH = 20, 20
MB = 1e6

PICTURE = """
import os, struct, zlib
from IPython.display import Image

def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

rows = b"".join(b"\\0" + os.urandom(2500) for _ in range(2000))
picture = Image(format="png", data=b"\\x89PNG\\r\\n\\x1a\\n" + b"".join((
    _chunk(b"IHDR", struct.pack(">IIBBBBB", 2500, 2000, 8, 0, 0, 0, 0)),
    _chunk(b"IDAT", zlib.compress(rows, 0)),
    _chunk(b"IEND", b""),
)))
"""
"""A picture of five megapixels of noise."""

MASS = (
    ("10 MB of stdout, one piece", "print('x' * 9_999_999)"),
    ("10 MB of stdout, 100,000 lines", "for _ in range(100_000): print('x' * 99)"),
    ("5 MB PNG", "picture"),
)

ASKING = """
import json, sys, time
sys.path.insert(0, "httpx.zip")
import httpx

client = httpx.Client(base_url="http://127.0.0.1:8888")

def ask(count):
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        client.get("/api/status").raise_for_status()
        taken.append(time.perf_counter() - began)
    print(json.dumps(taken))
"""


def _check(execution: Execution) -> None:
    assert execution.text == "2", execution


def _blocking(sandbox: Sandbox, other: Peer) -> Row:
    ours: list[float] = []
    limit: list[float] = []
    for _ in range(ROUNDS + UNCOUNTED):
        began = time.perf_counter()
        execution = sandbox.run_code("1+1")
        ours.append(time.perf_counter() - began)
        _check(execution)
        limit.append(other.run("1+1")[0])
    counted = ours[UNCOUNTED:], limit[UNCOUNTED:]
    return compared("run_code('1+1'), blocking", *counted, "jupyter_client", 2)


async def _awaiting(server: EmbeddedServer, sandbox_id: str, other: Peer) -> Row:
    ours: list[float] = []
    limit: list[float] = []
    async with (
        AsyncClient(server.api_key, base_url=server.base_url) as client,
        await client.sandboxes.get(sandbox_id) as sandbox,
    ):
        for _ in range(ROUNDS + UNCOUNTED):
            began = time.perf_counter()
            execution = await sandbox.run_code("1+1")
            ours.append(time.perf_counter() - began)
            _check(execution)
            limit.append(other.run("1+1")[0])
    counted = ours[UNCOUNTED:], limit[UNCOUNTED:]
    return compared("run_code('1+1'), asyncio", *counted, "jupyter_client", 2)


def _masses(sandbox: Sandbox, other: Peer) -> Iterator[Row]:
    _ = sandbox.run_code(PICTURE).check(), other.run(PICTURE)
    for what, code in MASS:
        ours: list[float] = []
        limit: list[float] = []
        size = 0
        for _ in range(MASSES):
            began = time.perf_counter()
            execution = sandbox.run_code(code)
            shown = execution.results[0].png if execution.results else execution.stdout
            ours.append(time.perf_counter() - began)
            seconds, size = other.run(code)
            limit.append(seconds)
            assert shown is not None
            assert len(shown) == size >= 5 * MB, (len(shown), size)
        rates = [size / MB / statistics.median(seconds) for seconds in (ours, limit)]
        against = f"jupyter_client; {spread(ours)} ms, {spread(limit)} ms"
        yield Row(what, rates[0], rates[1], "MB/s", against, more_is_better=True)


def _httpx() -> bytes:
    """Return httpx and what it needs as a ZIP file, to import it from."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("httpx", "httpcore", "h11", "anyio", "certifi", "idna", "typing_extensions"):
            spec = find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            origin = Path(spec.origin)
            module = origin.parent if spec.submodule_search_locations else origin
            for path in [*module.rglob("*.py"), *module.rglob("*.pem")] or [module]:
                archive.write(path, path.relative_to(module.parent))
    return packed.getvalue()


def _request(sandbox: Sandbox) -> Row:
    sandbox.upload("httpx.zip", _httpx())
    _ = sandbox.run_code(ASKING).check()
    ours: list[float] = []
    limit: list[float] = []
    for _ in range(BATCHES):
        for _ in range(BATCH):
            began = time.perf_counter()
            _ = sandbox.http_client.get("/api/status").raise_for_status()
            ours.append(time.perf_counter() - began)
        limit += json.loads(sandbox.run_code(f"ask({BATCH})").check().stdout)
    counted = ours[UNCOUNTED:], limit[UNCOUNTED:]
    return compared("GET /api/status by proxy", *counted, "httpx inside the sandbox")


def run() -> list[Row]:
    """Compare running code, what it shows, and requests to the program that runs it."""
    server = EmbeddedServer.start()
    try:
        with (
            Client(server.api_key, base_url=server.base_url) as client,
            client.sandboxes.create(TEMPLATE) as sandbox,
            peer() as other,
        ):
            _ = sandbox.run_code("1+1").check()
            rows = [_blocking(sandbox, other)]
            rows.append(asyncio.run(_awaiting(server, sandbox.id, other)))
            rows += _masses(sandbox, other)
            rows.append(_request(sandbox))
    finally:
        server.close()
    return rows
