"""A way to a server that breaks off where a test wants it."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Breakage", "Cutter", "cutter"]


@dataclass
class Breakage:
    """Where the connection of a request breaks off.

    Attributes:
        start: How the request begins.
        sent: How many bytes of it the server gets; all if None.
        answered: How many bytes of the answer the client gets.
    """

    start: str
    sent: int | None = None
    answered: int = 0


@dataclass
class Cutter:
    """Passes connections on, and breaks off those of requests that are to be broken, once each."""

    url: str = ""
    broken: int = 0
    _wanted: list[Breakage] = field(default_factory=list[Breakage])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def breaks(self, breakage: Breakage) -> None:
        """Break off the next request that begins like this."""
        with self._lock:
            self._wanted.append(breakage)

    def find(self, data: bytes) -> Breakage | None:
        with self._lock:
            for each in self._wanted:
                if data.startswith(each.start.encode() + b" "):
                    self._wanted.remove(each)
                    self.broken += 1
                    return each
        return None


@contextlib.contextmanager
def cutter(port: int) -> Iterator[Cutter]:
    """Listen on loopback, in front of a server that listens there too."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = Cutter(f"http://127.0.0.1:{listener.getsockname()[1]}")
        threads = list[threading.Thread]()
        pairs = list[tuple[socket.socket, socket.socket]]()

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                server = socket.create_connection(("127.0.0.1", port))
                pairs.append((client, server))
                connection = _Connection(there, client, server)
                for work in (connection.ask, connection.answer):
                    threads.append(threading.Thread(target=work))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield there
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for pair in pairs:
                _cut(*pair)
            for thread in threads:
                thread.join()


class _Connection:
    """A connection with at most one request at a time, as HTTP clients do it."""

    def __init__(self, cutter: Cutter, client: socket.socket, server: socket.socket) -> None:
        self._cutter = cutter
        self._client = client
        self._server = server
        self._left: int | None = None  # bytes of the answer that the client still gets

    def ask(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._client.recv(1 << 16):
                breakage = self._cutter.find(data)
                if breakage is not None and breakage.sent is not None:
                    # The server sees an end that is none; the client, a connection that is reset.
                    self._server.sendall(data[: breakage.sent])
                    break
                if breakage is not None:
                    self._left = breakage.answered
                self._server.sendall(data)
        _cut(self._client, self._server)

    def answer(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(1 << 16):
                if self._left is not None:
                    self._client.sendall(data[: self._left])
                    break
                self._client.sendall(data)
        _cut(self._client, self._server)


def _cut(client: socket.socket, server: socket.socket) -> None:
    for each in (client, server):
        with contextlib.suppress(OSError):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.shutdown(socket.SHUT_RDWR)
    # Whoever still reads notices by the shutdown; the last one to leave has nothing to close twice.
    for each in (client, server):
        each.close()
