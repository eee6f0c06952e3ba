"""What the server asks of the agent in a sandbox."""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sandlot.server.engine.base import EngineError, SandboxGoneError
from sandlot.server.guest import wire

from .channel import Channel
from .handover import take

__all__ = ["AgentClient", "AgentStartError", "Answer", "Lasting", "RefusedError"]

Answer = tuple[wire.Message, list[int]]

# An exit code, or the negative number of a signal (NSIG is 64 on Linux).
_LOWEST_STATUS = -64
_HIGHEST_STATUS = 255


class RefusedError(Exception):
    """The agent met an error of the operating system.

    Attributes:
        number: What kind of error, as in the module `errno`.
    """

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number


@dataclass(frozen=True, slots=True)
class Lasting:
    """A program that outlasted the server that started it.

    Attributes:
        key: The request that started it.
        pid: Its id, as the sandbox sees it.
        exit_status: What will be its exit status.
    """

    key: int
    pid: int
    exit_status: asyncio.Future[int]


class AgentStartError(EngineError):
    """A sandbox could not be built.

    Attributes:
        call: The step that failed.
        number: The error of that step, as in the module `errno`.
        text: The text of that error.
    """

    def __init__(self, call: str, number: int, text: str) -> None:
        super().__init__(f"the sandbox could not be made: {call}: {text}")
        self.call = call
        self.text = text
        self.number = number


class AgentClient:
    """Sends requests to an agent and sorts its answers.

    Everything that an agent says is checked: what is malformed or was not asked for ends the
    conversation, and thereby the sandbox.

    Args:
        sock: The channel.
        adopted: Whether another server began the conversation with it.
    """

    def __init__(self, sock: socket.socket, *, adopted: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self._adopted = adopted
        # Programs are known by the numbers of requests: those of another server are not repeated.
        self._last = secrets.randbits(48) if adopted else 0
        self._lasting: dict[str, Lasting] = {}
        self._pending: dict[int, asyncio.Future[Answer]] = {}
        self._exits: dict[int, asyncio.Future[int]] = {}
        self._ready: asyncio.Future[None] = loop.create_future()
        self._gone = asyncio.Event()
        self._farewells: list[Callable[[], None]] = []
        self._on_connection: Callable[[list[int]], None] | None = None
        self._channel = Channel(sock, self._take, self._end)

    @property
    def gone(self) -> bool:
        """Whether the agent has ended or was let go."""
        return self._channel.closed

    async def wait_gone(self) -> None:
        """Wait until the agent has ended or was let go."""
        _ = await self._gone.wait()

    def when_gone(self, callback: Callable[[], None]) -> None:
        """Have something done, at once, when the agent has ended or was let go."""
        self._farewells.append(callback)

    def when_connected(self, callback: Callable[[list[int]], None]) -> None:
        """Have connections taken that the agent's listener accepts; descriptors are taken over."""
        self._on_connection = callback

    async def wait_ready(self) -> None:
        """Wait until the sandbox has been built, or has heard that there is another server.

        Raises:
            AgentStartError: It could not be built.
        """
        await asyncio.shield(self._ready)

    def lasting(self, name: str) -> Lasting | None:
        """Return the program of this name that another server started, if it was running still."""
        return self._lasting.get(name)

    async def ask(self, op: str, fields: wire.Message) -> wire.Message:
        """Send a request and wait for its answer, which has no descriptors.

        Raises:
            RefusedError: The agent met an error.
            SandboxGoneError: The sandbox has died.
        """
        message, fds = await self.take(self.request(op, fields)[1])
        wire.close_all(fds)  # there should be none
        return message

    async def fetch(self, op: str, fields: wire.Message) -> list[int]:
        """Send a request and wait for the descriptors in its answer, which are the caller's.

        Raises:
            RefusedError: The agent met an error.
            SandboxGoneError: The sandbox has died.
        """
        return (await self.take(self.request(op, fields)[1]))[1]

    async def take(self, answer: asyncio.Future[Answer]) -> Answer:
        """Wait for an answer, whose descriptors are the caller's."""
        return await take(answer, _close)

    def request(
        self, op: str, fields: wire.Message, fds: Sequence[int] = ()
    ) -> tuple[int, asyncio.Future[Answer]]:
        """Send a request, now; return its number and what will be its answer, to be taken."""
        self._last += 1
        number = self._last
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self.gone:
            wire.close_all(fds)
            future.set_exception(_gone())
            return number, future
        self._pending[number] = future
        try:
            self._channel.send({"op": op, "request": number, **fields}, fds)
        except wire.WireError as error:
            del self._pending[number]
            wire.close_all(fds)
            raise EngineError(str(error)) from error
        return number, future

    def tell(self, op: str, fields: wire.Message, fds: Sequence[int] = ()) -> None:
        """Send a request whose outcome does not matter."""
        _, future = self.request(op, fields, fds)
        future.add_done_callback(_throw_away)

    def expect_exit(self, process: int) -> asyncio.Future[int]:
        """Return what will be the exit status of the process that this request starts."""
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.gone:
            future.set_exception(_gone())
        else:
            self._exits[process] = future
        future.add_done_callback(_ignore)
        return future

    def forget_exit(self, process: int) -> None:
        """Expect no exit after all."""
        _ = self._exits.pop(process, None)

    def close(self) -> None:
        """Hang up; an agent ends when it hears that."""
        self._channel.close()

    def _take(self, message: wire.Message, fds: list[int]) -> None:
        event = wire.optional_text(message, "event")
        try:
            if event is None:
                fds = self._take_answer(message, fds)
            elif event == "exit":
                self._take_exit(message)
            elif event == "connection" and self._on_connection is not None:
                taken, fds = fds, []
                self._on_connection(taken)
            elif event == ("adopted" if self._adopted else "ready"):
                self._take_lasting(message)
                self._ready.set_result(None)
            elif event == "failed":
                call, text = wire.text(message, "call"), wire.text(message, "text")
                number = wire.integer(message, "error")
                self._ready.set_exception(AgentStartError(call, number, text))
            else:
                raise wire.WireError("there is no such event")
        except (KeyError, asyncio.InvalidStateError) as error:
            raise wire.WireError("nobody waits for that") from error
        finally:
            wire.close_all(fds)

    def _take_lasting(self, message: wire.Message) -> None:
        if not self._adopted:
            return
        for item in wire.mappings(message, "lasting"):
            key, pid = wire.integer(item, "process"), wire.integer(item, "pid")
            self._lasting[wire.text(item, "name")] = Lasting(key, pid, self.expect_exit(key))

    def _take_answer(self, message: wire.Message, fds: list[int]) -> list[int]:
        """Hand an answer to who waits for it; return the descriptors that nobody took."""
        number = wire.optional_integer(message, "error")
        refusal = None if number is None else RefusedError(number, wire.text(message, "text"))
        if "lost" in message:
            refusal = RefusedError(errno.EMFILE, "the server has too many open files")
        future = self._pending.pop(wire.integer(message, "request"))
        if future.done():  # whoever asked has gone away
            return fds
        if refusal is not None:
            future.set_exception(refusal)
            return fds
        future.set_result((message, fds))
        return []

    def _take_exit(self, message: wire.Message) -> None:
        status = wire.integer(message, "status")
        if not _LOWEST_STATUS <= status <= _HIGHEST_STATUS:
            raise wire.WireError("there is no such exit status")
        future = self._exits.pop(wire.integer(message, "process"), None)
        if future is not None and not future.done():
            future.set_result(status)

    def _end(self) -> None:
        if not self._ready.done():
            self._ready.set_exception(_gone())
        for answer in self._pending.values():
            if not answer.done():
                answer.set_exception(_gone())
        for status in self._exits.values():
            if not status.done():
                status.set_exception(_gone())
        self._pending.clear()
        self._exits.clear()
        self._ready.add_done_callback(_ignore)
        self._gone.set()
        for farewell in self._farewells:
            farewell()


def _gone() -> SandboxGoneError:
    return SandboxGoneError("the sandbox has died")


def _close(answer: Answer) -> None:
    wire.close_all(answer[1])


def _throw_away(future: asyncio.Future[Answer]) -> None:
    if not future.cancelled() and future.exception() is None:
        _close(future.result())


def _ignore(future: asyncio.Future[int] | asyncio.Future[None]) -> None:
    """Look at the outcome, so that asyncio does not complain that nobody did."""
    if not future.cancelled():
        _ = future.exception()
