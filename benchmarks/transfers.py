"""One GiB through each pipe of a sandbox, against raw pipes and httpx, and the memory it takes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator

import httpx

from benchmarks.processes import watched
from benchmarks.report import Row
from sandlot import Client, StreamStdoutEvent
from sandlot.local import EmbeddedServer
from sandlot.sandbox import Sandbox

SIZE = 1 << 30
PIECE = bytes(1 << 18)
SHOUT = ["head", "-c", str(SIZE), "/dev/zero"]


def _pieces() -> Iterator[bytes]:
    for _ in range(SIZE // len(PIECE)):
        yield PIECE


def _raw_pipe() -> int:
    with subprocess.Popen(SHOUT, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        total = 0
        while piece := process.stdout.read(1 << 18):
            total += len(piece)
    return total


def _stream(sandbox: Sandbox) -> int:
    total = 0
    with sandbox.exec_stream(SHOUT) as stream:
        for event in stream:
            if isinstance(event, StreamStdoutEvent):
                total += len(event.data_bytes)
    return total


def _upload(sandbox: Sandbox) -> int:
    sandbox.stream_upload("big", _pieces())
    return SIZE


def _download(sandbox: Sandbox) -> int:
    return sum(len(piece) for piece in sandbox.stream_download("big"))


class _Reader:
    """What httpx takes for a file to upload."""

    def __init__(self) -> None:
        self._left = SIZE

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` zeros."""
        count = min(self._left, size if size >= 0 else self._left)
        self._left -= count
        return bytes(count)


def _raw_upload(raw: httpx.Client, sandbox: Sandbox) -> int:
    response = raw.post(
        f"/v1/sandboxes/{sandbox.id}/files/stream/write",
        data={"path": "raw"},
        files={"file": ("raw", _Reader())},
    )
    assert response.status_code == 204, response.text
    return SIZE


def _raw_download(raw: httpx.Client, sandbox: Sandbox) -> int:
    with raw.stream(
        "POST", f"/v1/sandboxes/{sandbox.id}/files/stream/read", json={"path": "raw"}
    ) as response:
        return sum(len(piece) for piece in response.iter_raw())


def _rate(action: Callable[[], int]) -> float:
    started = time.perf_counter()
    total = action()
    taken = time.perf_counter() - started
    assert total == SIZE, total
    return total / taken / 1e9


def run() -> list[Row]:
    """Compare stdout, upload and download."""
    rows: list[Row] = []
    server = EmbeddedServer.start()
    try:
        with (
            Client(server.api_key, base_url=server.base_url) as client,
            httpx.Client(
                headers={"X-API-Key": server.api_key}, base_url=server.base_url, timeout=120
            ) as raw,
            client.sandboxes.create() as sandbox,
        ):
            for what, ours, limit, against in (
                ("stdout of 1 GiB", lambda: _stream(sandbox), _raw_pipe, "a pipe on the host"),
                (
                    "upload of 1 GiB",
                    lambda: _upload(sandbox),
                    lambda: _raw_upload(raw, sandbox),
                    "httpx, same server",
                ),
                (
                    "download of 1 GiB",
                    lambda: _download(sandbox),
                    lambda: _raw_download(raw, sandbox),
                    "httpx, same server",
                ),
            ):
                bound = _rate(limit)
                with watched() as peaks:
                    rate = _rate(ours)
                rows.append(Row(what, rate, bound, "GB/s", against, more_is_better=True))
                rows += [
                    Row(f"  peak of the {part}", peak, 64, "MiB", "64 MiB above idle", 1.0)
                    for part, peak in peaks.above_idle.items()
                ]
    finally:
        server.close()
    return rows
