"""One sandbox, as an object."""

from __future__ import annotations

import logging
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from types import TracebackType
from typing import Self

from .._operations import commands, files, sandboxes
from .._resource import AsyncResource, Resource
from .._transport import AsyncTransport, Transport
from ..errors import SandlotError
from ..models import SandboxInfo, SandboxMetrics
from ..results import ExecResult
from . import transfers
from ._seen import Seen
from .streams import AsyncExecStream, ExecStream
from .transfers import LocalPath, Progress

__all__ = ["AsyncSandbox", "Sandbox"]

_logger = logging.getLogger("sandlot.sandbox")


class Sandbox(Resource, Seen):
    """A sandbox to work in.

    As a context manager it destroys what `create` made, and leaves alone what `get` or `connect`
    found.
    """

    def __init__(self, transport: Transport, info: SandboxInfo, *, owned: bool = False) -> None:
        Resource.__init__(self, transport)
        Seen.__init__(self, info, owned=owned)

    def exec(
        self,
        cmd: str | Sequence[str],
        args: Sequence[str] | None = None,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stdin: str | bytes | None = None,
        timeout_sec: float | None = 30,
        max_output_bytes: int | None = None,
        check: bool = False,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> ExecResult:
        """Run a command and wait for its end.

        Args:
            cmd: A text alone is a line for `/bin/sh`; with `args`, or as a list, it is a program.
            args: Arguments of the program.
            cwd: Directory to start in; the sandbox's own if None.
            env: Variables beyond the sandbox's own.
            user: User to run as.
            stdin: What the command reads; nothing if None.
            timeout_sec: Seconds after which everything it started is killed; 30 if 0 or None.
            max_output_bytes: Bytes to keep of each stream; 10 MiB if None.
            check: Raise `CommandFailedError` or `CommandTimeoutError` unless it exits with 0.
            on_stdout: Called with each piece of standard output as it comes.
            on_stderr: Called with each piece of standard error as it comes.
        """
        command = commands.command(
            cmd,
            args,
            cwd=cwd,
            env=env,
            user=user,
            stdin=stdin,
            timeout_sec=timeout_sec,
            max_output_bytes=max_output_bytes,
        )
        if on_stdout is None and on_stderr is None:
            execution = commands.execute(self._server, self._use(), command, check=check)
            return self._run(execution)
        stream = ExecStream(self._transport, self._use(), command.limited())
        with stream:
            result = stream.wait(
                on_stdout=on_stdout, on_stderr=on_stderr, max_output_bytes=max_output_bytes
            )
        return result.check() if check else result

    def exec_stream(
        self,
        cmd: str | Sequence[str],
        args: Sequence[str] | None = None,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stdin: str | bytes | None = None,
        timeout_sec: float | None = None,
    ) -> ExecStream:
        """Run a command and read its output while it runs.

        The arguments are those of `exec`, except that there is no time limit unless `timeout_sec`
        is given, and that stdin can be written later if `stdin` is None.
        """
        command = commands.command(
            cmd, args, cwd=cwd, env=env, user=user, stdin=stdin, timeout_sec=timeout_sec
        )
        return ExecStream(self._transport, self._use(), command)

    def upload(self, path: str, data: bytes) -> None:
        """Write a small file, held in memory; missing directories are made.

        The file appears with its whole content or not at all. Relative paths start at the home
        directory.
        """
        self._run(files.write(self._use(), path, data))

    def download(self, path: str) -> bytes:
        """Read a small file into memory; `FileNotFoundInSandboxError` if there is none."""
        return self._run(files.read(self._use(), path))

    def stream_upload(self, path: str, stream: Iterable[bytes]) -> None:
        """Write a file of any size, given in pieces; an open binary file will do.

        If the pieces end with an exception, the file in the sandbox stays as it was.
        """
        self._run(files.stream_write(self._use(), path, stream))

    def stream_download(self, path: str) -> Iterator[bytes]:
        """Read a file of any size, piece by piece.

        Raises:
            FileNotFoundInSandboxError: There is no such file.
            TransportError: The transfer broke off; what came so far is not the whole file.
        """
        return transfers.stream_download(self._transport, self._use(), path)

    def upload_file(
        self, path: str, source: LocalPath, *, progress: Progress | None = None
    ) -> None:
        """Write the file `source` of this machine to `path` in the sandbox."""
        transfers.upload_file(self._transport, self._use(), path, source, progress)

    def download_file(
        self, path: str, target: LocalPath, *, progress: Progress | None = None
    ) -> None:
        """Write `path` in the sandbox to the file `target` of this machine, whole or not at all."""
        transfers.download_file(self._transport, self._use(), path, target, progress)

    def wait_ready(self, timeout: float = 30) -> SandboxInfo:
        """Wait until the sandbox runs.

        Raises:
            SandboxTimeoutError: It does not after `timeout` seconds.
            SandboxStateError: It never will by waiting: it is paused, failed or gone.
        """
        return self._see(self._run(sandboxes.wait_ready(self._use(), timeout=timeout)))

    def ping(self) -> None:
        """Reset the idle timer."""
        self._run(sandboxes.ping(self._use()))

    def pause(self) -> SandboxInfo:
        """Freeze every process; `resume` lets them go on where they were."""
        return self._see(self._run(sandboxes.suspend(self._use())))

    def resume(self) -> SandboxInfo:
        """Thaw a paused sandbox."""
        return self._see(self._run(sandboxes.resume(self._use())))

    def refresh(self) -> SandboxInfo:
        """Look up the sandbox again."""
        return self._see(self._run(sandboxes.get(self.id)))

    def metrics(self, range: str | None = None) -> SandboxMetrics:
        """Return the use of CPU, memory and disk over a `range`: 5m, 10m (the default) to 24h."""
        return self._run(sandboxes.metrics(self._use(), range))

    def destroy(self) -> None:
        """Destroy the sandbox for good, its files included. May be repeated.

        Ctrl-C or cancellation do not keep it from being done.
        """
        self._run(sandboxes.destroy(self.id))
        self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_to_be_destroyed():
            return
        try:
            self.destroy()
        except SandlotError as failure:
            _logger.warning("sandbox %s could not be destroyed: %s", self.id, failure)
            if exc is None:
                raise


class AsyncSandbox(AsyncResource, Seen):
    """A sandbox to work in.

    As a context manager it destroys what `create` made, and leaves alone what `get` or `connect`
    found.
    """

    def __init__(
        self, transport: AsyncTransport, info: SandboxInfo, *, owned: bool = False
    ) -> None:
        AsyncResource.__init__(self, transport)
        Seen.__init__(self, info, owned=owned)

    async def exec(
        self,
        cmd: str | Sequence[str],
        args: Sequence[str] | None = None,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stdin: str | bytes | None = None,
        timeout_sec: float | None = 30,
        max_output_bytes: int | None = None,
        check: bool = False,
        on_stdout: Callable[[str], object] | None = None,
        on_stderr: Callable[[str], object] | None = None,
    ) -> ExecResult:
        """Run a command and wait for its end.

        Args:
            cmd: A text alone is a line for `/bin/sh`; with `args`, or as a list, it is a program.
            args: Arguments of the program.
            cwd: Directory to start in; the sandbox's own if None.
            env: Variables beyond the sandbox's own.
            user: User to run as.
            stdin: What the command reads; nothing if None.
            timeout_sec: Seconds after which everything it started is killed; 30 if 0 or None.
            max_output_bytes: Bytes to keep of each stream; 10 MiB if None.
            check: Raise `CommandFailedError` or `CommandTimeoutError` unless it exits with 0.
            on_stdout: Called with each piece of standard output as it comes.
            on_stderr: Called with each piece of standard error as it comes.
        """
        command = commands.command(
            cmd,
            args,
            cwd=cwd,
            env=env,
            user=user,
            stdin=stdin,
            timeout_sec=timeout_sec,
            max_output_bytes=max_output_bytes,
        )
        if on_stdout is None and on_stderr is None:
            execution = commands.execute(self._server, self._use(), command, check=check)
            return await self._run(execution)
        stream = AsyncExecStream(self._transport, self._use(), command.limited())
        async with stream:
            result = await stream.wait(
                on_stdout=on_stdout, on_stderr=on_stderr, max_output_bytes=max_output_bytes
            )
        return result.check() if check else result

    def exec_stream(
        self,
        cmd: str | Sequence[str],
        args: Sequence[str] | None = None,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stdin: str | bytes | None = None,
        timeout_sec: float | None = None,
    ) -> AsyncExecStream:
        """Run a command and read its output while it runs.

        The arguments are those of `exec`, except that there is no time limit unless `timeout_sec`
        is given, and that stdin can be written later if `stdin` is None.
        """
        command = commands.command(
            cmd, args, cwd=cwd, env=env, user=user, stdin=stdin, timeout_sec=timeout_sec
        )
        return AsyncExecStream(self._transport, self._use(), command)

    async def upload(self, path: str, data: bytes) -> None:
        """Write a small file, held in memory; missing directories are made.

        The file appears with its whole content or not at all. Relative paths start at the home
        directory.
        """
        await self._run(files.write(self._use(), path, data))

    async def download(self, path: str) -> bytes:
        """Read a small file into memory; `FileNotFoundInSandboxError` if there is none."""
        return await self._run(files.read(self._use(), path))

    async def stream_upload(
        self, path: str, stream: AsyncIterable[bytes] | Iterable[bytes]
    ) -> None:
        """Write a file of any size, given in pieces; an open binary file will do.

        If the pieces end with an exception, the file in the sandbox stays as it was.
        """
        await self._run(files.stream_write(self._use(), path, stream))

    def stream_download(self, path: str) -> AsyncIterator[bytes]:
        """Read a file of any size, piece by piece.

        Raises:
            FileNotFoundInSandboxError: There is no such file.
            TransportError: The transfer broke off; what came so far is not the whole file.
        """
        return transfers.async_stream_download(self._transport, self._use(), path)

    async def upload_file(
        self, path: str, source: LocalPath, *, progress: Progress | None = None
    ) -> None:
        """Write the file `source` of this machine to `path` in the sandbox."""
        await transfers.async_upload_file(self._transport, self._use(), path, source, progress)

    async def download_file(
        self, path: str, target: LocalPath, *, progress: Progress | None = None
    ) -> None:
        """Write `path` in the sandbox to the file `target` of this machine, whole or not at all."""
        await transfers.async_download_file(self._transport, self._use(), path, target, progress)

    async def wait_ready(self, timeout: float = 30) -> SandboxInfo:
        """Wait until the sandbox runs.

        Raises:
            SandboxTimeoutError: It does not after `timeout` seconds.
            SandboxStateError: It never will by waiting: it is paused, failed or gone.
        """
        return self._see(await self._run(sandboxes.wait_ready(self._use(), timeout=timeout)))

    async def ping(self) -> None:
        """Reset the idle timer."""
        await self._run(sandboxes.ping(self._use()))

    async def pause(self) -> SandboxInfo:
        """Freeze every process; `resume` lets them go on where they were."""
        return self._see(await self._run(sandboxes.suspend(self._use())))

    async def resume(self) -> SandboxInfo:
        """Thaw a paused sandbox."""
        return self._see(await self._run(sandboxes.resume(self._use())))

    async def refresh(self) -> SandboxInfo:
        """Look up the sandbox again."""
        return self._see(await self._run(sandboxes.get(self.id)))

    async def metrics(self, range: str | None = None) -> SandboxMetrics:
        """Return the use of CPU, memory and disk over a `range`: 5m, 10m (the default) to 24h."""
        return await self._run(sandboxes.metrics(self._use(), range))

    async def destroy(self) -> None:
        """Destroy the sandbox for good, its files included. May be repeated.

        Ctrl-C or cancellation do not keep it from being done.
        """
        await self._run(sandboxes.destroy(self.id))
        self._forget()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_to_be_destroyed():
            return
        try:
            await self.destroy()
        except SandlotError as failure:
            _logger.warning("sandbox %s could not be destroyed: %s", self.id, failure)
            if exc is None:
                raise
