"""Terminals: programs with somebody in front of them."""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Self

from .._operations import arguments, commands, terminals
from .._operations.terminals import Terminal
from .._protocols.terminal import TerminalConversation
from .._transport import AsyncTransport, Transport
from ..errors import CommandTimeoutError, SandboxStateError
from ._line import AsyncLine, Line

__all__ = ["AsyncPtySession", "PtySession"]

_KILL_TIMEOUT = 5.0
"""Seconds that what runs in a terminal has to end after it was killed."""


class PtySession:
    """A terminal in a sandbox: iterate over what is written there.

    It starts when it is entered or first used. Leaving the `with` block kills what runs in a
    terminal that it made, unless `detach` was called before; one that was there already is left
    alone.
    """

    def __init__(self, transport: Transport, sandbox_id: str, terminal: Terminal) -> None:
        self._server = transport.server
        self._sandbox_id = sandbox_id
        self._terminal = terminal
        self._line = Line(transport)
        self._talk = TerminalConversation(terminal.tag)
        self._owned = terminal.size is not None

    @property
    def tag(self) -> str | None:
        """Name by which `connect_pty` finds it; None before it has started, if none was given."""
        return self._talk.tag

    @property
    def pid(self) -> int | None:
        """Id of the program in it, as the sandbox sees it; None before it is known."""
        return self._talk.pid

    @property
    def exit_code(self) -> int | None:
        """How the program ended, -1 if by a signal; None while it is not known to have."""
        return self._talk.exit_code

    @property
    def missed(self) -> int:
        """Bytes of output that were dropped because nobody read them in time."""
        return self._talk.missed

    def write(self, data: str | bytes) -> None:
        """Type something; control characters mean what they mean: U+0003 is Ctrl-C.

        Raises:
            SandboxStateError: The program has ended, or this session was left.
            StreamClosedError: The connection was lost.
        """
        self._use()
        self._talk.type(commands.stdin_bytes(data) or b"")
        self._line.flush()

    def resize(self, cols: int, rows: int) -> None:
        """Change the size of the terminal; programs in it are told (SIGWINCH).

        Raises:
            SandboxStateError: The program has ended, or this session was left.
            StreamClosedError: The connection was lost.
        """
        wanted = terminals.size(cols, rows)
        self._use()
        self._talk.resize(*wanted)
        self._line.flush()

    def kill(self) -> None:
        """Kill everything that runs in the terminal, without waiting for its end.

        Raises:
            SandboxStateError: This session was left.
            StreamClosedError: The connection was lost.
        """
        if self._talk.exit_code is not None:
            return
        self._use()
        self._talk.kill()
        self._line.flush()

    def detach(self) -> None:
        """Leave it running, to be returned to by its tag; may be repeated."""
        self._owned = False
        self._line.hang_up()
        self._line.closed = True

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the program, discarding what it writes; return its exit code.

        Args:
            timeout: Seconds to wait; for ever if None.

        Raises:
            CommandTimeoutError: It has not ended in time, and runs on.
            CommandError: It could not be followed to its end.
        """
        patience = arguments.seconds(timeout, "timeout")
        self._open()
        if not self._line.pump(self._talk.has_ended, timeout=patience, discard=True):
            raise CommandTimeoutError("The program has not ended in time; it runs on")
        self._line.hang_up()
        self._talk.check()
        return -1 if self._talk.exit_code is None else self._talk.exit_code

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        line = self._line
        try:
            if self._owned and line.is_open and not self._talk.has_ended():
                self._talk.kill()
                line.flush()
                _ = line.pump(self._talk.has_ended, timeout=_KILL_TIMEOUT, discard=True)
            line.hang_up()
        finally:
            line.abort()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        self._open()
        _ = self._line.pump(self._talk.has_news)
        if self._talk.is_told():
            self._line.hang_up()
        data = self._talk.take()
        if data is None:
            raise StopIteration
        return data

    def __del__(self) -> None:
        if self._line.is_open:
            self._line.abandon()

    def _open(self) -> None:
        if self._line.is_open or self._talk.is_told():
            return
        self._line.open(
            partial(terminals.open_terminal, self._server, self._sandbox_id), self._begin
        )
        if self._owned:
            _ = self._line.pump(self._talk.has_begun)
            self._talk.check()

    def _use(self) -> None:
        """See to it that there is a program that hears what is said next."""
        self._open()
        if self._line.closed or self._talk.has_ended():
            self._talk.check()
            raise SandboxStateError(
                "Nobody hears this any more: the program has ended, or this session was left; "
                "`connect_pty` returns to what still runs"
            )

    def _begin(self, _framed: bool) -> TerminalConversation:
        wanted = self._terminal
        if wanted.size is None:
            self._talk.connect()
        else:
            self._talk.start(wanted.argv, *wanted.size, wanted.cwd, wanted.env)
        return self._talk

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.tag or '(not started)'} in {self._sandbox_id}>"


class AsyncPtySession:
    """A terminal in a sandbox: iterate over what is written there.

    It starts when it is entered or first used. Leaving the `with` block kills what runs in a
    terminal that it made, unless `detach` was called before; one that was there already is left
    alone.
    """

    def __init__(self, transport: AsyncTransport, sandbox_id: str, terminal: Terminal) -> None:
        self._server = transport.server
        self._sandbox_id = sandbox_id
        self._terminal = terminal
        self._line = AsyncLine(transport)
        self._talk = TerminalConversation(terminal.tag)
        self._owned = terminal.size is not None

    @property
    def tag(self) -> str | None:
        """Name by which `connect_pty` finds it; None before it has started, if none was given."""
        return self._talk.tag

    @property
    def pid(self) -> int | None:
        """Id of the program in it, as the sandbox sees it; None before it is known."""
        return self._talk.pid

    @property
    def exit_code(self) -> int | None:
        """How the program ended, -1 if by a signal; None while it is not known to have."""
        return self._talk.exit_code

    @property
    def missed(self) -> int:
        """Bytes of output that were dropped because nobody read them in time."""
        return self._talk.missed

    async def write(self, data: str | bytes) -> None:
        """Type something; control characters mean what they mean: U+0003 is Ctrl-C.

        Raises:
            SandboxStateError: The program has ended, or this session was left.
            StreamClosedError: The connection was lost.
        """
        await self._use()
        self._talk.type(commands.stdin_bytes(data) or b"")
        await self._line.flush()

    async def resize(self, cols: int, rows: int) -> None:
        """Change the size of the terminal; programs in it are told (SIGWINCH).

        Raises:
            SandboxStateError: The program has ended, or this session was left.
            StreamClosedError: The connection was lost.
        """
        wanted = terminals.size(cols, rows)
        await self._use()
        self._talk.resize(*wanted)
        await self._line.flush()

    async def kill(self) -> None:
        """Kill everything that runs in the terminal, without waiting for its end.

        Raises:
            SandboxStateError: This session was left.
            StreamClosedError: The connection was lost.
        """
        if self._talk.exit_code is not None:
            return
        await self._use()
        self._talk.kill()
        await self._line.flush()

    async def detach(self) -> None:
        """Leave it running, to be returned to by its tag; may be repeated."""
        self._owned = False
        await self._line.hang_up()
        self._line.closed = True

    async def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the program, discarding what it writes; return its exit code.

        Args:
            timeout: Seconds to wait; for ever if None.

        Raises:
            CommandTimeoutError: It has not ended in time, and runs on.
            CommandError: It could not be followed to its end.
        """
        patience = arguments.seconds(timeout, "timeout")
        await self._open()
        if not await self._line.pump(self._talk.has_ended, timeout=patience, discard=True):
            raise CommandTimeoutError("The program has not ended in time; it runs on")
        await self._line.hang_up()
        self._talk.check()
        return -1 if self._talk.exit_code is None else self._talk.exit_code

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        line = self._line
        try:
            if self._owned and line.is_open and not self._talk.has_ended():
                self._talk.kill()
                await line.flush()
                _ = await line.pump(self._talk.has_ended, timeout=_KILL_TIMEOUT, discard=True)
            await line.hang_up()
        finally:
            line.abort()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        await self._open()
        _ = await self._line.pump(self._talk.has_news)
        if self._talk.is_told():
            await self._line.hang_up()
        data = self._talk.take()
        if data is None:
            raise StopAsyncIteration
        return data

    def __del__(self) -> None:
        if self._line.is_open:
            self._line.abandon()

    async def _open(self) -> None:
        if self._line.is_open or self._talk.is_told():
            return
        await self._line.open(
            partial(terminals.open_terminal, self._server, self._sandbox_id), self._begin
        )
        if self._owned:
            _ = await self._line.pump(self._talk.has_begun)
            self._talk.check()

    async def _use(self) -> None:
        """See to it that there is a program that hears what is said next."""
        await self._open()
        if self._line.closed or self._talk.has_ended():
            self._talk.check()
            raise SandboxStateError(
                "Nobody hears this any more: the program has ended, or this session was left; "
                "`connect_pty` returns to what still runs"
            )

    def _begin(self, _framed: bool) -> TerminalConversation:
        wanted = self._terminal
        if wanted.size is None:
            self._talk.connect()
        else:
            self._talk.start(wanted.argv, *wanted.size, wanted.cwd, wanted.env)
        return self._talk

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.tag or '(not started)'} in {self._sandbox_id}>"
