"""Lines: what becomes of connections that replace one that was lost."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest

from sandlot._protocols.exec import ExecConversation
from sandlot._protocols.hearing import HEADER
from sandlot.sandbox._line import AsyncLine


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
