"""Running commands over a WebSocket.

Three things go on at once: output goes out, messages come in, and acknowledgements of input go out.
Each waits for the one it serves and for nothing else, so a reader that is slow slows the command
down, but its `stop` is heard.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from sandlot.models import (
    ExecStreamArrival,
    ExecStreamEvent,
    ExecStreamResume,
    ExecStreamStart,
)
from sandlot.server.engine.base import Stream
from sandlot.server.plane import ControlPlane
from sandlot.server.services.errors import InvalidRequestError, ServiceError
from sandlot.server.services.jobs import Job, Jobs
from sandlot.server.services.live import LiveSandbox

from .bodies import parse_json
from .commands import command_spec
from .context import Plane, RunningSandbox, held
from .following import race, receive, say_last, send_output
from .wire import SUBPROTOCOL, BinaryWire, Control, Stdin, TextWire, Wire

__all__ = ["router"]

router = APIRouter()

START_TIMEOUT: Final = 10.0
"""Seconds that a client has for its first message."""

_GOODBYE: Final = 2.0
"""Seconds that a client has to close a connection on which everything has been said."""

_ON_PURPOSE: Final = frozenset({1000, 1001})
"""Codes of clients that have closed the connection themselves: RFC 6455, section 7.4.1. What is
lost without a word is told as 1005 or 1006."""


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
    except (WebSocketDisconnect, TimeoutError):
        return


class _Conversation:
    """One command and the client that watches it."""

    def __init__(self, websocket: WebSocket, wire: Wire) -> None:
        self._websocket = websocket
        self._wire = wire
        self._told = False

    async def run(self, plane: ControlPlane, live: LiveSandbox) -> None:
        """Talk from the first message to the last event.

        Raises:
            WebSocketDisconnect: The client left.
        """
        try:
            with held(self._websocket):
                await self._talk(plane.jobs, live)
        except ServiceError as error:
            if not self._told:
                event = ExecStreamEvent(type="error", data=str(error), code=error.code)
                await say_last(self._websocket, self._wire.event(event), error)

    async def _talk(self, jobs: Jobs, live: LiveSandbox) -> None:
        first = await self._receive_first()
        if first.type == "resume" and self._wire.has_stdin:
            await self._resume(jobs, live, parse_json(first.text, ExecStreamResume))
        elif first.type == "start":
            await self._start(jobs, live, parse_json(first.text, ExecStreamStart))
        else:
            raise InvalidRequestError("The first message must be a start message.")

    async def _receive_first(self) -> Control:
        try:
            async with asyncio.timeout(START_TIMEOUT):
                message = self._wire.parse(await receive(self._websocket))
        except TimeoutError as error:
            raise InvalidRequestError("No start message came in time.") from error
        if not isinstance(message, Control):
            raise InvalidRequestError("The first message must be a start message.")
        return message

    async def _start(self, jobs: Jobs, live: LiveSandbox, start: ExecStreamStart) -> None:
        spec = command_spec(start, None, stdin=self._wire.has_stdin)
        patience = (start.resume_sec or 0.0) if self._wire.has_stdin else 0.0
        job = await jobs.start(live, spec, "command")
        assert job.reader is not None
        job.reader.acknowledges = patience > 0
        event = ExecStreamEvent(type="start", pid=job.execution.pid)
        if patience:
            job.patience = patience
            event.tag = job.tag
        await self._follow(jobs, live.record.id, job, event)

    async def _resume(self, jobs: Jobs, live: LiveSandbox, wanted: ExecStreamResume) -> None:
        job = jobs.find_command(live.record.id, wanted.tag)
        job.come_back(_arrived(wanted))
        event = ExecStreamEvent(
            type="start", pid=job.execution.pid, tag=job.tag, offset=job.input.received
        )
        await self._follow(jobs, live.record.id, job, event)

    async def _follow(self, jobs: Jobs, sandbox_id: str, job: Job, start: ExecStreamEvent) -> None:
        """Have the client follow a command; what becomes of that depends on how the client left."""
        seat = job.sit_down()
        patience: float | None = None
        try:
            await self._send_event(start)
            await self._serve(job, seat)
            self._told = True
            if job.patience:
                patience = job.patience
                await self._wait_for_goodbye()
        except WebSocketDisconnect as left:
            patience = None if left.code in _ON_PURPOSE else job.patience or None
            raise
        except asyncio.CancelledError:
            patience = 0.0  # the client has no right to it any more, and is told without delay
            raise
        finally:
            if patience is not None:
                jobs.end_later(sandbox_id, job, seat, patience)
            elif not seat.done():
                await jobs.end(sandbox_id, job)

    async def _wait_for_goodbye(self) -> None:
        """Give the client time to close the connection, which says that it knows the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE):
                while True:
                    _ = await receive(self._websocket)

    async def _serve(self, job: Job, seat: asyncio.Future[None]) -> None:
        assert job.reader is not None
        output = send_output(self._websocket, self._wire, job, job.reader)
        await race(output, self._listen(job, seat), self._acknowledge(job), _ousted(seat))

    async def _listen(self, job: Job, seat: asyncio.Future[None]) -> None:
        """Take messages until the client leaves, or has come back over another connection."""
        while True:
            message = await receive(self._websocket)
            if seat.done():
                return  # it was told how much had come: what is late would be too much
            match self._wire.parse(message):
                case Stdin(offset, data):
                    job.input.put(offset, data)
                case Control("stop"):
                    await job.execution.stop()
                case Control("ack", text) if self._wire.has_stdin and job.patience:
                    job.acknowledge(_arrived(parse_json(text, ExecStreamArrival)))
                case Control("stdin_close") if self._wire.has_stdin:
                    job.input.close()
                case Control("signal", _, str(name)) if self._wire.has_stdin:
                    await job.execution.signal(_signal_number(name))
                case _:
                    pass  # the contract: others are ignored

    async def _acknowledge(self, job: Job) -> None:
        """Tell how much of the input the command has taken."""
        taken = 0
        while True:
            taken = await job.input.more_taken(taken)
            await self._send_event(ExecStreamEvent(type="ack", offset=taken))

    async def _send_event(self, event: ExecStreamEvent) -> None:
        await self._websocket.send(self._wire.event(event))


def _arrived(message: ExecStreamArrival | ExecStreamResume) -> dict[Stream, int]:
    return {"stdout": message.stdout, "stderr": message.stderr}


async def _ousted(seat: asyncio.Future[None]) -> None:
    await asyncio.shield(seat)  # cancelling who waits for it must not cancel it
    raise WebSocketDisconnect(1006, "The client has come back over another connection.")


def _signal_number(name: str) -> int:
    try:
        return signal.Signals[name]
    except KeyError as error:
        raise InvalidRequestError(f"There is no signal {name!r}.") from error
