"""Perform operations, awaiting. asyncio is imported when somebody awaits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

import httpx

from .._flow import Flow, Pause, Port, Request, Response, Step, Undo
from .._retry import Retry, retrying
from .._revisions import located
from ..errors import TransportError
from .common import (
    ONCE,
    UNDO_RETRY,
    UNDO_TOTAL,
    Common,
    Endpoint,
    Local,
    build,
    length,
    log,
    logger,
)
from .ports import AsyncPortTransport

if TYPE_CHECKING:
    import asyncio

    from .._sockets import AsyncSocket

T = TypeVar("T")


class AsyncTransport(Common):
    """Performs operations, awaiting. Tasks may share it, and event loops too, one or several."""

    def __init__(self, endpoint: Endpoint | None, retry: Retry, local: Local | None = None) -> None:
        super().__init__(endpoint, retry, local)
        # Connections belong to the event loop they were made in, so each loop has its own.
        self._bound: dict[asyncio.AbstractEventLoop, _Bound] = {}
        self._sockets: WeakSet[AsyncSocket] = WeakSet()
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
                answer = await http.send(build(http, request), stream=True)
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

    async def socket(
        self, flow: Flow[None], subprotocol: str, patience: float | None = None
    ) -> AsyncSocket:
        """Perform an operation that opens a WebSocket; return the connection.

        With `patience` it is tried but once, for so many seconds.
        """
        from .._sockets import AsyncSocket, async_open_socket

        opened: list[AsyncSocket] = []

        async def send(request: Request) -> Response:
            if not request.stream:
                return await self._send(request)
            _ = await self._ready()
            try:
                answer = await async_open_socket(self._address(request, subprotocol, patience))
            except TransportError as exc:
                raise self._with_loss(exc) from exc
            if isinstance(answer, AsyncSocket):
                self._sockets.add(answer)
                opened.append(answer)
                return Response(101)
            return answer

        await self._drive(flow, send, self._retry if patience is None else ONCE)
        return opened[-1]

    def port_client(self, port: Port) -> httpx.AsyncClient:
        """Return a client of the program that listens on a port."""
        door, headers, options = self._port_options(port)
        transport = AsyncPortTransport(door, headers, self._ready)
        return httpx.AsyncClient(transport=transport, **options)

    async def begin(self) -> None:
        """Start the server of one's own, if there is one."""
        _ = await self._ready()

    async def aclose(self) -> None:
        """Close all connections, from whatever event loop. May be repeated."""
        import asyncio

        self._closed = True
        for socket in list(self._sockets):
            socket.abandon()
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
            endpoint = self._endpoint
            if endpoint is None:
                # Starting a server takes a while, in which another task may come here too.
                endpoint = await asyncio.to_thread(self._begun)
            bound = self._bound.get(loop) or await self._bind(loop, endpoint)
        return bound.http

    async def _bind(self, loop: asyncio.AbstractEventLoop, endpoint: Endpoint) -> _Bound:
        for other in list(self._bound):
            if other.is_closed():
                _ = self._bound.pop(other, None)
        http = httpx.AsyncClient(**self._options(endpoint))
        bound = _Bound(http, _lifetime(http))
        # Begun, the generator is closed by `asyncio.run` at its end, and the connections with
        # it, although they belong to a client that lives on.
        _ = await anext(bound.lifetime)
        self._bound[loop] = bound
        return bound

    async def _drive(
        self, flow: Flow[T], send: Callable[[Request], Awaitable[Response]], retry: Retry
    ) -> T:
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
        task: asyncio.Task[object] = loop.create_task(self._drive(undo(), self._send, UNDO_RETRY))
        self._undoing.add(task)
        task.add_done_callback(self._undone)
        return task

    def _undone(self, task: asyncio.Task[object]) -> None:
        self._undoing.discard(task)
        if task.cancelled():
            logger.warning("an interrupted call could not be undone within %g s", UNDO_TOTAL)
        elif (exc := task.exception()) is not None:
            logger.warning("an interrupted call could not be undone: %s", exc)

    async def _undo(self, undo: Callable[[], Flow[object]]) -> None:
        """Undo, whoever wants to cancel this too, but not for ever."""
        import asyncio

        task = self._begin_undo(undo)
        give_up = time.monotonic() + UNDO_TOTAL
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
            answer = await http.send(build(http, request))
        log(request, answer)
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
        return length(self._answer)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._transport.translated(self._request):
            async for piece in self._answer.aiter_bytes():
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


async def _async_wait(step: Step) -> float | None:
    if isinstance(step, Pause):
        import asyncio

        await asyncio.sleep(step.seconds)
        return None
    return time.monotonic()
