"""Processes that run in the background."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import models
from .._operations import processes
from .._transport import AsyncTransport, Transport
from ..results import ExecResult
from .following import AsyncProcessStream, ProcessStream

__all__ = ["AsyncProcess", "AsyncProcesses", "Process", "Processes"]


class Process:
    """A process in the background, or one that somebody waits for.

    It runs on when its client goes away, and ends with its sandbox.
    """

    def __init__(self, transport: Transport, sandbox_id: str, info: models.ProcessInfo) -> None:
        self._transport = transport
        self._sandbox_id = sandbox_id
        self.info = info

    @property
    def pid(self) -> int:
        """Its id, as the sandbox sees it."""
        return self.info.pid

    @property
    def tag(self) -> str | None:
        """Its name, by which `processes.get` finds it; None if it has none."""
        return self.info.tag

    def stream(self, *, past: bool = True) -> ProcessStream:
        """Follow its output, until it ends or the stream is closed.

        Args:
            past: Begin with what the server has kept of its output so far; on an original Wrenn
                server, which keeps none, that is nothing.
        """
        return ProcessStream(self._transport, self._sandbox_id, self._selector, past=past)

    def wait(
        self,
        timeout: float | None = None,
        *,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
        max_output_bytes: int | None = None,
    ) -> ExecResult:
        """Wait for its end, and return what is known of its output; `truncated` if that is not all.

        Args:
            timeout: Seconds to wait; for ever if None.
            on_stdout: Called with each piece of standard output.
            on_stderr: Called with each piece of standard error.
            max_output_bytes: Bytes to keep of each stream; 10 MiB if None.

        Raises:
            CommandTimeoutError: It has not ended in time, and runs on.
            CommandError: It could not be followed to its end.
        """
        with self.stream() as stream:
            return stream.wait(
                timeout,
                on_stdout=on_stdout,
                on_stderr=on_stderr,
                max_output_bytes=max_output_bytes,
            )

    def signal(self, signal: str | int) -> None:
        """Send a signal, such as `"SIGTERM"`, to it and to its process group.

        Raises:
            NotFoundError: It has ended.
        """
        self._transport.run(
            processes.signal(self._transport.server, self._sandbox_id, self._selector, signal)
        )

    def kill(self) -> None:
        """Kill everything that it started, and wait until that is gone.

        Raises:
            NotFoundError: It has ended.
        """
        self.signal("SIGKILL")

    @property
    def _selector(self) -> str:
        return self.info.tag or str(self.info.pid)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._selector}: {self.info.cmd!r:.60}>"


class AsyncProcess:
    """A process in the background, or one that somebody waits for.

    It runs on when its client goes away, and ends with its sandbox.
    """

    def __init__(
        self, transport: AsyncTransport, sandbox_id: str, info: models.ProcessInfo
    ) -> None:
        self._transport = transport
        self._sandbox_id = sandbox_id
        self.info = info

    @property
    def pid(self) -> int:
        """Its id, as the sandbox sees it."""
        return self.info.pid

    @property
    def tag(self) -> str | None:
        """Its name, by which `processes.get` finds it; None if it has none."""
        return self.info.tag

    def stream(self, *, past: bool = True) -> AsyncProcessStream:
        """Follow its output, until it ends or the stream is closed.

        Args:
            past: Begin with what the server has kept of its output so far; on an original Wrenn
                server, which keeps none, that is nothing.
        """
        return AsyncProcessStream(self._transport, self._sandbox_id, self._selector, past=past)

    async def wait(
        self,
        timeout: float | None = None,
        *,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
        max_output_bytes: int | None = None,
    ) -> ExecResult:
        """Wait for its end, and return what is known of its output; `truncated` if that is not all.

        Args:
            timeout: Seconds to wait; for ever if None.
            on_stdout: Called with each piece of standard output.
            on_stderr: Called with each piece of standard error.
            max_output_bytes: Bytes to keep of each stream; 10 MiB if None.

        Raises:
            CommandTimeoutError: It has not ended in time, and runs on.
            CommandError: It could not be followed to its end.
        """
        async with self.stream() as stream:
            return await stream.wait(
                timeout,
                on_stdout=on_stdout,
                on_stderr=on_stderr,
                max_output_bytes=max_output_bytes,
            )

    async def signal(self, signal: str | int) -> None:
        """Send a signal, such as `"SIGTERM"`, to it and to its process group.

        Raises:
            NotFoundError: It has ended.
        """
        await self._transport.run(
            processes.signal(self._transport.server, self._sandbox_id, self._selector, signal)
        )

    async def kill(self) -> None:
        """Kill everything that it started, and wait until that is gone.

        Raises:
            NotFoundError: It has ended.
        """
        await self.signal("SIGKILL")

    @property
    def _selector(self) -> str:
        return self.info.tag or str(self.info.pid)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._selector}: {self.info.cmd!r:.60}>"


class Processes:
    """The processes of a sandbox that were started by way of the API."""

    def __init__(self, transport: Transport, sandbox_id: str) -> None:
        self._transport = transport
        self._sandbox_id = sandbox_id

    def list(self, *, ended: bool = False) -> Sequence[Process]:
        """List those that run, the oldest first.

        Args:
            ended: List the last background processes and terminals that have ended, too.
        """
        found = self._transport.run(
            processes.list_all(self._transport.server, self._sandbox_id, ended=ended)
        )
        return [Process(self._transport, self._sandbox_id, info) for info in found]

    def get(self, selector: str | int) -> Process:
        """Find one by its tag or its process id, wherever it was started from.

        Raises:
            NotFoundError: There is none, or none any more.
        """
        info = self._transport.run(
            processes.get(self._transport.server, self._sandbox_id, selector)
        )
        return Process(self._transport, self._sandbox_id, info)

    def kill(self, selector: str | int, signal: str | int = "SIGKILL") -> None:
        """Kill everything that one started, or send it another signal.

        Raises:
            NotFoundError: There is none that runs.
        """
        self._transport.run(
            processes.signal(self._transport.server, self._sandbox_id, selector, signal)
        )


class AsyncProcesses:
    """The processes of a sandbox that were started by way of the API."""

    def __init__(self, transport: AsyncTransport, sandbox_id: str) -> None:
        self._transport = transport
        self._sandbox_id = sandbox_id

    async def list(self, *, ended: bool = False) -> Sequence[AsyncProcess]:
        """List those that run, the oldest first.

        Args:
            ended: List the last background processes and terminals that have ended, too.
        """
        found = await self._transport.run(
            processes.list_all(self._transport.server, self._sandbox_id, ended=ended)
        )
        return [AsyncProcess(self._transport, self._sandbox_id, info) for info in found]

    async def get(self, selector: str | int) -> AsyncProcess:
        """Find one by its tag or its process id, wherever it was started from.

        Raises:
            NotFoundError: There is none, or none any more.
        """
        info = await self._transport.run(
            processes.get(self._transport.server, self._sandbox_id, selector)
        )
        return AsyncProcess(self._transport, self._sandbox_id, info)

    async def kill(self, selector: str | int, signal: str | int = "SIGKILL") -> None:
        """Kill everything that one started, or send it another signal.

        Raises:
            NotFoundError: There is none that runs.
        """
        await self._transport.run(
            processes.signal(self._transport.server, self._sandbox_id, selector, signal)
        )
