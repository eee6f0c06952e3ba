"""Running programs in a sandbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .._operations import commands, processes, terminals
from ..results import ExecResult
from .file_access import AsyncFileAccess, FileAccess
from .processes import AsyncProcess, AsyncProcesses, Process, Processes
from .streams import AsyncExecStream, ExecStream
from .terminals import AsyncPtySession, PtySession

__all__ = ["AsyncPrograms", "Programs"]


class Programs(FileAccess):
    """A sandbox that programs can be run in."""

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

    def spawn(
        self,
        cmd: str | Sequence[str],
        args: Sequence[str] | None = None,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        tag: str | None = None,
    ) -> Process:
        """Start a process in the background, which runs on when this client goes away.

        The arguments are those of `exec`; its stdin is empty. The server keeps the latest of its
        output, for `Process.stream` and `Process.wait`.

        Args:
            cmd: As of `exec`.
            args: As of `exec`.
            cwd: As of `exec`.
            env: As of `exec`.
            user: As of `exec`.
            tag: Name to find it by, with `processes.get`; the server chooses if None.

        Raises:
            ConflictError: A process of the sandbox that runs has the tag.
        """
        command = commands.command(cmd, args, cwd=cwd, env=env, user=user)
        sandbox_id = self._use()
        info = self._run(processes.spawn(self._server, sandbox_id, command, tag))
        return Process(self._transport, sandbox_id, info)

    @property
    def processes(self) -> Processes:
        """The processes that were started by way of the API."""
        return Processes(self._transport, self._use())

    def pty(
        self,
        cmd: str | Sequence[str] | None = None,
        args: Sequence[str] | None = None,
        *,
        cols: int = 80,
        rows: int = 24,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        tag: str | None = None,
    ) -> PtySession:
        """Run a program in a terminal of its own, to type there and to see what it writes.

        Args:
            cmd: As of `exec`; a shell if None.
            args: As of `exec`.
            cols: Columns of the terminal.
            rows: Rows of the terminal.
            cwd: As of `exec`.
            env: As of `exec`.
            tag: Name to return to it by, with `connect_pty`; the server chooses if None.
        """
        wanted = terminals.new(cmd, args, cols, rows, cwd=cwd, env=env, wanted_tag=tag)
        return PtySession(self._transport, self._use(), wanted)

    def connect_pty(self, tag: str) -> PtySession:
        """Return to a terminal, beginning with what the server has kept of its output."""
        return PtySession(self._transport, self._use(), terminals.existing(tag))


class AsyncPrograms(AsyncFileAccess):
    """A sandbox that programs can be run in."""

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

    async def spawn(
        self,
        cmd: str | Sequence[str],
        args: Sequence[str] | None = None,
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        tag: str | None = None,
    ) -> AsyncProcess:
        """Start a process in the background, which runs on when this client goes away.

        The arguments are those of `exec`; its stdin is empty. The server keeps the latest of its
        output, for `Process.stream` and `Process.wait`.

        Args:
            cmd: As of `exec`.
            args: As of `exec`.
            cwd: As of `exec`.
            env: As of `exec`.
            user: As of `exec`.
            tag: Name to find it by, with `processes.get`; the server chooses if None.

        Raises:
            ConflictError: A process of the sandbox that runs has the tag.
        """
        command = commands.command(cmd, args, cwd=cwd, env=env, user=user)
        sandbox_id = self._use()
        info = await self._run(processes.spawn(self._server, sandbox_id, command, tag))
        return AsyncProcess(self._transport, sandbox_id, info)

    @property
    def processes(self) -> AsyncProcesses:
        """The processes that were started by way of the API."""
        return AsyncProcesses(self._transport, self._use())

    def pty(
        self,
        cmd: str | Sequence[str] | None = None,
        args: Sequence[str] | None = None,
        *,
        cols: int = 80,
        rows: int = 24,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        tag: str | None = None,
    ) -> AsyncPtySession:
        """Run a program in a terminal of its own, to type there and to see what it writes.

        Args:
            cmd: As of `exec`; a shell if None.
            args: As of `exec`.
            cols: Columns of the terminal.
            rows: Rows of the terminal.
            cwd: As of `exec`.
            env: As of `exec`.
            tag: Name to return to it by, with `connect_pty`; the server chooses if None.
        """
        wanted = terminals.new(cmd, args, cols, rows, cwd=cwd, env=env, wanted_tag=tag)
        return AsyncPtySession(self._transport, self._use(), wanted)

    def connect_pty(self, tag: str) -> AsyncPtySession:
        """Return to a terminal, beginning with what the server has kept of its output."""
        return AsyncPtySession(self._transport, self._use(), terminals.existing(tag))
