"""Running commands over a WebSocket.

Three things go on at once: output goes out, messages come in, and input goes into the command. Each
waits for the one it serves and for nothing else, so a reader that is slow slows the command down,
but its `stop` is heard.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from sandlot.models import ExecStreamEvent, ExecStreamStart
from sandlot.server.plane import ControlPlane
from sandlot.server.services.commands import Execution
from sandlot.server.services.errors import InvalidRequestError, ServiceError
from sandlot.server.services.live import LiveSandbox

from .bodies import parse_json
from .commands import command_spec
from .context import Plane, RunningSandbox
from .wire import SUBPROTOCOL, BinaryWire, Control, Stdin, TextWire, Wire

__all__ = ["router"]

router = APIRouter()

START_TIMEOUT: Final = 10.0
"""Seconds that a client has for its first message."""

STDIN_WINDOW: Final = 1 << 20
"""Bytes of input that may be on their way, unacknowledged."""


@router.get("/{id}/exec/stream")
async def refuse_plain(_live: RunningSandbox) -> Response:
    """Tell those who come without an upgrade what is missing."""
    raise InvalidRequestError("This path speaks WebSocket: ask for an upgrade.")


@router.websocket("/{id}/exec/stream")
async def stream_command(websocket: WebSocket, plane: Plane, live: RunningSandbox) -> None:
    """Run a command over a WebSocket."""
    offered: list[str] = websocket.scope["subprotocols"]
    binary = SUBPROTOCOL in offered
    await websocket.accept(SUBPROTOCOL if binary else None)
    conversation = _Conversation(websocket, BinaryWire() if binary else TextWire())
    try:
        await conversation.run(plane, live)
        await websocket.close(1000)
    except WebSocketDisconnect:
        return


class _Conversation:
    """One command and the client that watches it."""

    def __init__(self, websocket: WebSocket, wire: Wire) -> None:
        self._websocket = websocket
        self._wire = wire
        self._stdin = _StdinQueue()

    async def run(self, plane: ControlPlane, live: LiveSandbox) -> None:
        """Talk from the first message to the last event.

        Raises:
            WebSocketDisconnect: The client left.
        """
        try:
            start = await self._receive_start()
            spec = command_spec(start, None, stdin=self._wire.has_stdin)
            async with plane.commands.start(live, spec) as execution:
                await self._serve(execution)
        except ServiceError as error:
            await self._send_event(ExecStreamEvent(type="error", data=str(error), code=error.code))

    async def _receive_start(self) -> ExecStreamStart:
        try:
            async with asyncio.timeout(START_TIMEOUT):
                message = self._wire.parse(await self._receive())
        except TimeoutError as error:
            raise InvalidRequestError("No start message came in time.") from error
        if not isinstance(message, Control) or message.type != "start":
            raise InvalidRequestError("The first message must be a start message.")
        return parse_json(message.text, ExecStreamStart)

    async def _serve(self, execution: Execution) -> None:
        await self._send_event(ExecStreamEvent(type="start", pid=execution.pid))
        await _race(self._pump(execution), self._listen(execution), self._feed(execution))

    async def _pump(self, execution: Execution) -> None:
        """Send output, and at last how the command ended."""
        while (piece := await execution.read()) is not None:
            for message in self._wire.output(piece):
                await self._websocket.send(message)
        end = await execution.wait()
        for message in self._wire.rest():
            await self._websocket.send(message)
        await self._send_event(
            ExecStreamEvent(
                type="exit",
                exit_code=end.exit_code,
                signal=end.signal,
                timed_out=end.timed_out or None,
                oom=end.oom or None,
                no_space=end.no_space or None,
            )
        )

    async def _listen(self, execution: Execution) -> None:
        """Take messages until the client leaves."""
        while True:
            match self._wire.parse(await self._receive()):
                case Stdin(offset, data):
                    self._stdin.put(offset, data)
                case Control("stop"):
                    await execution.stop()
                case Control("stdin_close") if self._wire.has_stdin:
                    self._stdin.close()
                case Control("signal", _, str(name)) if self._wire.has_stdin:
                    await execution.signal(_signal_number(name))
                case _:
                    pass  # the contract: others are ignored

    async def _feed(self, execution: Execution) -> None:
        """Hand input to the command, acknowledging what it has taken."""
        taken = 0
        reads = True
        while (data := await self._stdin.get()) is not None:
            # What nobody reads any more is acknowledged all the same, or the client would wait for
            # ever.
            reads = reads and await execution.write_stdin(data)
            taken += len(data)
            self._stdin.taken(len(data))
            await self._send_event(ExecStreamEvent(type="ack", offset=taken))
        await execution.close_stdin()

    async def _receive(self) -> Message:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        return message

    async def _send_event(self, event: ExecStreamEvent) -> None:
        await self._websocket.send(self._wire.event(event))


class _StdinQueue:
    """Input between the client and the command; the window bounds it."""

    def __init__(self) -> None:
        self._pieces = asyncio.Queue[bytes | None]()
        self._received = 0
        self._pending = 0
        self._closed = False

    def put(self, offset: int, data: bytes) -> None:
        """Add what the client sent.

        Raises:
            InvalidRequestError: The client does not keep to the protocol.
        """
        if self._closed:
            raise InvalidRequestError("Input came after stdin_close.")
        if offset != self._received:
            raise InvalidRequestError(
                f"Input at offset {offset} came where {self._received} was due."
            )
        self._received += len(data)
        self._pending += len(data)
        if self._pending > STDIN_WINDOW:
            raise InvalidRequestError(
                f"More than {STDIN_WINDOW} bytes of input are unacknowledged."
            )
        if data:
            self._pieces.put_nowait(data)

    def close(self) -> None:
        """Add the end of the input; may be repeated."""
        if not self._closed:
            self._closed = True
            self._pieces.put_nowait(None)

    async def get(self) -> bytes | None:
        """Return the next piece, None at the end."""
        return await self._pieces.get()

    def taken(self, count: int) -> None:
        """Note that the command has taken that many bytes."""
        self._pending -= count


async def _race(
    main: Coroutine[object, object, None], *others: Coroutine[object, object, None]
) -> None:
    """Do something to its end with other things alongside; the failure of any ends all."""
    tasks = [asyncio.create_task(work) for work in (main, *others)]
    pending = set(tasks)
    try:
        while not tasks[0].done():
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        for task in tasks:
            _ = task.cancel()
        _ = await asyncio.wait(tasks)


def _signal_number(name: str) -> int:
    try:
        return signal.Signals[name]
    except KeyError as error:
        raise InvalidRequestError(f"There is no signal {name!r}.") from error
