"""Terminals over a WebSocket, as original clients and ours speak."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import Mapping
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from sandlot.models import PtyEvent, PtyMessage
from sandlot.server.engine.base import Stream, TerminalSize
from sandlot.server.plane import ControlPlane
from sandlot.server.services.commands import CommandSpec
from sandlot.server.services.errors import InvalidRequestError, ServiceError
from sandlot.server.services.jobs import Job, Jobs
from sandlot.server.services.live import LiveSandbox
from sandlot.server.services.tapes import Gap, Reader

from .admission import Admission, admit
from .bodies import parse_json
from .context import Plane, RunningSandbox, held
from .following import race, receive, say_last

__all__ = ["router"]

router = APIRouter()

_START_TIMEOUT: Final = 10.0
_PING_INTERVAL: Final = 30.0
_STALLED: Final = 10.0
"""Seconds after which a program waits no more for a client that reads nothing."""
_MOST = 65535
_SHELL = ["/bin/sh", "-c", 'exec "$(command -v bash || command -v sh)"']
_SHELL_NAME = "/bin/bash"


@router.get("/{id}/pty")
async def refuse_plain(_live: RunningSandbox) -> Response:
    """Tell those who come without an upgrade what is missing."""
    raise InvalidRequestError("This path speaks WebSocket: ask for an upgrade.")


@router.websocket("/{id}/pty")
async def open_terminal(websocket: WebSocket, plane: Plane, admission: Admission) -> None:
    """Work at a terminal over a WebSocket."""
    await websocket.accept()
    seat = _Seat(websocket)
    try:
        try:
            live = await admit(websocket, plane, admission)
            with held(websocket):
                await seat.run(plane, live)
        except ServiceError as error:
            event = PtyEvent(type="error", data=str(error), code=error.code, fatal=True)
            await say_last(websocket, _message(event), error)
        await websocket.close(1000)
    except (WebSocketDisconnect, TimeoutError):
        return


class _Seat:
    """One client in front of a terminal."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    async def run(self, plane: ControlPlane, live: LiveSandbox) -> None:
        """Talk from the first message to the last event.

        Raises:
            ServiceError: There is no such terminal, or it could not be followed to its end.
            WebSocketDisconnect: The client left.
        """
        first = await self._receive_first()
        offsets: Mapping[Stream, int]
        sandbox_id = live.record.id
        if first.type == "connect":
            job = _find(plane.jobs, sandbox_id, first.tag)
            offsets = _offsets(job, first)
        else:
            job = await plane.jobs.start(live, _spec(first), "terminal", first.tag or None)
            offsets = {"stdout": 0, "stderr": 0}
        reader = job.tape.reader(offsets, hold=True)
        try:
            with live.active():
                if first.type == "start" or first.scrollback:
                    await self.send(_started(job, first, offsets))
                output = self._send_output(job, reader, gaps=bool(first.scrollback))
                await race(output, self._listen(job), self._ping())
        finally:
            job.tape.leave(reader)

    async def send(self, event: PtyEvent) -> None:
        """Send an event."""
        await self._websocket.send(_message(event))

    async def _receive_first(self) -> PtyMessage:
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                first = await receive(self._websocket)
        except TimeoutError as error:
            raise InvalidRequestError("No start message came in time.") from error
        message = parse_json(first.get("text") or first.get("bytes") or "", PtyMessage)
        if message.type not in ("start", "connect"):
            raise InvalidRequestError("The first message must be a start or connect message.")
        return message

    async def _send_output(self, job: Job, reader: Reader, *, gaps: bool) -> None:
        while (piece := await reader.read()) is not None:
            if isinstance(piece, Gap):
                if not gaps:
                    continue
                event = PtyEvent(type="gap", offset=piece.offset)
            else:
                event = PtyEvent(type="output", data=base64.b64encode(piece.data).decode())
            patience = asyncio.get_running_loop().call_later(_STALLED, reader.release)
            try:
                await self.send(event)
            finally:
                patience.cancel()
            reader.holding = True
        end = await job.wait()
        await self.send(PtyEvent(type="exit", exit_code=end.exit_code, signal=end.signal))

    async def _listen(self, job: Job) -> None:
        while True:
            message = _parse(await receive(self._websocket))
            if message is None or job.ended:
                continue
            match message.type:
                case "input":
                    await _type(job, message.data or "")
                case "resize":
                    size = _size(message.cols, message.rows)
                    if size is not None:
                        await job.execution.resize(size)
                case "kill":
                    await job.execution.kill()
                case _:
                    pass  # the contract: others are ignored

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(_PING_INTERVAL)
            await self.send(PtyEvent(type="ping"))


def _message(event: PtyEvent) -> Message:
    return {"type": "websocket.send", "text": event.model_dump_json(exclude_none=True)}


def _spec(first: PtyMessage) -> CommandSpec:
    size = _size(80 if first.cols is None else first.cols, 24 if first.rows is None else first.rows)
    if size is None:
        raise InvalidRequestError(f"cols, rows: must be 1 to {_MOST}.")
    if not first.cmd and first.args:
        raise InvalidRequestError("args: there is no cmd that they are for.")
    argv = [first.cmd, *(first.args or ())] if first.cmd else _SHELL
    return CommandSpec(
        argv=argv,
        asked=argv if first.cmd else [_SHELL_NAME],
        env=first.envs or {},
        cwd=first.cwd or None,
        terminal=size,
    )


def _find(jobs: Jobs, sandbox_id: str, tag: str | None) -> Job:
    if not tag:
        raise InvalidRequestError("tag: is missing.")
    job = jobs.find(sandbox_id, tag)
    if job.kind != "terminal" or job.tag != tag:
        raise InvalidRequestError("That is no terminal.")
    return job


def _offsets(job: Job, first: PtyMessage) -> Mapping[Stream, int]:
    end = job.tape.ends["stdout"]
    offset = (first.offset or 0) if first.scrollback else end
    if offset > end:
        raise InvalidRequestError(f"offset: there are {end} bytes of output, not {offset}.")
    return {"stdout": offset, "stderr": 0}


def _started(job: Job, first: PtyMessage, offsets: Mapping[Stream, int]) -> PtyEvent:
    return PtyEvent(
        type="started",
        tag=job.tag,
        pid=job.execution.pid,
        offset=offsets["stdout"] if first.scrollback else None,
    )


async def _type(job: Job, text: str) -> None:
    """Type something, unless it is not base64, or nothing is read there any more."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return
    with contextlib.suppress(TimeoutError):  # it is not waited for: `kill` must be heard
        async with asyncio.timeout(_STALLED):
            await job.type(data)


def _size(cols: int | None, rows: int | None) -> TerminalSize | None:
    if cols is None or rows is None or not (0 < cols <= _MOST and 0 < rows <= _MOST):
        return None
    return TerminalSize(cols, rows)


def _parse(message: Message) -> PtyMessage | None:
    try:
        return parse_json(message.get("text") or message.get("bytes") or "", PtyMessage)
    except InvalidRequestError:
        return None
