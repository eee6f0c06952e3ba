"""The proxy itself: who may reach which port, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from sandlot.server.api.permissions import PORTS, check
from sandlot.server.errors import OUTCOME, error_response
from sandlot.server.grants import Grant
from sandlot.server.ids import is_id
from sandlot.server.plane import ControlPlane
from sandlot.server.services.errors import (
    AgentError,
    BadGatewayError,
    ForbiddenError,
    HostUnavailableError,
    InvalidRequestError,
    ServiceError,
)
from sandlot.server.services.live import LiveSandbox
from sandlot.server.services.principals import Principal

from .client import Client, is_for_port
from .connections import PortConnection
from .exchange import CutError, Exchange
from .headers import MARK
from .pool import Pool
from .tunnel import Tunnel

__all__ = ["PortMiddleware", "PortProxy"]


class PortProxy:
    """Passes on what is addressed to ports of sandboxes."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._pool = Pool(plane.options.port_connect_timeout)
        self._running = set[Exchange | Tunnel]()

    async def serve(self, client: Client) -> None:
        """Serve a request."""
        log: dict[str, object] = {"route": "port"}
        client.scope["state"]["log"] = log
        exchange: Exchange | None = None
        try:
            caller, grant = await self._identify(client)
            live, port = await self._admit(caller, client)
            log |= {"sandbox_id": live.record.id, "port": port}
            door = _Door(self._pool, live, port)
            exchange = Exchange(client, door, self._plane.options.port_answer_timeout)
            with grant.held():
                tunnel = await self._exchange(live, exchange)
                if tunnel is not None:
                    log["status"] = 101
                    await self._keep(tunnel)
        except ServiceError as error:
            if exchange is not None and exchange.begun:
                raise CutError from error  # the client lost its rights, or it would know already
            await self._refuse(client, error)

    def interrupt(self) -> None:
        """Break everything off: the server is about to stop."""
        for each in list(self._running):
            each.abort()
        self._pool.close()

    async def _identify(self, client: Client) -> tuple[Principal, Grant]:
        self._check_running()
        key = dict(reversed(client.headers)).get(b"x-api-key")
        auth, since = self._plane.auth, self._plane.auth.changes
        caller = await auth.identify(None if key is None else key.decode("latin-1"))
        check(PORTS, caller)
        return caller, self._plane.grants.grant(caller, since, partial(check, PORTS))

    async def _admit(self, caller: Principal, client: Client) -> tuple[LiveSandbox, int]:
        address = client.address
        headers = dict(reversed(client.headers))
        origin = headers.get(b"origin")
        own = f"{client.origin.scheme}://".encode() + address.host
        if caller.kind == "open" and origin not in (None, own):
            # Any page that somebody on this machine looks at could send this without their
            # knowledge; but a page that came from this very port may use it.
            raise ForbiddenError("Web pages may only use a server that asks for a key.")
        port = int(address.number) if len(address.number) <= 5 else 0
        if not 1 <= port <= 65535:
            raise InvalidRequestError("There are only ports from 1 to 65535.")
        if not is_id("cl", address.sandbox_id):
            raise InvalidRequestError("There are no sandboxes with ids like this one.")
        return await self._plane.sandboxes.running(caller.team_id, address.sandbox_id), port

    async def _exchange(self, live: LiveSandbox, exchange: Exchange) -> Tunnel | None:
        self._running.add(exchange)
        try:
            with live.active():
                return await exchange.run(live.touch)
        except BadGatewayError as error:
            self._check_running()
            if live.ending is not None:
                raise AgentError("The sandbox ended meanwhile.") from error
            raise
        finally:
            self._running.discard(exchange)

    async def _keep(self, tunnel: Tunnel) -> None:
        self._running.add(tunnel)
        try:
            await tunnel.wait_ended()
        finally:
            self._running.discard(tunnel)

    async def _refuse(self, client: Client, error: ServiceError) -> None:
        headers = {MARK: error.code}
        if any(name == b"expect" for name, _ in client.headers):
            headers["connection"] = "close"  # whether the body comes all the same is not known
        if error.midway:
            headers[OUTCOME] = "unknown"
        headers["date"] = formatdate(usegmt=True)
        request_id: str = client.scope["state"]["request_id"]
        response = error_response(error.code, str(error), request_id, headers)
        await response(client.scope, client.receive, client.send)

    def _check_running(self) -> None:
        if self._plane.stopping.is_set():
            raise HostUnavailableError("The server is shutting down.")


@dataclass(frozen=True, slots=True)
class _Door:
    """One port of one sandbox."""

    pool: Pool
    live: LiveSandbox
    port: int

    async def take(self, *, fresh: bool) -> PortConnection:
        return await self.pool.take(self.live, self.port, fresh=fresh)

    def give_back(self, connection: PortConnection) -> None:
        self.pool.give_back(self.live, self.port, connection)


class PortMiddleware:
    """Lets the proxy have what is addressed to a port, before anybody looks at the path."""

    def __init__(self, app: ASGIApp, proxy: PortProxy) -> None:
        self._app = app
        self._proxy = proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if is_for_port(scope):
            await self._proxy.serve(Client(scope, receive, send))
        else:
            await self._app(scope, receive, send)
