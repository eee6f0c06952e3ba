"""The double as a server."""

from __future__ import annotations

import contextlib
import re
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tests.compat.double import (
    accounts,
    admin,
    audit,
    capsules,
    channels,
    commands,
    files,
    hosts,
    keys,
    me,
    overview,
    proxy,
    snapshots,
    streams,
    teams,
)
from tests.compat.double.answers import PanicError, ProblemError, problem, reply
from tests.compat.double.world import World

_AREAS = (
    accounts,
    admin,
    audit,
    capsules,
    channels,
    commands,
    files,
    hosts,
    keys,
    me,
    overview,
    snapshots,
    streams,
    teams,
)
_ROOTS = re.compile(r"/v1/[a-z/-]+(/[^/]+)?/")


class Original:
    """The original server as an application."""

    def __init__(self, world: World) -> None:
        self._world = world
        routes = [route for area in _AREAS for route in area.routes(world)]
        if world.is_later:
            routes.append(Route("/health", _health, methods=["GET"]))
        self._router: ASGIApp = Router(
            routes, redirect_slashes=False, default=_unknown, lifespan=self._live
        )

    @asynccontextmanager
    async def _live(self, app: ASGIApp) -> AsyncIterator[None]:
        del app
        yield
        await self._world.end()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._router(scope, receive, send)
            return
        hang_up = _end_of(send)
        scope.setdefault("state", {})["hang_up"] = hang_up
        if proxy.is_for_a_port(scope):
            await proxy.pass_on(self._world, scope, receive, send)
            return
        if _ROOTS.fullmatch(scope["path"]):  # original server: 1.1, a slash at the end is accepted
            scope["path"] = scope["path"].rstrip("/")
        if self._world.is_later and not _is_later(scope):
            await _unknown(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        self._world.requests.append(f"{scope.get('method', 'WS')} {scope['path']}")
        is_lost = self._world.requests[-1] in self._world.lost
        try:
            accounts.identify(self._world, connection)
            await self._router(scope, receive, _lose(send) if is_lost else send)
            if is_lost:
                hang_up()
        except ProblemError as failure:
            await _refuse(problem(failure), scope, receive, send)
        except HTTPException as exc:
            # original server: 1.1, a method that is not there (405) has no body.
            await _refuse(Response(status_code=exc.status_code), scope, receive, send)
        except PanicError:
            hang_up()  # original server: 1.4, the connection ends without an answer
        except Exception as exc:
            self._world.failures.append(exc)
            raise


def _is_later(scope: Scope) -> bool:
    """Tell whether a later server has this path; say what the first one calls it."""
    # original server: 9, sandboxes are at another path, without looking at credentials first.
    path: str = scope["path"]
    if path.startswith("/v1/sandboxes"):
        return False
    if path.startswith("/v1/capsules"):
        scope["path"] = path.replace("/v1/capsules", "/v1/sandboxes", 1)
    return True


async def _health(request: Request) -> Response:
    del request
    return reply({"status": "ok", "version": "0.1.5"})


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    # original server: 1.1, a path that is not there is answered with a text.
    await _refuse(PlainTextResponse("404 page not found\n", 404), scope, receive, send)


async def _refuse(answer: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(answer)
    else:
        await answer(scope, receive, send)


def _lose(send: Send) -> Send:
    del send

    async def lose(message: Message) -> None:
        del message

    return lose


def _end_of(send: Send) -> Callable[[], None]:
    """Return what ends a connection as it is, without a farewell."""
    protocol = send.__self__
    end: Callable[[], None] = protocol.transport.close
    return end


@dataclass
class Double:
    """A server that runs."""

    world: World
    base_url: str


@contextlib.contextmanager
def running(*, is_later: bool = False) -> Iterator[Double]:
    """Run the double on loopback, in a thread."""
    with (
        tempfile.TemporaryDirectory(prefix="double-") as directory,
        socket.create_server(("127.0.0.1", 0)) as listener,
    ):
        world = World(directory, is_later=is_later)
        config = uvicorn.Config(
            Original(world),
            ws=WebSocketsSansIOProtocol,
            log_config=None,
            lifespan="on",
            ws_per_message_deflate=False,
            ws_ping_interval=None,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=[[listener]])
        thread.start()
        try:
            yield Double(world, f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join()
