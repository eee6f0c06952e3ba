"""Processes that run without anybody waiting for them."""

from __future__ import annotations

from datetime import UTC
from typing import Final

from fastapi import APIRouter
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from sandlot.models import BackgroundProcess, ExecStreamEvent, ProcessInfo, ProcessList
from sandlot.server.engine.base import Stream
from sandlot.server.services.audit import note
from sandlot.server.services.errors import InvalidRequestError, ServiceError
from sandlot.server.services.jobs import Job, JobRecord
from sandlot.server.services.tapes import Gap

from .admission import Admission, admit
from .bodies import reply
from .context import Plane, RunningSandbox, held
from .following import race, receive, say_last, send_output
from .parameters import flag
from .wire import SUBPROTOCOL, BinaryWire, TextWire, Wire

__all__ = ["background_reply", "router"]

router = APIRouter()

_KILL: Final = "SIGKILL"


@router.get("/{id}/processes")
async def list_processes(request: Request, plane: Plane, live: RunningSandbox) -> Response:
    """List processes."""
    records = plane.jobs.records(
        live.record.id, all=flag(request.query_params, "all", default=False)
    )
    return reply(ProcessList(processes=[_view(record) for record in records]))


@router.delete("/{id}/processes/{selector}")
async def kill_process(
    request: Request, plane: Plane, live: RunningSandbox, selector: str
) -> Response:
    """Send a signal to a process."""
    name = request.query_params.get("signal") or _KILL
    note(process=selector, signal=name)
    await plane.jobs.signal(live.record.id, selector, name)
    return Response(status_code=204)


@router.get("/{id}/processes/{selector}/stream")
async def refuse_plain(_live: RunningSandbox) -> Response:
    """Tell those who come without an upgrade what is missing."""
    raise InvalidRequestError("This path speaks WebSocket: ask for an upgrade.")


@router.websocket("/{id}/processes/{selector}/stream")
async def stream_process(
    websocket: WebSocket, plane: Plane, admission: Admission, selector: str
) -> None:
    """Follow a process over a WebSocket."""
    offsets = _offsets(websocket.query_params)
    binary = SUBPROTOCOL in websocket.scope["subprotocols"]
    wire = BinaryWire() if binary else TextWire()
    try:
        await websocket.accept(SUBPROTOCOL if binary else None)
        try:
            live = await admit(websocket, plane, admission)
            job = plane.jobs.find(live.record.id, selector)
            _check(job, offsets)
            with held(websocket), live.active():
                await _follow(websocket, wire, job, offsets)
        except ServiceError as error:
            event = ExecStreamEvent(type="error", data=str(error), code=error.code)
            await say_last(websocket, wire.event(event), error)
        await websocket.close(1000)
    except (WebSocketDisconnect, TimeoutError):
        return


async def _follow(
    websocket: WebSocket, wire: Wire, job: Job, offsets: dict[Stream, int] | None
) -> None:
    reader = job.tape.reader(offsets)
    framed = isinstance(wire, BinaryWire)
    try:
        start = ExecStreamEvent(type="start", pid=job.execution.pid, tag=job.tag)
        await websocket.send(wire.event(start))
        if framed and offsets is None:  # frames have offsets: say where they begin
            for stream, offset in reader.seen.items():
                await websocket.send(*wire.gap(Gap(stream, offset)))
        gaps = framed or offsets is not None
        await race(send_output(websocket, wire, job, reader, gaps=gaps), _ignore(websocket))
    finally:
        job.tape.leave(reader)


def background_reply(sandbox_id: str, cmd: str, job: Job) -> Response:
    """Return the answer to who has started a process in the background."""
    answer = BackgroundProcess(sandbox_id=sandbox_id, cmd=cmd, pid=job.execution.pid, tag=job.tag)
    return reply(answer, 202)


async def _ignore(websocket: WebSocket) -> None:
    while True:
        _ = await receive(websocket)


def _offsets(params: QueryParams) -> dict[Stream, int] | None:
    names: tuple[Stream, Stream] = ("stdout", "stderr")
    if not any(params.get(name) for name in names):
        return None
    return {name: _offset(name, params.get(name) or "0") for name in names}


def _offset(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise InvalidRequestError(f"{name}: must be a number of bytes.")
    return int(text)


def _check(job: Job, offsets: dict[Stream, int] | None) -> None:
    if job.kind != "background":
        raise InvalidRequestError(
            "Only background processes can be followed; terminals are at the path pty."
        )
    for stream, offset in (offsets or {}).items():
        if offset > job.tape.ends[stream]:
            raise InvalidRequestError(
                f"{stream}: there are {job.tape.ends[stream]} bytes of it, not {offset}."
            )


def _view(record: JobRecord) -> ProcessInfo:
    end = record.end
    return ProcessInfo(
        pid=record.pid,
        tag=record.tag,
        cmd=record.argv[0],
        args=list(record.argv[1:]),
        kind=record.kind,
        started_at=record.started_at.astimezone(UTC),
        exit_code=None if end is None else end.exit_code,
        signal=None if end is None else end.signal,
        lost=record.lost or None,
    )
