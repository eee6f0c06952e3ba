"""Following a process that runs anyway."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Self

from .._flow import Flow
from .._operations import arguments, processes
from .._protocols.following import Following
from .._transport import AsyncTransport, Transport
from ..errors import CommandTimeoutError
from ..events import StreamEvent, StreamStderrEvent, StreamStdoutEvent
from ..results import ExecResult
from . import _turns as turns
from ._collector import Collector
from ._line import AsyncLine, Line

__all__ = ["AsyncProcessStream", "ProcessStream"]


class ProcessStream:
    """The output of a background process: iterate over its events.

    Leaving it does nothing to the process.
    """

    def __init__(self, transport: Transport, sandbox_id: str, selector: str, *, past: bool) -> None:
        self._sandbox_id = sandbox_id
        self._selector = selector
        self._from = (0, 0) if past else None
        self._line = Line(transport)
        self._talk = Following(past=past)

    def wait(
        self,
        timeout: float | None = None,
        *,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
        max_output_bytes: int | None = None,
    ) -> ExecResult:
        """Wait for the end of the process; the arguments are those of `Process.wait`."""
        patience = arguments.seconds(timeout, "timeout")
        collector = Collector(arguments.whole(max_output_bytes, "max_output_bytes"))
        began = time.monotonic()
        give_up = None if patience is None else began + patience
        while (event := self._next(give_up)) is not None:
            collector.add(event)
            if isinstance(event, StreamStdoutEvent) and on_stdout is not None:
                turns.call(on_stdout, event.data)
            elif isinstance(event, StreamStderrEvent) and on_stderr is not None:
                turns.call(on_stderr, event.data)
        return collector.result(self._talk, time.monotonic() - began)

    def close(self) -> None:
        """Follow the process no more; may be repeated."""
        self._line.hang_up()
        self._line.closed = True

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamEvent:
        event = self._next(None)
        if event is None:
            raise StopIteration
        return event

    def __del__(self) -> None:
        if self._line.is_open:
            self._line.abandon()

    def _next(self, give_up: float | None) -> StreamEvent | None:
        """Return the next event, None after the last one.

        Raises:
            CommandTimeoutError: There was none in time.
        """
        self._open()
        if not self._line.pump(self._talk.has_news, timeout=turns.left(give_up)):
            raise CommandTimeoutError(
                "The process has not ended in time; it runs on", outcome="unknown"
            )
        if self._talk.is_told():
            self._line.hang_up()
        return self._talk.take()

    def _open(self) -> None:
        self._line.open(
            partial(processes.open_stream, self._sandbox_id, self._selector, self._from),
            self._begin,
            partial(_again, self._sandbox_id, self._selector, self._talk),
        )

    def _begin(self, framed: bool) -> Following:
        self._talk.framed = framed
        return self._talk

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._selector} in {self._sandbox_id}>"


class AsyncProcessStream:
    """The output of a background process: iterate over its events.

    Leaving it does nothing to the process.
    """

    def __init__(
        self, transport: AsyncTransport, sandbox_id: str, selector: str, *, past: bool
    ) -> None:
        self._sandbox_id = sandbox_id
        self._selector = selector
        self._from = (0, 0) if past else None
        self._line = AsyncLine(transport)
        self._talk = Following(past=past)

    async def wait(
        self,
        timeout: float | None = None,
        *,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
        max_output_bytes: int | None = None,
    ) -> ExecResult:
        """Wait for the end of the process; the arguments are those of `Process.wait`."""
        patience = arguments.seconds(timeout, "timeout")
        collector = Collector(arguments.whole(max_output_bytes, "max_output_bytes"))
        began = time.monotonic()
        give_up = None if patience is None else began + patience
        while (event := await self._next(give_up)) is not None:
            collector.add(event)
            if isinstance(event, StreamStdoutEvent) and on_stdout is not None:
                await turns.async_call(on_stdout, event.data)
            elif isinstance(event, StreamStderrEvent) and on_stderr is not None:
                await turns.async_call(on_stderr, event.data)
        return collector.result(self._talk, time.monotonic() - began)

    async def close(self) -> None:
        """Follow the process no more; may be repeated."""
        await self._line.hang_up()
        self._line.closed = True

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        event = await self._next(None)
        if event is None:
            raise StopAsyncIteration
        return event

    def __del__(self) -> None:
        if self._line.is_open:
            self._line.abandon()

    async def _next(self, give_up: float | None) -> StreamEvent | None:
        """Return the next event, None after the last one.

        Raises:
            CommandTimeoutError: There was none in time.
        """
        await self._open()
        if not await self._line.pump(self._talk.has_news, timeout=turns.left(give_up)):
            raise CommandTimeoutError(
                "The process has not ended in time; it runs on", outcome="unknown"
            )
        if self._talk.is_told():
            await self._line.hang_up()
        return self._talk.take()

    async def _open(self) -> None:
        await self._line.open(
            partial(processes.open_stream, self._sandbox_id, self._selector, self._from),
            self._begin,
            partial(_again, self._sandbox_id, self._selector, self._talk),
        )

    def _begin(self, framed: bool) -> Following:
        self._talk.framed = framed
        return self._talk

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._selector} in {self._sandbox_id}>"


def _again(sandbox_id: str, selector: str, talk: Following) -> Flow[None]:
    """Open the conversation from where it was lost."""
    return processes.open_stream(sandbox_id, selector, talk.offsets)
