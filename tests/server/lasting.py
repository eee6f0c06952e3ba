"""Things that go on at a server for as long as somebody may: begun, and looked at when they end."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
from contract import Contract
from harness import PATIENCE, Box, ServerProcess
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK
from websockets.sync.client import ClientConnection, connect

LISTENER = """
import socket, sys, threading
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def serve(peer):
    if b"pgrade" in peer.recv(65536):
        peer.sendall(b"HTTP/1.1 101 Go\\r\\nupgrade: websocket\\r\\n\\r\\nhello")
    else:
        head = b"HTTP/1.1 200 Yes\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n"
        peer.sendall(head + b"5\\r\\nhello\\r\\n")
    peer.recv(1)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""
"""Opens tunnels, and answers what never comes to its end."""

CUT = "cut"
"""How it ends where nothing can be said any more."""

Beginning = Callable[["Scene"], Iterator[Callable[[], str]]]
_POOL = ThreadPoolExecutor(64)


@dataclass
class Scene:
    """A sandbox, and somebody who may use it.

    Attributes:
        headers: Their credential.
        box: The sandbox, by way of somebody else's.
        port: Where a `LISTENER` in it listens.
    """

    server: ServerProcess
    contract: Contract
    headers: Mapping[str, str]
    box: Box
    port: int = 0

    def websocket(self, tail: str) -> contextlib.AbstractContextManager[ClientConnection]:
        return connect(
            self.server.url.replace("http", "ws", 1) + self.box.url(tail),
            additional_headers=self.headers,
            compression=None,
            proxy=None,
            open_timeout=PATIENCE,
        )

    @contextlib.contextmanager
    def client(self) -> Iterator[httpx.Client]:
        with httpx.Client(
            base_url=self.server.url, headers=self.headers, timeout=PATIENCE
        ) as client:
            yield client

    @contextlib.contextmanager
    def raw(self, line: str, body: bytes = b"", **headers: str) -> Iterator[socket.socket]:
        """Give a connection on which this was sent."""
        pairs = {"Host": "localhost", **self.headers, **headers}
        head = "\r\n".join([line, *(f"{name}: {value}" for name, value in pairs.items())])
        with socket.create_connection(("127.0.0.1", self.server.port), PATIENCE) as sock:
            sock.sendall(head.encode() + b"\r\n\r\n" + body)
            yield sock


def listen(box: Box) -> int:
    """Have a `LISTENER` run in a sandbox; return its port."""
    assert box.write("listener.py", LISTENER.encode()).status_code == 204
    started = "python3 listener.py > port 2>&1 &"
    line = f'{started} until read port < port && [ -n "$port" ]; do sleep 0.01; done; echo $port'
    return int(box.sh(f"touch port; {line}")["stdout"])


def _stream(scene: Scene) -> Iterator[Callable[[], str]]:
    with scene.websocket("/exec/stream") as connection:
        begin = {"type": "start", "cmd": "sh", "args": ["-c", "echo on; sleep 1001"]}
        connection.send(json.dumps(begin))
        assert [_next(connection)["type"] for _ in range(2)] == ["start", "stdout"]
        yield lambda: _last(connection)


def _flood(scene: Scene) -> Iterator[Callable[[], str]]:
    """A client that does not read what it is sent, and cannot be told anything."""
    with scene.websocket("/exec/stream") as connection:
        connection.send(json.dumps({"type": "start", "cmd": "yes"}))
        assert _next(connection)["type"] == "start"
        yield lambda: _drained(connection)


def _terminal(scene: Scene) -> Iterator[Callable[[], str]]:
    with scene.websocket("/pty") as connection:
        begin = {"type": "start", "cmd": "sleep", "args": ["1002"], "scrollback": True}
        connection.send(json.dumps(begin))
        assert _next(connection)["type"] == "started"
        yield lambda: _last(connection)


def _process(scene: Scene) -> Iterator[Callable[[], str]]:
    made = scene.box.post("/exec", cmd="sleep", args=["1003"], background=True).json()
    with scene.websocket(f"/processes/{made['tag']}/stream") as connection:
        assert _next(connection)["type"] == "start"
        yield lambda: _last(connection)


def _command(scene: Scene) -> Iterator[Callable[[], str]]:
    with scene.client() as client:
        body = {"cmd": "sleep", "args": ["1004"], "timeout_sec": 600}
        answer = _POOL.submit(client.post, scene.box.url("/exec"), json=body)
        _until_runs(scene.box, "sleep 1004")
        yield lambda: _refusal(answer.result(PATIENCE), begun=True)


def _download(scene: Scene) -> Iterator[Callable[[], str]]:
    assert scene.box.sh("truncate -s 1G large")["exit_code"] == 0
    with (
        scene.client() as client,
        client.stream("POST", scene.box.url("/files/read"), json={"path": "large"}) as answer,
    ):
        assert answer.status_code == 200
        pieces = answer.iter_raw()
        assert next(pieces)
        yield lambda: _cut(pieces)


def _upload(scene: Scene) -> Iterator[Callable[[], str]]:
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nhalf'
    length = {"Content-Type": "multipart/form-data; boundary=b", "Content-Length": "9999"}
    line = f"POST {scene.box.url('/files/stream/write')}?path=half HTTP/1.1"
    with scene.raw(line, part, **length) as sock:
        yield lambda: answer(sock)
    assert scene.box.sh("ls")["stdout"].count("half") == 0


def _body(scene: Scene) -> Iterator[Callable[[], str]]:
    """A request that is slow to say what it wants."""
    line = f"POST {scene.box.url('/exec')} HTTP/1.1"
    with scene.raw(line, b'{"cmd": "touch", ', **{"Content-Length": "9999"}) as sock:
        yield lambda: answer(sock)


def _tunnel(scene: Scene) -> Iterator[Callable[[], str]]:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade |= {"Sec-WebSocket-Key": "x" * 22 + "==", "Host": f"{scene.port}-{scene.box.id}.test"}
    with scene.raw("GET / HTTP/1.1", **upgrade) as sock:
        assert _read(sock, b"hello").startswith(b"HTTP/1.1 101 ")
        yield lambda: _rest(sock)


def _long_answer(scene: Scene) -> Iterator[Callable[[], str]]:
    host = f"{scene.port}-{scene.box.id}.test"
    with scene.raw("GET / HTTP/1.1", Host=host) as sock:
        assert _read(sock, b"hello").startswith(b"HTTP/1.1 200 ")
        yield lambda: _rest(sock)


FOR_ALL: Mapping[str, Beginning] = {
    "stream": _stream,
    "flood": _flood,
    "terminal": _terminal,
    "process": _process,
    "command": _command,
    "download": _download,
    "upload": _upload,
    "body": _body,
}
"""What tokens and keys can begin."""

FOR_KEYS: Mapping[str, Beginning] = {"tunnel": _tunnel, "long answer": _long_answer}
"""What keys alone can begin."""


def begin(scene: Scene, stack: contextlib.ExitStack, *names: str) -> dict[str, Callable[[], str]]:
    """Begin these, or everything; return what waits for the end of each, and says how it came."""
    kinds = {**FOR_ALL, **(FOR_KEYS if "X-API-Key" in scene.headers else {})}
    return {
        name: stack.enter_context(contextlib.contextmanager(kind)(scene))
        for name, kind in kinds.items()
        if name in (names or kinds)
    }


def expected(names: Mapping[str, object], code: str) -> dict[str, str]:
    """Return how everything ends that was ended for a reason with this code."""
    silent = {"flood", "download", *FOR_KEYS}
    return {name: CUT if name in silent else code for name in names}


def _next(connection: ClientConnection) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(connection.recv(PATIENCE))
    return event


def _last(connection: ClientConnection) -> str:
    """Return the code of the error that ends a conversation."""
    event: dict[str, Any] = {}
    with contextlib.suppress(ConnectionClosedOK):
        while True:
            event = _next(connection)
    assert connection.close_code == 1000
    assert event["type"] == "error", event
    assert event["data"].endswith("What went on was ended.")
    return str(event["code"])


def _drained(connection: ClientConnection) -> str:
    with contextlib.suppress(ConnectionClosed):
        while True:
            _ = connection.recv(PATIENCE)
    return CUT


def _refusal(response: httpx.Response, *, begun: bool = False) -> str:
    assert response.status_code in (401, 403), response.text
    if begun:  # it would look as if nothing had been done
        assert response.headers["x-sandlot-outcome"] == "unknown"
    return str(response.json()["error"]["code"])


def answer(sock: socket.socket) -> str:
    """Return the code of the refusal that comes."""
    head, _, body = _read(sock, b"\r\n\r\n").partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    while len(body) < int(headers["content-length"]):
        body += sock.recv(65536)
    return _refusal(httpx.Response(int(status.split()[1]), content=body))


def _cut(pieces: Iterator[bytes]) -> str:
    try:
        for _ in pieces:
            pass
    except httpx.RemoteProtocolError:
        return CUT
    return "complete"


def _rest(sock: socket.socket) -> str:
    try:
        return sock.recv(1).decode() or CUT
    except ConnectionResetError:
        return CUT


def _read(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        piece = sock.recv(65536)
        assert piece, data
        data += piece
    return data


def _until_runs(box: Box, command: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not box.running(command):
        assert time.monotonic() < deadline, "it does not run"
