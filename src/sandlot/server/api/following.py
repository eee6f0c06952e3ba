"""What those who follow a command over a WebSocket are sent, and doing several things meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Final

from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

from sandlot.models import ExecStreamEvent
from sandlot.server.services.errors import ServiceError
from sandlot.server.services.executions import CommandEnd
from sandlot.server.services.jobs import Job
from sandlot.server.services.tapes import Gap, Reader

from .wire import Wire

__all__ = ["exit_event", "race", "receive", "say_last", "send_output"]

_FAREWELL: Final = 2.0


async def send_output(
    websocket: WebSocket, wire: Wire, job: Job, reader: Reader, *, gaps: bool = True
) -> None:
    """Send what a job writes, and at last how it ended.

    Raises:
        ServiceError: It could not be followed to its end.
    """
    while (piece := await reader.read()) is not None:
        if isinstance(piece, Gap):
            messages = wire.gap(piece) if gaps else []
        else:
            messages = wire.output(piece)
        for message in messages:
            await websocket.send(message)
    end = await job.wait()
    for message in wire.rest():
        await websocket.send(message)
    await websocket.send(wire.event(exit_event(end)))


def exit_event(end: CommandEnd) -> ExecStreamEvent:
    """Return the event that tells how a command ended."""
    return ExecStreamEvent(
        type="exit",
        exit_code=end.exit_code,
        signal=end.signal,
        timed_out=end.timed_out or None,
        oom=end.oom or None,
        no_space=end.no_space or None,
    )


async def race(
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


async def say_last(websocket: WebSocket, message: Message, error: ServiceError) -> None:
    """Say why a conversation is over; whoever lost the right to it is not waited for long.

    Raises:
        TimeoutError: They have not taken what was said before.
    """
    async with asyncio.timeout(_FAREWELL if error.midway else None):
        await websocket.send(message)


async def receive(websocket: WebSocket) -> Message:
    """Return the next message.

    Raises:
        WebSocketDisconnect: The client left.
    """
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    return message
