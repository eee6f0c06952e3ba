"""Small servers that run in sandboxes, written out in the tests that need them."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import websockets
from harness import KEY, PATIENCE, Box, ServerProcess
from websockets.sync.client import ClientConnection, connect

PRELUDE = '''
import base64, http.server, json, os, socket, struct, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

def say(*words):
    """Tell the test something."""
    sys.stdout.write(" ".join(map(str, words)) + "\\n")

def listen(handle, host="127.0.0.1"):
    """Serve connections, a thread each, by a function of a socket."""
    listener = socket.create_server((host, 0))
    listener.listen(300)
    say(listener.getsockname()[1])
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=handle, args=(peer,), daemon=True).start()

def head(peer):
    """Read up to the end of a head; return it with what came after it."""
    data = b""
    while b"\\r\\n\\r\\n" not in data:
        piece = peer.recv(65536)
        if not piece:
            return data, b""
        data += piece
    found, _, rest = data.partition(b"\\r\\n\\r\\n")
    return found, rest

def reset(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()

def serve_http(handler):
    """Serve HTTP by a subclass of BaseHTTPRequestHandler."""
    handler.protocol_version = "HTTP/1.1"
    handler.log_message = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    say(server.server_address[1])
    server.serve_forever()
'''

ECHO = """
class Echo(BaseHTTPRequestHandler):
    def answer(self):
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
        text = json.dumps({
            "line": self.requestline,
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "body": body.decode("latin-1"),
            "peer": self.client_address[1],
        }).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

serve_http(Echo)
"""
"""Answers with what it was asked."""

WEBSOCKET = """
sys.path.insert(0, "websockets.zip")
from websockets.sync.server import serve

def talk(connection):
    connection.send(json.dumps([[k.lower(), v] for k, v in connection.request.headers.raw_items()]))
    for message in connection:
        connection.send(message)
    say("closed", connection.close_code)

def quick(connection):
    talk(connection)

with serve(talk, "127.0.0.1", 0, max_size=None, compression=None,
           ping_interval=None) as server:
    say(server.socket.getsockname()[1])
    server.serve_forever()
"""
"""Sends the headers of the handshake, then whatever it gets."""


class Program:
    """A running program that listens, and how the outside world reaches it."""

    def __init__(
        self,
        server: ServerProcess,
        box: Box,
        key: str | None,
        stream: ClientConnection | None = None,
        port: int | None = None,
    ) -> None:
        self.server = server
        self.box = box
        self.key = key
        self._stream = stream
        self._words = ""
        self.port = int(self.hear()) if port is None else port

    @property
    def host(self) -> str:
        """The host header that leads here."""
        return f"{self.port}-{self.box.id}.sandbox.test:{self.server.port}"

    def hear(self) -> str:
        """Return the next line that the program says."""
        assert self._stream is not None
        while "\n" not in self._words:
            event = json.loads(self._stream.recv(PATIENCE))
            assert event["type"] in ("start", "stdout"), event
            self._words += event.get("data", "")
        line, _, self._words = self._words.partition("\n")
        return line

    def kill(self) -> None:
        """End the program and everything that it holds."""
        assert self._stream is not None
        self._stream.close()

    def client(self, **options: Any) -> httpx.Client:
        """Return a client of the program."""
        headers = {"Host": self.host, **({} if self.key is None else {"X-API-Key": self.key})}
        return httpx.Client(
            base_url=self.server.url,
            headers={**headers, **options.pop("headers", {})},
            timeout=options.pop("timeout", PATIENCE),
            **options,
        )

    def raw(self, data: bytes = b"") -> socket.socket:
        """Return a connection to the server, with this sent already."""
        sock = socket.create_connection(("127.0.0.1", self.server.port), PATIENCE)
        sock.sendall(data)
        return sock

    def head(self, line: str = "GET / HTTP/1.1", **headers: str) -> bytes:
        """Return the head of a request to the program."""
        pairs = {"Host": self.host, "X-API-Key": KEY, **headers}
        lines = [line, *(f"{name.replace('_', '-')}: {value}" for name, value in pairs.items())]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"

    def websocket(self, path: str = "/", **options: Any) -> connect:
        """Return a connection to the program, to be entered."""
        headers = {} if self.key is None else {"X-API-Key": self.key}
        return connect(
            f"ws://{self.host}{path}",
            address=("127.0.0.1", self.server.port),
            additional_headers={**headers, **options.pop("headers", {})},
            compression=None,
            max_size=None,
            proxy=None,
            open_timeout=PATIENCE,
            **options,
        )


@contextlib.contextmanager
def run_program(
    server: ServerProcess, box: Box, source: str, key: str | None = KEY
) -> Iterator[Program]:
    """Run a program for as long as the block lasts; the first thing it says is its port."""
    name = _install(box, source)
    _ = box.client.headers.setdefault("X-API-Key", "")
    with box.stream(max_queue=None) as stream:
        stream.send(json.dumps({"type": "start", "cmd": "python3", "args": ["-u", name]}))
        yield Program(server, box, key, stream)


def leave_program(server: ServerProcess, box: Box, source: str) -> Program:
    """Start a program that nobody watches, so that nothing happens in the sandbox but by it."""
    name = _install(box, source)
    wait = 'until read port < words && [ -n "$port" ]; do sleep 0.01; done; echo $port'
    result = box.sh(f"touch words; python3 -u {name} > words 2>&1 & {wait}")
    return Program(server, box, KEY, port=int(result["stdout"]))


def _install(box: Box, source: str) -> str:
    name = f"program-{id(source)}.py"
    assert box.write(name, (PRELUDE + source).encode()).status_code == 204
    if "websockets.zip" in source:
        assert box.write("websockets.zip", _package()).status_code == 204
    return name


def _package() -> bytes:
    """Return the package `websockets` as what Python can import from."""
    file = io.BytesIO()
    root = Path(websockets.__file__).parent
    with zipfile.ZipFile(file, "w") as archive:
        for path in root.rglob("*.py"):
            archive.write(path, path.relative_to(root.parent))
    return file.getvalue()


def read_all(sock: socket.socket) -> bytes:
    """Read to the end."""
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data


def read_until(sock: socket.socket, wanted: bytes) -> bytes:
    """Read until something has come."""
    data = b""
    while wanted not in data:
        piece = sock.recv(65536)
        assert piece, f"the end came after {data!r}"
        data += piece
    return data
