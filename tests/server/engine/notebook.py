"""A small client of the Jupyter server in a sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from sandlot.server.engine.base import SandboxHandle

PORT = 8888


class _Half(asyncio.Protocol):
    """One side of a relay."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _Half | None = None
        self.waiting = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.waiting += data
        self.flush()

    def flush(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(self.waiting)
            self.waiting = b""

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Notebook:
    """The Jupyter server of one sandbox."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def kernels(self) -> list[str]:
        return [kernel["id"] for kernel in (await self.http.get("/api/kernels")).json()]

    async def start(self, name: str = "python3", **fields: Any) -> str:
        response = await self.http.post("/api/kernels", json={"name": name, **fields})
        assert response.status_code == 201, response.text
        kernel_id: str = response.json()["id"]
        return kernel_id

    async def run(self, kernel_id: str, code: str) -> str:
        """Run a cell; return what it writes and its value, or its error."""
        async with self.channels(kernel_id) as socket:
            messages = [message async for message in execute(socket, code)]
        return "".join(map(_text, messages))

    @contextlib.asynccontextmanager
    async def channels(self, kernel_id: str) -> AsyncIterator[ClientConnection]:
        base = str(self.http.base_url).replace("http", "ws", 1)
        url = f"{base}/api/kernels/{kernel_id}/channels?session_id={uuid.uuid4().hex}"
        async with connect(url, max_size=None, proxy=None) as socket:
            yield socket


async def execute(socket: ClientConnection, code: str) -> AsyncIterator[dict[str, Any]]:
    """Run a cell; yield what the kernel says of it until it is idle."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "username": "",
        "session": uuid.uuid4().hex,
        "date": "2026-01-01T00:00:00Z",
        "version": "5.3",
    }
    request = {"channel": "shell", "header": header, "parent_header": {}, "metadata": {}}
    await socket.send(json.dumps({**request, "content": {"code": code}, "buffers": []}))
    async for data in socket:
        message: dict[str, Any] = json.loads(data)
        if message["parent_header"].get("msg_id") == header["msg_id"]:
            yield message
            if message["content"].get("execution_state") == "idle":
                return
        elif message["content"].get("execution_state") in ("restarting", "dead"):
            yield message
            return


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    match message["msg_type"]:
        case "stream":
            text: str = content["text"]
        case "execute_result" | "display_data":
            text = content["data"].get("text/plain", "")
        case "error":
            text = f"{content['ename']}: {content['evalue']}"
        case _:
            text = ""
    return text


@contextlib.asynccontextmanager
async def notebook(sandbox: SandboxHandle) -> AsyncIterator[Notebook]:
    """Make the Jupyter server of a sandbox reachable."""
    tasks = set[asyncio.Task[None]]()

    async def join(front: _Half) -> None:
        back = _Half()
        _ = await sandbox.connect(PORT, lambda: back)
        front.other, back.other = back, front
        front.flush()
        back.flush()

    class Front(_Half):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            tasks.add(asyncio.create_task(join(self)))

    server = await asyncio.get_running_loop().create_server(Front, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        limits = httpx.Limits(max_keepalive_connections=0)  # a server may have died meanwhile
        client = httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=limits)
        async with client as http:
            yield Notebook(http)
    for task in tasks:
        await task
