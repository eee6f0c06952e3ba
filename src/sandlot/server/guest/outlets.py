"""What a sandbox that may reach the internet has for it, made while there is a right to.

The listener stays with the agent, which passes on what it accepts. The server gets the rest: the
log of packets that begin connections, sockets to send packets through, and that of the name
service. The agent keeps those too, so that another server can have them one day.
"""

from __future__ import annotations

import socket

from . import firewall, routes

__all__ = ["Outlets", "open_outlets"]

# linux/in.h, linux/in6.h, asm-generic/socket.h
_TRANSPARENT = {
    socket.AF_INET: (socket.IPPROTO_IP, 19),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 75),
}
_SO_MARK = 36
_IPPROTO_RAW = 255
_BACKLOG = 256


class Outlets:
    """The sockets.

    Attributes:
        listeners: Where connections arrive that the server has let in.
        for_server: The log, the name service, and sockets to send IPv4 and perhaps IPv6 packets.
    """

    def __init__(self, listeners: list[socket.socket], for_server: list[socket.socket]) -> None:
        self.listeners = listeners
        self.for_server = for_server


def open_outlets(*, v6: bool) -> Outlets:
    """Prepare the network namespace of this process, and open the sockets."""
    families = [socket.AF_INET, socket.AF_INET6] if v6 else [socket.AF_INET]
    routes.own_everything(v6=v6)
    try:
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        names.bind((firewall.NAME_SERVER, firewall.NAME_PORT))
        listeners = [_listen(family) for family in families]
        injectors = [_open_injector(family) for family in families]
    except OSError as error:
        error.filename = "outlets"
        raise
    log = firewall.open_log()
    for family in families:
        firewall.install(family)
    return Outlets(listeners, [log, names, *injectors])


def _listen(family: socket.AddressFamily) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(*_TRANSPARENT[family], 1)
    listener.bind((firewall.LOOPBACK[family], firewall.LISTENER_PORT))
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return listener


def _open_injector(family: socket.AddressFamily) -> socket.socket:
    """Return a socket that sends complete packets, headers and all (raw(7), IPPROTO_RAW)."""
    sock = socket.socket(family, socket.SOCK_RAW, _IPPROTO_RAW)
    sock.setsockopt(socket.SOL_SOCKET, _SO_MARK, firewall.MARK)
    return sock
