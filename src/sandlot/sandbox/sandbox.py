"""One sandbox, as an object."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .._flow import Port
from .._operations import arguments
from .programs import AsyncPrograms, Programs

if TYPE_CHECKING:
    import httpx

    from ..executions import CodeError, Execution, Result
    from .cells import AsyncCodeStream, CodeStream
    from .code import AsyncCode, Code
    from .contexts import AsyncCodeContext, CodeContext

__all__ = ["AsyncSandbox", "Sandbox"]


class Sandbox(Programs):
    """A sandbox to work in.

    As a context manager it destroys what `create` made, and leaves alone what `get` or `connect`
    found.
    """

    @property
    def code(self) -> Code:
        """Contexts in which code runs and leaves its state."""
        if self._code is None:
            from .code import Code  # slow to import, and not always needed

            self._code = Code(self._transport, self)
        return self._code

    def run_code(
        self,
        code: str,
        language: str = "python",
        *,
        context: CodeContext | str | None = None,
        timeout: float | None = 300,
        max_output_bytes: int | None = None,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
        on_result: Callable[[Result], object] | None = None,
        on_error: Callable[[CodeError], object] | None = None,
    ) -> Execution:
        """Run code as a notebook does: what it defines is there for the next call.

        Code that raises is no failure of this call: see `Execution.error`, or use
        `Execution.check`. After `timeout` it is interrupted, and its state kept; if it ignores
        that, its kernel is restarted, and `Execution.state_lost` says so.

        Args:
            code: What to run.
            language: What it is written in, such as `python` or `bash`.
            context: Where to run it, or the id of that; the usual one of the language if None.
            timeout: Seconds that it may run; for ever if None.
            max_output_bytes: Bytes to keep of each stream; 10 MiB if None.
            on_stdout: Called with each piece of standard output as it comes.
            on_stderr: Called with each piece of standard error as it comes.
            on_result: Called with each result as it comes.
            on_error: Called with what the code raised.

        Raises:
            UnsupportedError: The template has no Jupyter server.
            KernelDiedError: The kernel died; the next call gets a fresh one.
            CodeLostError: It could not be followed to its end, and may have run.
            CodeTimeoutError: Other code ran in the context all the time.
        """
        _ = self._use()
        chosen = self.code.choose(language, context)
        return chosen.run_code(
            code,
            timeout=timeout,
            max_output_bytes=max_output_bytes,
            on_stdout=on_stdout,
            on_stderr=on_stderr,
            on_result=on_result,
            on_error=on_error,
        )

    def run_code_stream(
        self,
        code: str,
        language: str = "python",
        *,
        context: CodeContext | None = None,
        timeout: float | None = 300,
        max_output_bytes: int | None = None,
    ) -> CodeStream:
        """Run code and read what it does meanwhile; the arguments are those of `run_code`."""
        _ = self._use()
        chosen = self.code.context(language) if context is None else context
        return chosen.run_code_stream(code, timeout=timeout, max_output_bytes=max_output_bytes)

    def get_url(self, port: int) -> str:
        """Return the address of a TCP port of the sandbox; whoever asks there needs the API key.

        Raises:
            AuthenticationError: The client has only a token, which opens no port.
        """
        return self._transport.port_url(Port(self._use(), arguments.port(port)))

    def proxy(self, port: int) -> httpx.Client:
        """Return an HTTP client for a port of the sandbox, which is closed with the sandbox.

        It connects to the server, so the port's name need not be known to any name server, unless
        the server speaks TLS. What listens inside never sees the API key.
        """
        return self._doors.client(Port(self._use(), arguments.port(port)))

    @property
    def http_client(self) -> httpx.Client:
        """HTTP client for port 8888, where Jupyter listens."""
        return self.proxy(8888)


class AsyncSandbox(AsyncPrograms):
    """A sandbox to work in.

    As a context manager it destroys what `create` made, and leaves alone what `get` or `connect`
    found.
    """

    @property
    def code(self) -> AsyncCode:
        """Contexts in which code runs and leaves its state."""
        if self._code is None:
            from .code import AsyncCode  # slow to import, and not always needed

            self._code = AsyncCode(self._transport, self)
        return self._code

    async def run_code(
        self,
        code: str,
        language: str = "python",
        *,
        context: AsyncCodeContext | str | None = None,
        timeout: float | None = 300,
        max_output_bytes: int | None = None,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
        on_result: Callable[[Result], object] | None = None,
        on_error: Callable[[CodeError], object] | None = None,
    ) -> Execution:
        """Run code as a notebook does: what it defines is there for the next call.

        Code that raises is no failure of this call: see `Execution.error`, or use
        `Execution.check`. After `timeout` it is interrupted, and its state kept; if it ignores
        that, its kernel is restarted, and `Execution.state_lost` says so.

        Args:
            code: What to run.
            language: What it is written in, such as `python` or `bash`.
            context: Where to run it, or the id of that; the usual one of the language if None.
            timeout: Seconds that it may run; for ever if None.
            max_output_bytes: Bytes to keep of each stream; 10 MiB if None.
            on_stdout: Called with each piece of standard output as it comes.
            on_stderr: Called with each piece of standard error as it comes.
            on_result: Called with each result as it comes.
            on_error: Called with what the code raised.

        Raises:
            UnsupportedError: The template has no Jupyter server.
            KernelDiedError: The kernel died; the next call gets a fresh one.
            CodeLostError: It could not be followed to its end, and may have run.
            CodeTimeoutError: Other code ran in the context all the time.
        """
        _ = self._use()
        chosen = await self.code.choose(language, context)
        return await chosen.run_code(
            code,
            timeout=timeout,
            max_output_bytes=max_output_bytes,
            on_stdout=on_stdout,
            on_stderr=on_stderr,
            on_result=on_result,
            on_error=on_error,
        )

    def run_code_stream(
        self,
        code: str,
        language: str = "python",
        *,
        context: AsyncCodeContext | None = None,
        timeout: float | None = 300,
        max_output_bytes: int | None = None,
    ) -> AsyncCodeStream:
        """Run code and read what it does meanwhile; the arguments are those of `run_code`."""
        _ = self._use()
        chosen = self.code.context(language) if context is None else context
        return chosen.run_code_stream(code, timeout=timeout, max_output_bytes=max_output_bytes)

    def get_url(self, port: int) -> str:
        """Return the address of a TCP port of the sandbox; whoever asks there needs the API key.

        Raises:
            AuthenticationError: The client has only a token, which opens no port.
        """
        return self._transport.port_url(Port(self._use(), arguments.port(port)))

    def proxy(self, port: int) -> httpx.AsyncClient:
        """Return an HTTP client for a port of the sandbox, which is closed with the sandbox.

        It connects to the server, so the port's name need not be known to any name server, unless
        the server speaks TLS. What listens inside never sees the API key.
        """
        return self._doors.client(Port(self._use(), arguments.port(port)))

    @property
    def http_client(self) -> httpx.AsyncClient:
        """HTTP client for port 8888, where Jupyter listens."""
        return self.proxy(8888)
