"""Where code runs, and what it leaves there."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from .._operations.kernels import Kernel
from ..executions import CodeError, Execution, Result
from ._cell import Callbacks, Source
from .cells import AsyncCodeStream, CodeStream
from .sessions import AsyncKernelSession, KernelSession

__all__ = ["AsyncCodeContext", "CodeContext"]


class CodeContext:
    """Where code runs and leaves its state: a kernel of a sandbox, seen by one client.

    Code of several callers runs one after the other. As a context manager it ends its kernel.
    """

    def __init__(self, session: KernelSession) -> None:
        self._session = session

    @property
    def id(self) -> str | None:
        """Name by which any client can find it; None before it has run anything."""
        return None if self._session.kernel is None else self._session.kernel.id

    @property
    def language(self) -> str:
        """What it runs, such as `python`."""
        return self._session.language

    @property
    def state(self) -> str:
        """What it did when it was looked up: `idle`, `busy`, `starting` or `unknown`."""
        return "unknown" if self._session.kernel is None else self._session.kernel.state

    def run_code(
        self,
        code: str,
        *,
        timeout: float | None = 300,
        max_output_bytes: int | None = None,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
        on_result: Callable[[Result], object] | None = None,
        on_error: Callable[[CodeError], object] | None = None,
    ) -> Execution:
        """Run code and wait for its end; `Sandbox.run_code` explains the arguments."""
        callbacks = Callbacks(on_stdout, on_stderr, on_result, on_error)
        source = Source.checked(code, timeout, max_output_bytes)
        with CodeStream(self._session, source) as stream:
            return stream.wait(callbacks)

    def run_code_stream(
        self, code: str, *, timeout: float | None = 300, max_output_bytes: int | None = None
    ) -> CodeStream:
        """Run code and read what it does while it does it."""
        return CodeStream(self._session, Source.checked(code, timeout, max_output_bytes))

    def interrupt(self) -> None:
        """Interrupt what runs, as Ctrl-C would; whoever waits for it gets what it did so far."""
        self._session.interrupt()

    def restart(self) -> None:
        """Begin anew, without any state."""
        self._session.restart()

    def seen(self, kernel: Kernel) -> Self:
        """Take note of what the kernel was found to do."""
        self._session.kernel = kernel
        return self

    def detach(self) -> None:
        """Hang up; the kernel lives on as long as the sandbox."""
        self._session.link.close()

    def close(self) -> None:
        """End the kernel. May be repeated."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id or 'unused'} {self.language}>"


class AsyncCodeContext:
    """Where code runs and leaves its state: a kernel of a sandbox, seen by one client.

    Code of several callers runs one after the other. As a context manager it ends its kernel.
    """

    def __init__(self, session: AsyncKernelSession) -> None:
        self._session = session

    @property
    def id(self) -> str | None:
        """Name by which any client can find it; None before it has run anything."""
        return None if self._session.kernel is None else self._session.kernel.id

    @property
    def language(self) -> str:
        """What it runs, such as `python`."""
        return self._session.language

    @property
    def state(self) -> str:
        """What it did when it was looked up: `idle`, `busy`, `starting` or `unknown`."""
        return "unknown" if self._session.kernel is None else self._session.kernel.state

    async def run_code(
        self,
        code: str,
        *,
        timeout: float | None = 300,
        max_output_bytes: int | None = None,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
        on_result: Callable[[Result], object] | None = None,
        on_error: Callable[[CodeError], object] | None = None,
    ) -> Execution:
        """Run code and wait for its end; `Sandbox.run_code` explains the arguments."""
        callbacks = Callbacks(on_stdout, on_stderr, on_result, on_error)
        source = Source.checked(code, timeout, max_output_bytes)
        async with AsyncCodeStream(self._session, source) as stream:
            return await stream.wait(callbacks)

    def run_code_stream(
        self, code: str, *, timeout: float | None = 300, max_output_bytes: int | None = None
    ) -> AsyncCodeStream:
        """Run code and read what it does while it does it."""
        return AsyncCodeStream(self._session, Source.checked(code, timeout, max_output_bytes))

    async def interrupt(self) -> None:
        """Interrupt what runs, as Ctrl-C would; whoever waits for it gets what it did so far."""
        await self._session.interrupt()

    async def restart(self) -> None:
        """Begin anew, without any state."""
        await self._session.restart()

    def seen(self, kernel: Kernel) -> Self:
        """Take note of what the kernel was found to do."""
        self._session.kernel = kernel
        return self

    async def detach(self) -> None:
        """Hang up; the kernel lives on as long as the sandbox."""
        await self._session.link.close()

    async def close(self) -> None:
        """End the kernel. May be repeated."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id or 'unused'} {self.language}>"
