"""Commands whose output is sent while they run."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tests.compat.double.accounts import caller
from tests.compat.double.answers import ProblemError, problem
from tests.compat.double.commands import exit_code, spawn
from tests.compat.double.world import Capsule, World

_PIECE = 32768


def routes(world: World) -> list[WebSocketRoute]:
    async def converse(websocket: WebSocket) -> None:
        if world.is_later:
            await websocket.accept()
        try:
            # original server: 3.1, these are answered before the upgrade; later ones after it.
            capsule = world.capsule(caller(websocket), websocket.path_params["id"], running=True)
        except ProblemError as failure:
            if world.is_later:
                await websocket.send_json({"type": "error", "data": str(failure)})
                websocket.state.hang_up()
            else:
                await websocket.send_denial_response(problem(failure))
            return
        if not world.is_later:
            await websocket.accept()  # original server: 3, no subprotocol
        try:
            await _run(world, capsule, websocket)
        except WebSocketDisconnect:
            return  # original server: 3.1, the process goes on
        # original server: 3, no closing handshake: the connection is dropped.
        websocket.state.hang_up()

    return [WebSocketRoute("/v1/sandboxes/{id}/exec/stream", converse)]


async def _run(world: World, capsule: Capsule, websocket: WebSocket) -> None:
    async def say(kind: str, **more: Any) -> None:
        # original server: 3.1, `data` is left out when it is empty.
        told = {name: value for name, value in more.items() if value != ""}
        await websocket.send_text(json.dumps({"type": kind, **told}))

    try:
        first = json.loads(await websocket.receive_text())
    except ValueError:
        first = {}
    if first.get("type") != "start" or not first.get("cmd"):
        await say("error", data="first message must be type 'start' with a 'cmd'")
        return
    if not capsule.has_host:
        await say("error", data="sandbox host is not available")
        return
    # original server: 3.1, `cwd`, `env`, `timeout_sec` and the like are not looked at.
    process = await spawn(world, capsule, [first["cmd"], *first.get("args", [])])
    await say("start", pid=process.pid)
    assert process.stdout is not None
    assert process.stderr is not None

    async def pass_on(kind: str, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(_PIECE):
            # original server: 3.1, each piece is decoded by itself, and what is no UTF-8 is lost.
            await say(kind, data=data.decode(errors="replace"))

    async def follow() -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        _ = await asyncio.gather(
            pass_on("stdout", process.stdout), pass_on("stderr", process.stderr)
        )
        await say("exit", exit_code=exit_code(await process.wait()))

    async def listen() -> None:
        while json.loads(await websocket.receive_text()).get("type") != "stop":
            pass

    tasks = [asyncio.create_task(follow()), asyncio.create_task(listen())]
    frozen = asyncio.create_task(capsule.halted.wait())
    # original server: 3.1, `stop` ends the stream and nothing else; so does pausing. No `exit`.
    done, rest = await asyncio.wait([*tasks, frozen], return_when=asyncio.FIRST_COMPLETED)
    for task in rest:
        _ = task.cancel()
    for task in done:
        task.result()
