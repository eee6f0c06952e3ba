"""The way of a sandbox to the internet.

The sandbox has no route out. Packets that begin connections are shown to the server instead
(`guest/firewall.py`): it checks the destination, connects to it from the host and, once that is
done, sends the packet on to the agent's listener, which makes the connection inside. Then bytes are
relayed. What fails outside is answered as it would have been without all this.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from sandlot.server.engine.base import EngineError
from sandlot.server.guest import firewall, netlink

from .agent import AgentClient, RefusedError
from .destinations import Destinations
from .handover import take
from .names import NameService, Server
from .packets import (
    NO_HOST,
    NO_NETWORK,
    PROHIBITED,
    Opening,
    PacketError,
    Unreachable,
    parse_opening,
)
from .relay import PIECE, Relay
from .sockets import take_socket

__all__ = ["Exchange", "Outbound"]

_CONNECTIONS = 512
"""Most of one sandbox at a time. More wait: their packets are sent again by the kernel inside."""

_SHARE = 4
"""Which part of the server's descriptors all sandboxes together may use, as a divisor."""

_PATIENCE = 60.0
_ACCEPTANCE = 10.0
_BURST = 32
_PACKET = 4096
_PAYLOAD = 9  # linux/netfilter/nfnetlink_log.h: NFULA_PAYLOAD
_SUBHEADER = 4  # linux/netfilter/nfnetlink.h: struct nfgenmsg
_NAME_SERVICE = (firewall.NAME_SERVER, firewall.NAME_PORT)

Place = tuple[str, int]
Ends = tuple[Place, Place]


@dataclass(slots=True)
class Exchange:
    """What all sandboxes of an engine share on their way out.

    Attributes:
        destinations: Where they may connect to.
        servers: Tells which name servers to ask.
        connections: How many there are now.
    """

    destinations: Destinations
    servers: Callable[[], Sequence[Server]]
    connections: int = 0
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(PIECE)))

    @property
    def is_full(self) -> bool:
        """Whether there are as many connections as the server can hold."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return soft != resource.RLIM_INFINITY and self.connections >= soft // (2 * _SHARE)


class Outbound:
    """Connections of one sandbox to the outside; they end with it.

    Args:
        agent: The sandbox's agent, which passes on what its listener accepts.
        sockets: What it handed out: the log of packets, the name service, and one socket for each
            version of IP to send packets through. They are taken over.
        exchange: What is shared with other sandboxes.
    """

    def __init__(
        self, agent: AgentClient, sockets: Sequence[socket.socket], exchange: Exchange
    ) -> None:
        self._log, names, *injectors = sockets
        self._injectors = {sock.family: sock for sock in injectors}
        self._names = NameService(names, exchange.servers)
        self._exchange = exchange
        self._tasks: dict[Ends, asyncio.Task[None]] = {}
        self._awaited: dict[Ends, asyncio.Future[socket.socket]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._log.fileno(), self._hear)
        agent.when_connected(self._admit)
        agent.when_gone(self._close)

    @classmethod
    async def open(cls, agent: AgentClient, exchange: Exchange) -> Outbound:
        """Ask the agent for what it has for this, and begin.

        Raises:
            EngineError: It has nothing fit.
        """
        try:
            fds = await agent.fetch("outlets", {})
        except RefusedError as error:
            raise EngineError(f"the sandbox cannot be connected: {error}") from error
        return cls(agent, _take_outlets(fds), exchange)

    def _close(self) -> None:
        _ = self._loop.remove_reader(self._log.fileno())
        for sock in (self._log, *self._injectors.values()):
            sock.close()
        self._names.close()
        for task in self._tasks.values():
            _ = task.cancel()

    def _hear(self) -> None:
        for _ in range(_BURST):
            try:
                data = self._log.recv(_PACKET, socket.MSG_DONTWAIT)
            except OSError:  # nothing more; or (ENOBUFS) some were lost, and will be sent again
                return
            for _, _, body in netlink.headers(data):
                packet = dict(netlink.attributes(body[_SUBHEADER:])).get(_PAYLOAD, b"")
                with contextlib.suppress(PacketError):
                    self._begin(parse_opening(packet))

    def _begin(self, opening: Opening) -> None:
        ends = opening.source, opening.destination
        if ends in self._tasks:  # the kernel inside grew impatient and has sent it again
            return
        if len(self._tasks) >= _CONNECTIONS or self._exchange.is_full:
            return
        task = self._loop.create_task(self._serve(opening, ends))
        self._tasks[ends] = task
        self._exchange.connections += 1
        task.add_done_callback(lambda _: self._forget(ends))

    def _forget(self, ends: Ends) -> None:
        del self._tasks[ends]
        self._exchange.connections -= 1

    async def _serve(self, opening: Opening, ends: Ends) -> None:
        if opening.destination == _NAME_SERVICE:
            connection = await self._invite(opening, ends)
            if connection is not None:
                self._names.serve(connection)
            return
        outside = await self._reach(opening)
        if outside is None:
            return
        try:
            inside = await self._invite(opening, ends)
        except BaseException:
            outside.close()
            raise
        if inside is None:
            outside.close()
            return
        await Relay(inside, outside, self._exchange.buffer).run()

    async def _reach(self, opening: Opening) -> socket.socket | None:
        """Connect to the destination, or answer why not."""
        address, port = opening.destination
        if ip_address(address).is_loopback:
            self._send(opening.family, opening.refusal(), opening.source)
            return None
        if not self._exchange.destinations.permit(address):
            self._answer(opening, PROHIBITED)
            return None
        try:
            sock = socket.socket(opening.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError:  # too many open files: the packet will be sent again
            return None
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._loop.sock_connect(sock, (address, port))
        except BaseException as error:
            sock.close()
            if not isinstance(error, OSError):
                raise
            self._report(opening, error)
            return None
        return sock

    def _report(self, opening: Opening, error: OSError) -> None:
        if isinstance(error, TimeoutError):  # let it find out in its own time
            return
        if isinstance(error, ConnectionError):
            self._send(opening.family, opening.refusal(), opening.source)
        else:
            self._answer(opening, NO_NETWORK if error.errno == errno.ENETUNREACH else NO_HOST)

    async def _invite(self, opening: Opening, ends: Ends) -> socket.socket | None:
        """Let the packet through; return the connection, or None if nobody waits for it any more.

        The agent is in the sandbox: while that is paused, it accepts nothing.
        """
        future: asyncio.Future[socket.socket] = self._loop.create_future()
        self._awaited[ends] = future
        try:
            self._send(opening.family, opening.packet(), opening.destination)
            async with asyncio.timeout(_ACCEPTANCE):
                return await take(future, socket.socket.close)
        except TimeoutError:
            return None
        finally:
            del self._awaited[ends]

    def _admit(self, fds: list[int]) -> None:
        """Take a connection that the agent's listener has accepted."""
        try:
            sock = take_socket(fds)
        except EngineError:
            return
        try:
            ends = _place(sock.getpeername()), _place(sock.getsockname())
        except OSError:  # it has ended already
            sock.close()
            return
        future = self._awaited.get(ends)
        if future is None or future.done():
            sock.close()
        else:
            future.set_result(sock)

    def _answer(self, opening: Opening, reason: Unreachable) -> None:
        self._send(opening.family, opening.failure(reason), opening.source)

    def _send(self, family: socket.AddressFamily, packet: bytes, target: Place) -> None:
        with contextlib.suppress(OSError):  # as if lost on the way
            _ = self._injectors[family].sendto(packet, socket.MSG_DONTWAIT, (target[0], 0))


def _place(name: tuple[str, int]) -> Place:
    """Return address and port; there may be more in the name of a socket."""
    return name[0], name[1]


def _take_outlets(fds: list[int]) -> list[socket.socket]:
    """Return the sockets that came, if they are what they should be."""
    sockets = [socket.socket(fileno=fd) for fd in fds]
    kinds = [(sock.family, sock.type) for sock in sockets]
    raw = [(socket.AF_INET, socket.SOCK_RAW), (socket.AF_INET6, socket.SOCK_RAW)]
    usual = [(socket.AF_NETLINK, socket.SOCK_RAW), (socket.AF_INET, socket.SOCK_DGRAM)]
    if kinds not in ([*usual, raw[0]], [*usual, *raw]):
        for sock in sockets:
            sock.close()
        raise EngineError("the agent returned something that is no way out")
    return sockets
