"""A command whose output is read while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from .._operations import arguments, commands
from .._operations.commands import Command
from .._protocols.exec import ExecConversation
from .._transport import AsyncTransport, Transport
from ..events import StreamEvent, StreamStderrEvent, StreamStdoutEvent
from ..results import ExecResult
from . import _turns as turns
from ._collector import Collector
from ._line import AsyncLine, Line
from ._talker import Talker

__all__ = ["AsyncExecStream", "ExecStream"]

_STOP_TIMEOUT = 15.0
"""Seconds that a command has to end after it was told to."""


class ExecStream(Talker):
    """A running command: iterate over its events, or wait for its result.

    It starts when it is entered or first used. Leaving the `with` block, or dropping the stream,
    stops everything that it started. Its stdin is empty if the stream is iterated over at once;
    entered or written to, it stays open until `close_stdin` or `wait`.
    """

    def __init__(self, transport: Transport, sandbox_id: str, command: Command) -> None:
        super().__init__(sandbox_id, command)
        self._line = Line(transport)

    def write_stdin(self, data: str | bytes) -> None:
        """Give the command something to read, and wait until it has read most of it.

        `CommandError` says that it has ended, or that it waits for its output to be read first.
        """
        self._open(keep_stdin=True)
        self._talk.write_stdin(commands.stdin_bytes(data) or b"")
        self._line.flush()
        _ = self._line.pump(self._talk.has_written)
        self._talk.check_written()

    def close_stdin(self) -> None:
        """Tell the command that there is no more to read."""
        self._open(keep_stdin=True)
        self._talk.close_stdin()
        self._line.flush()

    def signal(self, signal: str | int) -> None:
        """Send a signal, such as `"SIGINT"`, to everything that the command started."""
        name = arguments.signal_name(signal)
        self._open(keep_stdin=True)
        self._talk.signal(name)
        self._line.flush()

    def kill(self) -> None:
        """Kill everything that the command started, without waiting for its end."""
        self.signal("SIGKILL")

    def stop(self) -> None:
        """Kill everything that the command started, wait for its end, and hang up."""
        line = self._line
        if line.is_open:
            try:
                if not self._talk.has_ended():
                    self._talk.stop()
                    line.flush()
                    _ = line.pump(self._talk.has_ended, timeout=_STOP_TIMEOUT, discard=True)
                line.hang_up()
            finally:
                # However that went: a server kills what a client that disconnects had started.
                line.abort()
        line.closed = True

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
        _ = self._line.pump(self._talk.has_news)
        if self._talk.is_told():
            self._ended_at = self._ended_at or time.monotonic()
            self._line.hang_up()
        event = self._talk.take()
        if event is None:
            raise StopIteration
        return event

    def __del__(self) -> None:
        if self._line.is_open:
            self._line.abandon()

    def _open(self, *, keep_stdin: bool) -> None:
        def begin(framed: bool) -> ExecConversation:
            return self._begin(framed, keep_stdin=keep_stdin)

        self._line.open(partial(commands.open_stream, self._sandbox_id), begin)


class AsyncExecStream(Talker):
    """A running command: iterate over its events, or wait for its result.

    It starts when it is entered or first used. Leaving the `with` block, or dropping the stream,
    stops everything that it started. Its stdin is empty if the stream is iterated over at once;
    entered or written to, it stays open until `close_stdin` or `wait`.
    """

    def __init__(self, transport: AsyncTransport, sandbox_id: str, command: Command) -> None:
        super().__init__(sandbox_id, command)
        self._line = AsyncLine(transport)

    async def write_stdin(self, data: str | bytes) -> None:
        """Give the command something to read, and wait until it has read most of it.

        `CommandError` says that it has ended, or that it waits for its output to be read first.
        """
        await self._open(keep_stdin=True)
        self._talk.write_stdin(commands.stdin_bytes(data) or b"")
        await self._line.flush()
        _ = await self._line.pump(self._talk.has_written)
        self._talk.check_written()

    async def close_stdin(self) -> None:
        """Tell the command that there is no more to read."""
        await self._open(keep_stdin=True)
        self._talk.close_stdin()
        await self._line.flush()

    async def signal(self, signal: str | int) -> None:
        """Send a signal, such as `"SIGINT"`, to everything that the command started."""
        name = arguments.signal_name(signal)
        await self._open(keep_stdin=True)
        self._talk.signal(name)
        await self._line.flush()

    async def kill(self) -> None:
        """Kill everything that the command started, without waiting for its end."""
        await self.signal("SIGKILL")

    async def stop(self) -> None:
        """Kill everything that the command started, wait for its end, and hang up."""
        line = self._line
        if line.is_open:
            try:
                if not self._talk.has_ended():
                    self._talk.stop()
                    await line.flush()
                    _ = await line.pump(self._talk.has_ended, timeout=_STOP_TIMEOUT, discard=True)
                await line.hang_up()
            finally:
                # However that went: a server kills what a client that disconnects had started.
                line.abort()
        line.closed = True

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
        _ = await self._line.pump(self._talk.has_news)
        if self._talk.is_told():
            self._ended_at = self._ended_at or time.monotonic()
            await self._line.hang_up()
        event = self._talk.take()
        if event is None:
            raise StopAsyncIteration
        return event

    def __del__(self) -> None:
        if self._line.is_open:
            self._line.abandon()

    async def _open(self, *, keep_stdin: bool) -> None:
        def begin(framed: bool) -> ExecConversation:
            return self._begin(framed, keep_stdin=keep_stdin)

        await self._line.open(partial(commands.open_stream, self._sandbox_id), begin)
