"""Perform operations over HTTP, blocking or awaiting: the only module that knows httpx."""

from __future__ import annotations

import contextlib
import logging
import ssl
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import httpx

from ._flow import Flow, Pause, Request, Response, Server, Step, Undo, encode
from ._multipart import Multipart
from ._retry import Retry, retrying
from .errors import (
    ConfigurationError,
    ConnectError,
    InvalidArgumentError,
    RequestTimeoutError,
    SandlotError,
    TransportError,
)

if TYPE_CHECKING:
    import asyncio

    from ._sockets import Address, AsyncSocket, Socket

T = TypeVar("T")
logger = logging.getLogger("sandlot.transport")

_CONNECT_TIMEOUT = 10.0
_KEEPALIVE = 4.0
"""Seconds that an unused connection is kept; many servers drop theirs after 5, and a request that
crosses with that has an unknown outcome."""
_LIMITS = httpx.Limits(
    max_connections=None, max_keepalive_connections=100, keepalive_expiry=_KEEPALIVE
)
_UNDO_RETRY = Retry(attempts=2, total=2.0)
_UNDO_TOTAL = 10.0
"""Seconds in which an abandoned operation must be undone."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server and how to talk to it."""

    base_url: str
    headers: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout: float = 30.0
    ca_bundle: str | None = None
    proxy: str | None = field(default=None, repr=False)
    trust_environment: bool = True
    """Use the proxies that the environment names."""

    def tls(self) -> ssl.SSLContext | None:
        """Make what is needed for TLS, if it is; reading all those certificates takes a while."""
        if self.ca_bundle is not None:
            try:
                return ssl.create_default_context(cafile=self.ca_bundle)
            except (OSError, ssl.SSLError) as exc:
                raise ConfigurationError(
                    f"ca_bundle {self.ca_bundle!r} cannot be used: {exc}"
                ) from exc
        if self.base_url.startswith("https:") or (self.proxy or "").startswith("https:"):
            return httpx.create_ssl_context()
        return None


class Local(Protocol):
    """A server of one's own, that a transport starts and stops."""

    def start(self) -> Endpoint:
        """Return where it listens, starting it the first time."""
        ...

    def explain_loss(self) -> str | None:
        """Say why it is gone; None while it runs."""
        ...

    def close(self) -> None:
        """Stop it."""
        ...


class _Common:
    """What does not depend on the colour."""

    def __init__(self, endpoint: Endpoint | None, retry: Retry, local: Local | None) -> None:
        self.server = Server()
        self._endpoint = endpoint
        self._retry = retry
        self._local = local
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    @property
    def where(self) -> str:
        """The server's address, for people."""
        return "a server of its own" if self._endpoint is None else self._endpoint.base_url

    def _options(self, endpoint: Endpoint) -> dict[str, Any]:
        if self._tls is None:
            self._tls = endpoint.tls()
        return {
            "base_url": endpoint.base_url,
            "headers": endpoint.headers,
            "limits": _LIMITS,
            "proxy": endpoint.proxy,
            "timeout": _timeout(endpoint.timeout),
            "trust_env": endpoint.trust_environment,
            # Without TLS there is nothing to verify, and nothing to load certificates for.
            "verify": self._tls if self._tls is not None else False,
        }

    def _address(self, request: Request, subprotocol: str) -> Address:
        from ._sockets import Address  # websockets is imported with the first stream

        endpoint = self._endpoint
        assert endpoint is not None
        if self._tls is None:
            self._tls = endpoint.tls()
        return Address(
            "ws" + endpoint.base_url.removeprefix("http") + request.path,
            endpoint.headers,
            subprotocol,
            _CONNECT_TIMEOUT,
            self._tls if endpoint.base_url.startswith("https:") else None,
            endpoint.proxy or (True if endpoint.trust_environment else None),
        )

    def _begun(self) -> Endpoint:
        if self._endpoint is None:
            assert self._local is not None
            self._endpoint = self._local.start()
        return self._endpoint

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ConfigurationError("The client is closed; make another one")

    def _with_loss(self, error: TransportError) -> TransportError:
        """Add to an error that one's own server is gone, if it is."""
        if self._local is not None and (loss := self._local.explain_loss()):
            error.args = (f"{error}. {loss}",)
        return error

    def _failure(self, request: Request, exc: httpx.HTTPError | httpx.InvalidURL) -> SandlotError:
        what = f"{request.method} {request.path}"
        reason = str(exc) or type(exc).__name__
        if isinstance(exc, httpx.InvalidURL | httpx.UnsupportedProtocol):
            return ConfigurationError(f"{what}: base_url cannot be used: {reason}")
        if isinstance(exc, httpx.LocalProtocolError):
            return InvalidArgumentError(f"{what} cannot be sent: {reason}")
        return self._with_loss(_transport_error(request, exc))

    @contextmanager
    def translated(self, request: Request) -> Generator[None]:
        """Turn what httpx raises into what this library raises."""
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise self._failure(request, exc) from exc
        except RuntimeError as exc:
            if self._closed:  # by another thread, meanwhile
                raise ConfigurationError("The client was closed") from exc
            raise


class Transport(_Common):
    """Performs operations, blocking the calling thread. Threads may share it."""

    def __init__(self, endpoint: Endpoint | None, retry: Retry, local: Local | None = None) -> None:
        super().__init__(endpoint, retry, local)
        self._http: httpx.Client | None = None
        self._lock = threading.Lock()

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
                answer = http.send(_build(http, request), stream=True)
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

    def socket(self, flow: Flow[None], subprotocol: str) -> Socket:
        """Perform an operation that opens a WebSocket; return the connection."""
        from ._sockets import Socket, open_socket

        opened: list[Socket] = []

        def send(request: Request) -> Response:
            if not request.stream:
                return self._send(request)
            _ = self._ready()
            try:
                answer = open_socket(self._address(request, subprotocol))
            except TransportError as exc:
                raise self._with_loss(exc) from exc
            if isinstance(answer, Socket):
                opened.append(answer)
                return Response(101)
            return answer

        self._drive(flow, send, self._retry)
        return opened[-1]

    def close(self) -> None:
        """Close all connections. May be repeated."""
        self._closed = True
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
        steps = retrying(flow, retry)
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
            _ = self._drive(undo(), self._send, _UNDO_RETRY)
        except SandlotError as exc:
            logger.warning("an interrupted call could not be undone: %s", exc)

    def _send(self, request: Request) -> Response:
        http = self._ready()
        with self.translated(request):
            answer = http.send(_build(http, request))
        _log(request, answer)
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
        return _length(self._answer)

    def __iter__(self) -> Iterator[bytes]:
        with self._transport.translated(self._request):
            yield from self._answer.iter_raw()


class AsyncTransport(_Common):
    """Performs operations, awaiting. Tasks may share it, and event loops too, one or several."""

    def __init__(self, endpoint: Endpoint | None, retry: Retry, local: Local | None = None) -> None:
        super().__init__(endpoint, retry, local)
        # Connections belong to the event loop they were made in, so each loop has its own.
        self._bound: dict[asyncio.AbstractEventLoop, _Bound] = {}
        self._undoing: set[asyncio.Task[object]] = set()

    async def run(self, flow: Flow[T]) -> T:
        """Perform an operation; return its result."""
        return await self._drive(flow, self._send, self._retry)

    @asynccontextmanager
    async def stream(self, flow: Flow[None]) -> AsyncGenerator[AsyncIncoming]:
        """Perform an operation that opens a stream; yield the stream."""
        opened: list[tuple[Request, httpx.Response]] = []

        async def send(request: Request) -> Response:
            if not request.stream:
                return await self._send(request)
            http = await self._ready()
            with self.translated(request):
                answer = await http.send(_build(http, request), stream=True)
                opened.append((request, answer))
                content = await answer.aread() if answer.status_code >= 300 else b""
            return Response(answer.status_code, content, answer.headers)

        try:
            await self._drive(flow, send, self._retry)
            request, answer = opened[-1]
            yield AsyncIncoming(self, answer, request)
        finally:
            for _, answer in opened:
                await answer.aclose()

    async def socket(self, flow: Flow[None], subprotocol: str) -> AsyncSocket:
        """Perform an operation that opens a WebSocket; return the connection."""
        from ._sockets import AsyncSocket, async_open_socket

        opened: list[AsyncSocket] = []

        async def send(request: Request) -> Response:
            if not request.stream:
                return await self._send(request)
            _ = await self._ready()
            try:
                answer = await async_open_socket(self._address(request, subprotocol))
            except TransportError as exc:
                raise self._with_loss(exc) from exc
            if isinstance(answer, AsyncSocket):
                opened.append(answer)
                return Response(101)
            return answer

        await self._drive(flow, send, self._retry)
        return opened[-1]

    async def begin(self) -> None:
        """Start the server of one's own, if there is one."""
        _ = await self._ready()

    async def aclose(self) -> None:
        """Close all connections, from whatever event loop. May be repeated."""
        import asyncio

        self._closed = True
        here = asyncio.get_running_loop()
        for loop, bound in list(self._bound.items()):
            _ = self._bound.pop(loop, None)
            if loop is here:
                await bound.lifetime.aclose()
            elif loop.is_running():
                await asyncio.wrap_future(
                    asyncio.run_coroutine_threadsafe(bound.http.aclose(), loop)
                )
        if self._local is not None:
            await asyncio.to_thread(self._local.close)

    async def _ready(self) -> httpx.AsyncClient:
        import asyncio

        self._refuse_closed()
        loop = asyncio.get_running_loop()
        bound = self._bound.get(loop)
        if bound is None:
            endpoint = await asyncio.to_thread(self._begun)
            for other in list(self._bound):
                if other.is_closed():
                    _ = self._bound.pop(other, None)
            http = httpx.AsyncClient(**self._options(endpoint))
            bound = _Bound(http, _lifetime(http))
            # Begun, the generator is closed by `asyncio.run` at its end, and the connections with
            # it, although they belong to a client that lives on.
            _ = await anext(bound.lifetime)
            self._bound[loop] = bound
        return bound.http

    async def _drive(
        self, flow: Flow[T], send: Callable[[Request], Awaitable[Response]], retry: Retry
    ) -> T:
        steps = retrying(flow, retry)
        undo: Callable[[], Flow[object]] | None = None
        try:
            step = next(steps)
            while True:
                if isinstance(step, Undo):
                    undo = step.flow
                    step = next(steps)
                    continue
                try:
                    reply = await (send(step) if isinstance(step, Request) else _async_wait(step))
                except TransportError as exc:
                    step = steps.throw(exc)
                else:
                    step = steps.send(reply)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except Exception:
            raise
        except GeneratorExit:  # nobody awaits any more; only a task of its own can still do it
            if undo is not None:
                _ = self._begin_undo(undo)
            raise
        except BaseException:  # cancellation and its like
            if undo is not None:
                await self._undo(undo)
            raise
        finally:
            steps.close()

    def _begin_undo(self, undo: Callable[[], Flow[object]]) -> asyncio.Task[object] | None:
        import asyncio

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            logger.warning("an abandoned call could not be undone: its event loop has ended")
            return None
        task: asyncio.Task[object] = loop.create_task(self._drive(undo(), self._send, _UNDO_RETRY))
        self._undoing.add(task)
        task.add_done_callback(self._undone)
        return task

    def _undone(self, task: asyncio.Task[object]) -> None:
        self._undoing.discard(task)
        if task.cancelled():
            logger.warning("an interrupted call could not be undone within %g s", _UNDO_TOTAL)
        elif (exc := task.exception()) is not None:
            logger.warning("an interrupted call could not be undone: %s", exc)

    async def _undo(self, undo: Callable[[], Flow[object]]) -> None:
        """Undo, whoever wants to cancel this too, but not for ever."""
        import asyncio

        task = self._begin_undo(undo)
        give_up = time.monotonic() + _UNDO_TOTAL
        while task is not None and not task.done():
            left = give_up - time.monotonic()
            if left <= 0:
                _ = task.cancel()
                return
            with contextlib.suppress(asyncio.CancelledError):
                _ = await asyncio.wait({task}, timeout=left)

    async def _send(self, request: Request) -> Response:
        http = await self._ready()
        with self.translated(request):
            answer = await http.send(_build(http, request))
        _log(request, answer)
        return Response(answer.status_code, answer.content, answer.headers)


class AsyncIncoming:
    """A response that is read piece by piece, awaiting."""

    def __init__(self, transport: AsyncTransport, answer: httpx.Response, request: Request) -> None:
        self._transport = transport
        self._answer = answer
        self._request = request

    @property
    def length(self) -> int | None:
        """Bytes to come, if the server says so."""
        return _length(self._answer)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._transport.translated(self._request):
            async for piece in self._answer.aiter_raw():
                yield piece


@dataclass(frozen=True, slots=True)
class _Bound:
    """What belongs to one event loop."""

    http: httpx.AsyncClient
    lifetime: AsyncGenerator[None]


async def _lifetime(http: httpx.AsyncClient) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await http.aclose()


def _build(http: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
    headers = dict(request.headers)
    content: Any = None
    if request.upload is not None:
        body = Multipart(request.upload)
        headers |= body.headers
        content = body.whole()
        if content is None:
            content = body.pieces() if isinstance(http, httpx.Client) else body.async_pieces()
    elif request.body is not None:
        headers["Content-Type"] = "application/json"
        content = encode(request.body)
    if request.stream:
        headers["Accept-Encoding"] = "identity"  # so that Content-Length counts what arrives
    return http.build_request(
        request.method,
        request.path,
        content=content,
        headers=headers,
        params=request.params or None,
        timeout=http.timeout if request.timeout is None else _timeout(request.timeout),
    )


def _transport_error(request: Request, exc: httpx.HTTPError) -> TransportError:
    what = f"{request.method} {request.path}"
    reason = str(exc) or type(exc).__name__
    if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return ConnectError(
            f"{what}: the server cannot be reached, nothing was sent: {reason}", is_retryable=True
        )
    if isinstance(exc, httpx.PoolTimeout):
        return RequestTimeoutError(
            f"{what}: no connection became free, nothing was sent", is_retryable=True
        )
    again = request.is_idempotent
    advice = "it may be repeated" if again else "look before you repeat it"
    if isinstance(exc, httpx.TimeoutException):
        return RequestTimeoutError(
            f"{what}: no answer in time; it may have taken effect, {advice}: {reason}",
            outcome="unknown",
            is_retryable=again,
        )
    return TransportError(
        f"{what}: the connection ended without a whole answer; it may have taken effect,"
        f" {advice}: {reason}",
        outcome="unknown",
        is_retryable=again,
    )


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_TIMEOUT))


def _wait(step: Step) -> float | None:
    if isinstance(step, Pause):
        time.sleep(step.seconds)
        return None
    return time.monotonic()


async def _async_wait(step: Step) -> float | None:
    if isinstance(step, Pause):
        import asyncio

        await asyncio.sleep(step.seconds)
        return None
    return time.monotonic()


def _length(answer: httpx.Response) -> int | None:
    value = answer.headers.get("content-length", "")
    return int(value) if value.isdecimal() else None


def _log(request: Request, answer: httpx.Response) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(
            "%s %s -> %d (%s)",
            request.method,
            request.path,
            answer.status_code,
            answer.headers.get("x-request-id", "no request id"),
        )
