"""Lines: what becomes of connections that are lost, and of those that replace them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest

from sandlot._operations import commands
from sandlot._protocols.exec import ExecConversation
from sandlot._protocols.hearing import HEADER
from sandlot.errors import ConnectError, RequestTimeoutError
from sandlot.sandbox._line import AsyncLine, Line
from tests.colours import Colour


class Wire:
    """A connection: what it receives, and whether it can send."""

    subprotocol = "sandlot.exec.v1"

    def __init__(self, *messages: bytes, sends: bool = True) -> None:
        self.messages = list(messages)
        self.sends = sends
        self.sending = asyncio.Event()
        self.aborted = False

    async def send(self, _message: object) -> None:
        self.sending.set()
        if not self.sends:
            _ = await asyncio.Event().wait()

    async def receive(self, _timeout: float | None) -> bytes:
        if not self.messages:
            raise ConnectionError("lost")
        return self.messages.pop(0)

    def abort(self) -> None:
        self.aborted = True


def control(text: str) -> bytes:
    return HEADER.pack(0, 0) + text.encode()


def nothing() -> Generator[Any, Any, None]:
    yield from ()


async def test_a_return_that_is_cancelled_leaves_no_connection() -> None:
    begun = control('{"type":"start","pid":7,"tag":"t"}')
    first, stuck = Wire(begun), Wire(sends=False)
    last = Wire(
        control('{"type":"start","pid":7,"offset":0}'), control('{"type":"exit","exit_code":0}')
    )
    wires = [first, stuck, last]

    async def connect(*_: object) -> Wire:
        return wires.pop(0)

    transport: Any = SimpleNamespace(socket=connect, with_loss=str)
    line = AsyncLine(transport)
    talk = ExecConversation(framed=True)
    await line.open(nothing, lambda _framed: talk)
    task = asyncio.create_task(line.pump(talk.has_ended))
    _ = await stuck.sending.wait()
    _ = task.cancel()
    with pytest.raises(asyncio.CancelledError):
        _ = await task
    assert stuck.aborted
    assert await line.pump(talk.has_ended)  # whoever asks next returns all the same
    assert talk.is_over
    assert not last.aborted


BEGUN = '{"type":"start","pid":7,"tag":"t"}'
BACK = '{"type":"start","pid":7,"offset":0}'
END = '{"type":"exit","exit_code":0}'


class BlockingWire:
    """A connection of a thread."""

    subprotocol = "sandlot.exec.v1"

    def __init__(self, *messages: str) -> None:
        self.messages = [control(each) for each in messages]

    def send(self, _message: object) -> None:
        pass

    def receive(self, _timeout: float | None) -> bytes:
        if not self.messages:
            raise ConnectionError("lost")
        return self.messages.pop(0)

    def abort(self) -> None:
        pass


class Gate:
    """A way to the server, which is closed at first."""

    def __init__(self) -> None:
        self.open = True
        self.patience: list[float | None] = []
        self.wires = [(BEGUN,), (BACK, END)]

    def pass_through(self, patience: float | None) -> tuple[str, ...]:
        self.patience.append(patience)
        if not self.open:
            raise ConnectError("nobody is there")
        return self.wires.pop(0)

    def connect(self, _flow: object, _name: object, patience: float | None = None) -> BlockingWire:
        return BlockingWire(*self.pass_through(patience))

    async def connect_async(
        self, _flow: object, _name: object, patience: float | None = None
    ) -> Wire:
        return Wire(*map(control, self.pass_through(patience)))


def in_time(patience: list[float | None]) -> bool:
    """Whether it was tried, each time for no longer than there was."""
    return bool(patience) and all(each is not None and 0 < each <= 0.3 for each in patience)


async def test_a_return_takes_no_longer_than_somebody_waits() -> None:
    """What was not reached in time may be reached by who waits next: nothing is lost so far."""
    gate = Gate()
    transport: Any = SimpleNamespace(socket=gate.connect_async, with_loss=str)
    line = AsyncLine(transport)
    talk = ExecConversation(framed=True)
    await line.open(nothing, lambda _framed: talk)
    gate.open = False
    gate.patience.clear()
    assert not await line.pump(talk.has_ended, timeout=0.3)
    assert in_time(gate.patience)
    assert not await line.pump(talk.has_ended, timeout=0)
    assert not talk.is_over
    gate.open = True
    assert await line.pump(talk.has_ended)
    assert talk.is_over


def test_a_return_takes_no_longer_than_a_thread_waits() -> None:
    gate = Gate()
    transport: Any = SimpleNamespace(socket=gate.connect, with_loss=str)
    line = Line(transport)
    talk = ExecConversation(framed=True)
    line.open(nothing, lambda _framed: talk)
    gate.open = False
    gate.patience.clear()
    assert not line.pump(talk.has_ended, timeout=0.3)
    assert in_time(gate.patience)
    assert not line.pump(talk.has_ended, timeout=0)
    assert not talk.is_over
    gate.open = True
    assert line.pump(talk.has_ended)
    assert talk.is_over


async def test_a_server_that_does_not_answer_is_tried_once_for_as_long_as_there_is(
    colour: Colour,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with colour.client("key", base_url=url) as client:
            opening = commands.open_stream("cl-0000000000000000000000001")
            with pytest.raises(RequestTimeoutError, match=r"after 0\.2 s"):
                await client._transport.socket(opening, "any", 0.2)
        listener.setblocking(False)
        listener.accept()[0].close()
        with pytest.raises(BlockingIOError):
            _ = listener.accept()
