"""Servers that do as they are told: answer, stall, break off, hang up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request as Upgrade
from websockets.http11 import Response as Refusal
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

ID = "cl-0000000000000000000000001"
INFO = {
    "id": ID,
    "status": "running",
    "template": "minimal",
    "vcpus": 1,
    "memory_mb": 512,
    "timeout_sec": 0,
    "created_at": "2026-01-01T00:00:00Z",
    "last_updated": "2026-01-01T00:00:00Z",
}
CAPABILITIES = {
    "server": "sandlot",
    "version": "1",
    "features": [],
    "isolation": {"level": "full", "engine": "local"},
    "limits": {},
}
EXECUTED = {
    "sandbox_id": ID,
    "cmd": "/bin/sh",
    "stdout": "out",
    "stderr": "",
    "exit_code": 0,
    "duration_ms": 1,
    "encoding": "utf-8",
}


@dataclass
class Received:
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    whole: bool = True

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Wire:
    """The connection that a request came by, for answers that are none."""

    def __init__(self, connection: socket.socket, stopped: threading.Event) -> None:
        self._connection = connection
        self._stopped = stopped

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def answer(self, body: Any = None, status: int = 200, **headers: str) -> None:
        content = b"" if body is None else body
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        lines = [f"HTTP/1.1 {status} x", f"content-length: {len(content)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode() + content)

    def problem(self, code: str, status: int, **headers: str) -> None:
        self.answer({"error": {"code": code, "message": f"says {code}"}}, status, **headers)

    def drop(self) -> None:
        """Hang up without a word."""
        raise ConnectionAbortedError

    def reset(self) -> None:
        """Break off so that the other side notices."""
        linger = struct.pack("ii", 1, 0)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise ConnectionAbortedError

    def stall(self) -> None:
        """Say nothing until the test ends."""
        _ = self._stopped.wait()
        raise ConnectionAbortedError


Reply = Callable[[Wire, Received], None]


@dataclass
class Toy:
    """A server that gives the replies it was told, and after them a sensible answer."""

    base_url: str = ""
    received: list[Received] = field(default_factory=list)
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    arrived: threading.Condition = field(default_factory=threading.Condition)
    connections: int = 0

    def told(self, where: str, *replies: Reply) -> None:
        """Give these replies, in order, to requests such as `POST /v1/sandboxes`."""
        self.replies.setdefault(where, []).extend(replies)

    def wait_for(self, count: int) -> None:
        """Wait until so many requests have arrived."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.received) >= count, timeout=20)

    @property
    def asked(self) -> list[str]:
        return [str(request) for request in self.received]

    def reply(self, wire: Wire, request: Received) -> None:
        with self.arrived:
            self.received.append(request)
            self.arrived.notify_all()
            waiting = self.replies.get(str(request))
            reply = waiting.pop(0) if waiting else None
        if reply is not None:
            reply(wire, request)
        elif request.path == "/v1/capabilities":
            wire.answer(CAPABILITIES)
        elif request.path.endswith("/exec"):
            wire.answer(EXECUTED)
        elif request.method == "DELETE" or "/files/" in request.path:
            wire.answer(None, 204)
        elif str(request) == "POST /v1/sandboxes":
            wire.answer(INFO, 201)
        else:
            wire.answer(INFO)


@contextlib.contextmanager
def toy() -> Iterator[Toy]:
    """Run a toy server on loopback."""
    server = Toy()
    stopped = threading.Event()
    open_connections: set[socket.socket] = set()
    threads: list[threading.Thread] = []

    def converse(connection: socket.socket) -> None:
        reader = connection.makefile("rb")
        try:
            while (request := _read(reader)) is not None:
                server.reply(Wire(connection, stopped), request)
        except OSError:
            pass
        finally:
            reader.close()
            open_connections.discard(connection)
            connection.close()

    def listen() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server.connections += 1
            open_connections.add(connection)
            thread = threading.Thread(target=converse, args=[connection])
            threads.append(thread)
            thread.start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        accepting = threading.Thread(target=listen)
        accepting.start()
        try:
            yield server
        finally:
            stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for connection in list(open_connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def _read(reader: Any) -> Received | None:
    first = reader.readline()
    if not first:
        return None
    method, path, _ = first.decode().split()
    headers: dict[str, str] = {}
    while (line := reader.readline().decode().strip()) != "":
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    request = Received(method, path, headers)
    if "content-length" in headers:
        size = int(headers["content-length"])
        request.body = reader.read(size)
        request.whole = len(request.body) == size
    elif "transfer-encoding" in headers:
        request.whole = False
        while chunk := reader.readline():
            size = int(chunk, 16)
            request.body += reader.read(size)
            _ = reader.readline()
            if size == 0:
                request.whole = True
                break
    return request


class Script:
    """One side of a conversation over a WebSocket, for a test to write."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self._offsets = {1: 0, 2: 0}

    @property
    def framed(self) -> bool:
        return self.connection.subprotocol is not None

    def expect(self) -> Any:
        """Return the next message of the client; stdin as (offset, bytes)."""
        message = self.connection.recv(20)
        if isinstance(message, str):
            return json.loads(message)
        channel, offset = struct.unpack_from(">BQ", message)
        return json.loads(message[9:]) if channel == 0 else (offset, message[9:])

    def say(self, kind: str, **fields: Any) -> None:
        text = json.dumps({"type": kind, **fields})
        self.connection.send(struct.pack(">BQ", 0, 0) + text.encode() if self.framed else text)

    def output(self, data: bytes, channel: int = 1) -> None:
        if self.framed:
            offset = self._offsets[channel]
            self._offsets[channel] += len(data)
            self.connection.send(struct.pack(">BQ", channel, offset) + data)
        else:
            self.say("stdout" if channel == 1 else "stderr", data=data.decode())

    def drop(self) -> None:
        """Hang up as original servers do: without a close frame."""
        with contextlib.suppress(OSError):  # the client may have been faster
            self.connection.socket.shutdown(socket.SHUT_RDWR)

    def wait_closed(self) -> list[Any]:
        """Return what the client says until it hangs up."""
        said: list[Any] = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                said.append(self.expect())
        return said


@dataclass
class Stage:
    """A server that plays one script for each connection."""

    base_url: str = ""
    upgrades: list[Upgrade] = field(default_factory=list)
    refusals: list[tuple[int, bytes]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    played: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    async def wait_played(self) -> None:
        assert await asyncio.to_thread(self.played.acquire, timeout=20)
        for failure in self.failures:
            raise failure


@contextlib.contextmanager
def stage(play: Callable[[Script], None], *, framed: bool = True) -> Iterator[Stage]:
    """Run a server that plays this script, in either form of the conversation."""
    here = Stage()

    def handle(connection: ServerConnection) -> None:
        try:
            play(Script(connection))
        except BaseException as exc:
            here.failures.append(exc)
        finally:
            here.played.release()

    def refuse(connection: ServerConnection, request: Upgrade) -> Refusal | None:
        here.upgrades.append(request)
        if not here.refusals:
            return None
        status, body = here.refusals.pop(0)
        headers = Headers({"Content-Length": str(len(body)), "X-Request-Id": "r-7"})
        if 300 <= status < 400:
            headers["Location"] = "ws://127.0.0.1:9/elsewhere"
        return Refusal(status, "x", headers, body)

    with serve(
        handle,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol("sandlot.exec.v1")] if framed else None,
        select_subprotocol=None if framed else lambda *_: None,
        process_request=refuse,
        compression=None,
        close_timeout=1,
        max_size=None,
    ) as server:
        here.base_url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield here
        finally:
            server.shutdown()
            thread.join()
