"""Perform operations, blocking."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

import httpx

from .._flow import Flow, Pause, Port, Request, Response, Step, Undo
from .._retry import Retry, retrying
from .._revisions import located
from ..errors import SandlotError, TransportError
from .common import ONCE, UNDO_RETRY, Common, Endpoint, Local, build, length, log, logger
from .ports import PortTransport

if TYPE_CHECKING:
    from .._sockets import Socket

T = TypeVar("T")


class Transport(Common):
    """Performs operations, blocking the calling thread. Threads may share it."""

    def __init__(self, endpoint: Endpoint | None, retry: Retry, local: Local | None = None) -> None:
        super().__init__(endpoint, retry, local)
        self._http: httpx.Client | None = None
        self._lock = threading.Lock()
        self._sockets: WeakSet[Socket] = WeakSet()

    def run(self, flow: Flow[T]) -> T:
        """Perform an operation; return its result."""
        return self._drive(flow, self._send, self._retry)

    def begin(self) -> None:
        """Start the server of one's own, if there is one."""
        _ = self._ready()

    @contextmanager
    def stream(self, flow: Flow[None]) -> Generator[Incoming]:
        """Perform an operation that opens a stream; yield the stream."""
        opened: list[tuple[Request, httpx.Response]] = []

        def send(request: Request) -> Response:
            if not request.stream:
                return self._send(request)
            http = self._ready()
            with self.translated(request):
                answer = http.send(build(http, request), stream=True)
                opened.append((request, answer))
                content = answer.read() if answer.status_code >= 300 else b""
            return Response(answer.status_code, content, answer.headers)

        try:
            self._drive(flow, send, self._retry)
            request, answer = opened[-1]
            yield Incoming(self, answer, request)
        finally:
            for _, answer in opened:
                answer.close()

    def socket(self, flow: Flow[None], subprotocol: str, patience: float | None = None) -> Socket:
        """Perform an operation that opens a WebSocket; return the connection.

        With `patience` it is tried but once, for so many seconds.
        """
        from .._sockets import Socket, open_socket

        opened: list[Socket] = []

        def send(request: Request) -> Response:
            if not request.stream:
                return self._send(request)
            _ = self._ready()
            try:
                answer = open_socket(self._address(request, subprotocol, patience))
            except TransportError as exc:
                raise self._with_loss(exc) from exc
            if isinstance(answer, Socket):
                self._sockets.add(answer)
                opened.append(answer)
                return Response(101)
            return answer

        self._drive(flow, send, self._retry if patience is None else ONCE)
        return opened[-1]

    def port_client(self, port: Port) -> httpx.Client:
        """Return a client of the program that listens on a port."""
        door, headers, options = self._port_options(port)
        return httpx.Client(transport=PortTransport(door, headers, self._ready), **options)

    def close(self) -> None:
        """Close all connections. May be repeated."""
        self._closed = True
        for socket in list(self._sockets):
            socket.abandon()
        if self._http is not None:
            self._http.close()
        if self._local is not None:
            self._local.close()

    def _ready(self) -> httpx.Client:
        self._refuse_closed()
        if self._http is None:
            with self._lock:
                if self._http is None:
                    self._http = httpx.Client(**self._options(self._begun()))
        return self._http

    def _drive(self, flow: Flow[T], send: Callable[[Request], Response], retry: Retry) -> T:
        steps = located(retrying(flow, retry), self.server)
        undo: Callable[[], Flow[object]] | None = None
        try:
            step = next(steps)
            while True:
                if isinstance(step, Undo):
                    undo = step.flow
                    step = next(steps)
                    continue
                try:
                    reply = send(step) if isinstance(step, Request) else _wait(step)
                except TransportError as exc:
                    step = steps.throw(exc)
                else:
                    step = steps.send(reply)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except Exception:
            raise
        except BaseException:  # Ctrl-C and its like
            if undo is not None:
                self._undo(undo)
            raise
        finally:
            steps.close()

    def _undo(self, undo: Callable[[], Flow[object]]) -> None:
        try:
            _ = self._drive(undo(), self._send, UNDO_RETRY)
        except SandlotError as exc:
            logger.warning("an interrupted call could not be undone: %s", exc)

    def _send(self, request: Request) -> Response:
        http = self._ready()
        with self.translated(request):
            answer = http.send(build(http, request))
        log(request, answer)
        return Response(answer.status_code, answer.content, answer.headers)


class Incoming:
    """A response that is read piece by piece, blocking."""

    def __init__(self, transport: Transport, answer: httpx.Response, request: Request) -> None:
        self._transport = transport
        self._answer = answer
        self._request = request

    @property
    def length(self) -> int | None:
        """Bytes to come, if the server says so."""
        return length(self._answer)

    def __iter__(self) -> Iterator[bytes]:
        with self._transport.translated(self._request):
            yield from self._answer.iter_bytes()


def _wait(step: Step) -> float | None:
    if isinstance(step, Pause):
        time.sleep(step.seconds)
        return None
    return time.monotonic()
