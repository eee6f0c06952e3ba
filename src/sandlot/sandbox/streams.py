"""A command whose output is read while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .._operations import arguments, commands
from .._operations.commands import Command
from .._protocols.exec import SUBPROTOCOL, ExecConversation
from .._transport import AsyncTransport, Transport
from ..errors import SandboxStateError
from ..events import StreamEvent, StreamStderrEvent, StreamStdoutEvent
from ..results import ExecResult
from . import _turns as turns
from ._collector import Collector
from ._talker import Talker

if TYPE_CHECKING:
    from .._sockets import AsyncSocket, Socket

__all__ = ["AsyncExecStream", "ExecStream"]

_STOP_TIMEOUT = 5.0
"""Seconds that a command has to end after it was told to."""


class ExecStream(Talker):
    """A running command: iterate over its events, or wait for its result.

    It starts when it is entered or first used. Leaving the `with` block, or dropping the stream,
    stops everything that it started. Its stdin is empty if the stream is iterated over at once;
    entered or written to, it stays open until `close_stdin` or `wait`.
    """

    def __init__(self, transport: Transport, sandbox_id: str, command: Command) -> None:
        super().__init__(sandbox_id, command)
        self._transport = transport
        self._socket: Socket | None = None
        self._opening = turns.lock()
        self._writing = turns.lock()
        self._turn = turns.condition()

    def write_stdin(self, data: str | bytes) -> None:
        """Give the command something to read, and wait until it has read most of it.

        `CommandError` says that it has ended, or that it waits for its output to be read first.
        """
        self._open(keep_stdin=True)
        self._talk.write_stdin(commands.stdin_bytes(data) or b"")
        self._flush()
        self._pump(self._talk.has_written)
        self._talk.check_written()

    def close_stdin(self) -> None:
        """Tell the command that there is no more to read."""
        self._open(keep_stdin=True)
        self._talk.close_stdin()
        self._flush()

    def signal(self, signal: str | int) -> None:
        """Send a signal, such as `"SIGINT"`, to everything that the command started."""
        name = arguments.signal_name(signal)
        self._open(keep_stdin=True)
        self._talk.signal(name)
        self._flush()

    def kill(self) -> None:
        """Kill everything that the command started, without waiting for its end."""
        self.signal("SIGKILL")

    def stop(self) -> None:
        """Kill everything that the command started, wait for its end, and hang up."""
        socket = self._socket
        if socket is not None and not self._closed:
            try:
                if not self._talk.has_ended():
                    self._talk.stop()
                    self._flush()
                    self._pump(self._talk.has_ended, timeout=_STOP_TIMEOUT, discard=True)
                self._hang_up()
            finally:
                # However that went: a server kills what a client that disconnects had started.
                socket.abort()
        self._closed = True

    def wait(
        self,
        *,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
        max_output_bytes: int | None = None,
    ) -> ExecResult:
        """Close stdin, wait for the end of the command, and return what it did from here on.

        `on_stdout` and `on_stderr` are called with each piece of output; of each stream the first
        `max_output_bytes` are kept, 10 MiB if None. `CommandError`, or `StreamClosedError` which is
        one, says that the command could not be followed to its end.
        """
        collector = Collector(max_output_bytes)
        self.close_stdin()
        for event in self:
            collector.add(event)
            if isinstance(event, StreamStdoutEvent) and on_stdout is not None:
                turns.call(on_stdout, event.data)
            elif isinstance(event, StreamStderrEvent) and on_stderr is not None:
                turns.call(on_stderr, event.data)
        return collector.result(self._talk, self._seconds())

    def __enter__(self) -> Self:
        self._open(keep_stdin=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamEvent:
        self._open(keep_stdin=False)
        self._pump(self._talk.has_news)
        if self._talk.is_told():
            self._hang_up()
        event = self._talk.take()
        if event is None:
            raise StopIteration
        return event

    def __del__(self) -> None:
        if self._socket is not None and not self._closed:
            self._socket.abort()

    def _open(self, *, keep_stdin: bool) -> None:
        with self._opening:
            if self._socket is not None:
                return
            if self._closed:
                raise SandboxStateError("The stream was stopped before it was started")
            opening = commands.open_stream(self._sandbox_id)
            socket = self._transport.socket(opening, SUBPROTOCOL)
            try:
                self._talk = ExecConversation(framed=socket.subprotocol == SUBPROTOCOL)
                self._talk.start(self._command)
                if not keep_stdin:
                    self._talk.close_stdin()
                self._started_at = time.monotonic()
                self._socket = socket
                self._flush()
            except BaseException:
                socket.abort()
                raise

    def _flush(self) -> None:
        """Send what may be sent; only one thread at a time, so that messages keep their order."""
        socket = self._socket
        assert socket is not None
        with self._writing:
            while (message := self._talk.outgoing()) is not None:
                try:
                    socket.send(message)
                except ConnectionError:
                    return  # whoever receives will learn why

    def _pump(
        self, ready: Callable[[], bool], *, timeout: float | None = None, discard: bool = False
    ) -> None:
        """Receive until `ready`; one thread at a time does, the others wait for what it gets."""
        give_up = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._turn:
                while self._receiving and not ready():
                    if not turns.wait_turn(self._turn, give_up):
                        return
                if ready():
                    return
                self._receiving = True
            try:
                if not self._receive(give_up):
                    return
            finally:
                with self._turn:
                    self._receiving = False
                    self._turn.notify_all()
            if discard:
                self._talk.discard()

    def _receive(self, give_up: float | None) -> bool:
        socket = self._socket
        assert socket is not None
        try:
            message = socket.receive(turns.left(give_up))
        except TimeoutError:
            return False
        except ConnectionError as exc:
            self._talk.lose(self._transport.with_loss(str(exc)))
        else:
            self._talk.receive(message)
            self._flush()
        return True

    def _hang_up(self) -> None:
        if self._socket is not None and not self._closed:
            self._closed = True
            self._ended_at = time.monotonic()
            self._socket.close()


class AsyncExecStream(Talker):
    """A running command: iterate over its events, or wait for its result.

    It starts when it is entered or first used. Leaving the `with` block, or dropping the stream,
    stops everything that it started. Its stdin is empty if the stream is iterated over at once;
    entered or written to, it stays open until `close_stdin` or `wait`.
    """

    def __init__(self, transport: AsyncTransport, sandbox_id: str, command: Command) -> None:
        super().__init__(sandbox_id, command)
        self._transport = transport
        self._socket: AsyncSocket | None = None
        self._opening = turns.async_lock()
        self._writing = turns.async_lock()
        self._turn = turns.async_condition()

    async def write_stdin(self, data: str | bytes) -> None:
        """Give the command something to read, and wait until it has read most of it.

        `CommandError` says that it has ended, or that it waits for its output to be read first.
        """
        await self._open(keep_stdin=True)
        self._talk.write_stdin(commands.stdin_bytes(data) or b"")
        await self._flush()
        await self._pump(self._talk.has_written)
        self._talk.check_written()

    async def close_stdin(self) -> None:
        """Tell the command that there is no more to read."""
        await self._open(keep_stdin=True)
        self._talk.close_stdin()
        await self._flush()

    async def signal(self, signal: str | int) -> None:
        """Send a signal, such as `"SIGINT"`, to everything that the command started."""
        name = arguments.signal_name(signal)
        await self._open(keep_stdin=True)
        self._talk.signal(name)
        await self._flush()

    async def kill(self) -> None:
        """Kill everything that the command started, without waiting for its end."""
        await self.signal("SIGKILL")

    async def stop(self) -> None:
        """Kill everything that the command started, wait for its end, and hang up."""
        socket = self._socket
        if socket is not None and not self._closed:
            try:
                if not self._talk.has_ended():
                    self._talk.stop()
                    await self._flush()
                    await self._pump(self._talk.has_ended, timeout=_STOP_TIMEOUT, discard=True)
                await self._hang_up()
            finally:
                # However that went: a server kills what a client that disconnects had started.
                socket.abort()
        self._closed = True

    async def wait(
        self,
        *,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
        max_output_bytes: int | None = None,
    ) -> ExecResult:
        """Close stdin, wait for the end of the command, and return what it did from here on.

        `on_stdout` and `on_stderr` are called with each piece of output; of each stream the first
        `max_output_bytes` are kept, 10 MiB if None. `CommandError`, or `StreamClosedError` which is
        one, says that the command could not be followed to its end.
        """
        collector = Collector(max_output_bytes)
        await self.close_stdin()
        async for event in self:
            collector.add(event)
            if isinstance(event, StreamStdoutEvent) and on_stdout is not None:
                await turns.async_call(on_stdout, event.data)
            elif isinstance(event, StreamStderrEvent) and on_stderr is not None:
                await turns.async_call(on_stderr, event.data)
        return collector.result(self._talk, self._seconds())

    async def __aenter__(self) -> Self:
        await self._open(keep_stdin=True)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        await self._open(keep_stdin=False)
        await self._pump(self._talk.has_news)
        if self._talk.is_told():
            await self._hang_up()
        event = self._talk.take()
        if event is None:
            raise StopAsyncIteration
        return event

    def __del__(self) -> None:
        if self._socket is not None and not self._closed:
            self._socket.abort()

    async def _open(self, *, keep_stdin: bool) -> None:
        async with self._opening:
            if self._socket is not None:
                return
            if self._closed:
                raise SandboxStateError("The stream was stopped before it was started")
            opening = commands.open_stream(self._sandbox_id)
            socket = await self._transport.socket(opening, SUBPROTOCOL)
            try:
                self._talk = ExecConversation(framed=socket.subprotocol == SUBPROTOCOL)
                self._talk.start(self._command)
                if not keep_stdin:
                    self._talk.close_stdin()
                self._started_at = time.monotonic()
                self._socket = socket
                await self._flush()
            except BaseException:
                socket.abort()
                raise

    async def _flush(self) -> None:
        """Send what may be sent; only one thread at a time, so that messages keep their order."""
        socket = self._socket
        assert socket is not None
        async with self._writing:
            while (message := self._talk.outgoing()) is not None:
                try:
                    await socket.send(message)
                except ConnectionError:
                    return  # whoever receives will learn why

    async def _pump(
        self, ready: Callable[[], bool], *, timeout: float | None = None, discard: bool = False
    ) -> None:
        """Receive until `ready`; one thread at a time does, the others wait for what it gets."""
        give_up = None if timeout is None else time.monotonic() + timeout
        while True:
            async with self._turn:
                while self._receiving and not ready():
                    if not await turns.async_wait_turn(self._turn, give_up):
                        return
                if ready():
                    return
                self._receiving = True
            try:
                if not await self._receive(give_up):
                    return
            finally:
                async with self._turn:
                    self._receiving = False
                    self._turn.notify_all()
            if discard:
                self._talk.discard()

    async def _receive(self, give_up: float | None) -> bool:
        socket = self._socket
        assert socket is not None
        try:
            message = await socket.receive(turns.left(give_up))
        except TimeoutError:
            return False
        except ConnectionError as exc:
            self._talk.lose(self._transport.with_loss(str(exc)))
        else:
            self._talk.receive(message)
            await self._flush()
        return True

    async def _hang_up(self) -> None:
        if self._socket is not None and not self._closed:
            self._closed = True
            self._ended_at = time.monotonic()
            await self._socket.close()
