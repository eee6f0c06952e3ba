"""Receivers of webhooks: real HTTP servers, well-behaved or not."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from harness import PATIENCE, eventually

HERE = "127.0.0.2"
"""An address that servers under test are allowed to send to; 127.0.0.1 is not."""


@dataclass(frozen=True)
class Received:
    """A request that came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content

    @property
    def id(self) -> str:
        return self.headers["x-wrenn-delivery"]


Behaviour = Callable[[BaseHTTPRequestHandler, int], None]
"""Answers a request, given how many came before it to the same path."""


class Receiver:
    """Listens, remembers what comes, and answers as the path says."""

    def __init__(self, host: str = HERE, certificate: Path | None = None) -> None:
        self.received: list[Received] = []
        self.let_go = threading.Event()
        self.fallback: Behaviour = answer(204)
        """How to behave where nothing else is said."""
        self._lock = threading.Lock()
        self._behaviours: dict[str, Behaviour] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._take(self)

            def do_GET(self) -> None:
                receiver._take(self)

            def do_PUT(self) -> None:
                receiver._take(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # the other side may hang up at any time

        self._server = Server((host, 0), Handler)
        self.scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.scheme = "https"
        self.port: int = self._server.server_address[1]
        self.url = f"{self.scheme}://{host}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._thread.join(PATIENCE)
        self._server.server_close()

    def on(self, path: str, behaviour: Behaviour) -> str:
        """Behave like that at a path; return its URL."""
        self._behaviours[path] = behaviour
        return self.url + path

    def at(self, path: str) -> list[Received]:
        with self._lock:
            return [each for each in self.received if each.path.partition("?")[0] == path]

    def wait_for(self, path: str, count: int = 1) -> list[Received]:
        """Wait until so many requests have come to a path, and return them."""
        eventually(lambda: len(self.at(path)) >= count)
        return self.at(path)

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        path = handler.path.partition("?")[0]
        with self._lock:
            before = sum(each.path.partition("?")[0] == path for each in self.received)
            self.received.append(Received(handler.path, headers, body))
        self._behaviours.get(path, self.fallback)(handler, before)


def answer(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Always answer like that; underscores in names of headers stand for hyphens."""

    def behave(handler: BaseHTTPRequestHandler, _before: int) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        if status != 204:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def failing(times: int, status: int = 500, **headers: str) -> Behaviour:
    """Fail so often, and work from then on."""

    def behave(handler: BaseHTTPRequestHandler, before: int) -> None:
        answer(*((status,) if before < times else (200,)), **headers)(handler, before)

    return behave


def hanging(receiver: Receiver, *, times: int = 1 << 30) -> Behaviour:
    """Say nothing, so often, until the test is over."""

    def behave(handler: BaseHTTPRequestHandler, before: int) -> None:
        if before < times:
            _ = receiver.let_go.wait()
        else:
            answer(200)(handler, before)

    return behave


def endless(receiver: Receiver) -> Behaviour:
    """Answer with more than anybody wants to read, for as long as somebody reads."""

    def behave(handler: BaseHTTPRequestHandler, _before: int) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not receiver.let_go.is_set():
            handler.wfile.write(b"x" * 65536)

    return behave


def trickling(receiver: Receiver) -> Behaviour:
    """Answer with a head that never ends, a byte at a time."""

    def behave(handler: BaseHTTPRequestHandler, _before: int) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not receiver.let_go.wait(0.05):
            handler.wfile.write(b"x")

    return behave


def breaking(handler: BaseHTTPRequestHandler, _before: int) -> None:
    """Close the connection without an answer."""
    handler.connection.shutdown(socket.SHUT_RDWR)


def babbling(handler: BaseHTTPRequestHandler, _before: int) -> None:
    """Answer with something that is no HTTP."""
    handler.wfile.write(b"\x00\xff not HTTP at all\r\n\r\n")
