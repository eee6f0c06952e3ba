"""Where code runs, and what it leaves there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from .._operations.kernels import Kernel
from .._protocols import values
from ..executions import CodeError, Execution, Result, Variable
from ._cell import Callbacks, Source
from ._sessions import AsyncKernelSession, KernelSession
from .cells import AsyncCodeStream, CodeStream

__all__ = ["AsyncCodeContext", "CodeContext"]

_ANSWER_TIMEOUT = 60.0
"""Seconds to wait for answers about variables, other code in the context included."""


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
        source = Source.checked(code, timeout, max_output_bytes, callbacks)
        with CodeStream(self._session, source) as stream:
            return stream.wait()

    def run_code_stream(
        self, code: str, *, timeout: float | None = 300, max_output_bytes: int | None = None
    ) -> CodeStream:
        """Run code and read what it does while it does it."""
        return CodeStream(self._session, Source.checked(code, timeout, max_output_bytes))

    def variables(self) -> Sequence[Variable]:
        """List the variables that code has left; for Python only."""
        return values.variables(self._ask(values.ask_variables()))

    def get(self, name: str) -> Any:
        """Return the value of a variable; for Python only.

        Plain values come as what they are; a DataFrame as one if pandas and pyarrow are installed
        here too. Whatever comes, it cannot run code here.

        Raises:
            CodeFailedError: There is no such variable, or its value is of another kind.
        """
        return values.value(self._ask(values.ask_value(name)))

    def set(self, name: str, value: Any) -> None:
        """Give a variable a value, a plain one or a DataFrame; for Python only.

        Raises:
            InvalidArgumentError: The value is of another kind.
        """
        values.done(self._ask(values.ask_to_set(name, value)))

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

    def _ask(self, question: Mapping[str, str]) -> Mapping[str, Any]:
        """Have expressions evaluated; return the answers."""
        self._session.require("python")
        source = Source("", _ANSWER_TIMEOUT, silent=True, expressions=tuple(question.items()))
        with CodeStream(self._session, source) as stream:
            _ = stream.wait().check()
        return stream.answers


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
        source = Source.checked(code, timeout, max_output_bytes, callbacks)
        async with AsyncCodeStream(self._session, source) as stream:
            return await stream.wait()

    def run_code_stream(
        self, code: str, *, timeout: float | None = 300, max_output_bytes: int | None = None
    ) -> AsyncCodeStream:
        """Run code and read what it does while it does it."""
        return AsyncCodeStream(self._session, Source.checked(code, timeout, max_output_bytes))

    async def variables(self) -> Sequence[Variable]:
        """List the variables that code has left; for Python only."""
        return values.variables(await self._ask(values.ask_variables()))

    async def get(self, name: str) -> Any:
        """Return the value of a variable; for Python only.

        Plain values come as what they are; a DataFrame as one if pandas and pyarrow are installed
        here too. Whatever comes, it cannot run code here.

        Raises:
            CodeFailedError: There is no such variable, or its value is of another kind.
        """
        return values.value(await self._ask(values.ask_value(name)))

    async def set(self, name: str, value: Any) -> None:
        """Give a variable a value, a plain one or a DataFrame; for Python only.

        Raises:
            InvalidArgumentError: The value is of another kind.
        """
        values.done(await self._ask(values.ask_to_set(name, value)))

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

    async def _ask(self, question: Mapping[str, str]) -> Mapping[str, Any]:
        """Have expressions evaluated; return the answers."""
        self._session.require("python")
        source = Source("", _ANSWER_TIMEOUT, silent=True, expressions=tuple(question.items()))
        async with AsyncCodeStream(self._session, source) as stream:
            _ = (await stream.wait()).check()
        return stream.answers
