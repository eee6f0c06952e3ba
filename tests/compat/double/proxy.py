"""Ports of sandboxes, which are addressed by the name of the host."""

from __future__ import annotations

import posixpath
import re

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from tests.compat.double import ids, jupyter
from tests.compat.double.accounts import key_caller
from tests.compat.double.answers import ProblemError, problem
from tests.compat.double.world import CODE_TEMPLATE, Capsule, World

_HOST = re.compile(r"(\d+)-(cl-[0-9a-z]+)\.")
_LAST_PORT = 65535
MIRROR = 9000
"""A port at which every sandbox tells what it was asked."""


def is_for_a_port(scope: Scope) -> bool:
    """Tell whether a request is diverted, before any path is looked at."""
    return scope["type"] != "lifespan" and bool(_HOST.match(_host(scope)))


async def pass_on(world: World, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer what is for a port."""
    is_socket = scope["type"] == "websocket"
    websocket = WebSocket(scope, receive, send) if is_socket else None
    connection: HTTPConnection = websocket or Request(scope, receive, send)
    answer: Response | None
    try:
        capsule, port = _target(world, connection)
        answer = None
    except ProblemError as failure:
        answer = problem(failure)
    except _RefusedError as refusal:
        answer = PlainTextResponse(str(refusal), refusal.status)
    else:
        if port == 8888 and capsule.template == CODE_TEMPLATE:
            if websocket is not None:
                await jupyter.converse(capsule, websocket)
                return
            answer = await jupyter.serve(capsule, Request(scope, receive, send))
        elif port == MIRROR and websocket is None:
            # original server: 6, all headers arrive inside, the key among them; and the path is
            # cleaned.
            path = connection.url.path
            path = path if world.is_later else posixpath.normpath(path)
            answer = JSONResponse({"path": path, "headers": dict(connection.headers)})
        else:
            # original server: 6, what nobody listens to is a text.
            text = "proxy error: dial tcp: connect: connection refused\n"
            answer = PlainTextResponse(text, 502)
    if websocket is not None:
        await websocket.send_denial_response(answer)
    else:
        await answer(scope, receive, send)


class _RefusedError(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _host(scope: Scope) -> str:
    return next((value.decode() for name, value in scope["headers"] if name == b"host"), "")


def _target(world: World, connection: HTTPConnection) -> tuple[Capsule, int]:
    # original server: 6, in this order: port, key, id, sandbox, state.
    matched = _HOST.match(_host(connection.scope))
    assert matched is not None
    port, sandbox_id = int(matched[1]), matched[2]
    if not 1 <= port <= _LAST_PORT:
        raise _RefusedError(400, "invalid port\n")
    # A JSON error, unlike the others; no tokens of users. Later ones ask for nothing at all.
    team = None if world.is_later else key_caller(world, connection).team
    try:
        _ = ids.parse(sandbox_id, "cl")
        capsule = next(c for c in world.capsules if c.id == sandbox_id and team in (None, c.team))
    except StopIteration:
        raise _RefusedError(404, "sandbox not found\n") from None
    except ProblemError as failure:
        raise _RefusedError(failure.status, "sandbox not found\n") from failure
    if capsule.status != "running":
        raise _RefusedError(409, f"sandbox is not running (status: {capsule.status})\n")
    if not capsule.has_host or capsule.is_frozen_by_agent:
        raise _RefusedError(503, "sandbox host is not available\n")
    return capsule, port
