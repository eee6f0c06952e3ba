"""The packet filter of a sandbox that may reach the internet.

A connection begins with a packet (SYN). One that goes elsewhere than to the sandbox itself is
taken out and shown to the server, which decides, connects to its destination, and only then puts
the same packet back, with a mark. Marked ones reach the listener of the agent. What has failed
outside is answered as the destination or a router would have done. So nothing is ever connected
inside that is not connected outside, and errors are the real ones.

Whatever else goes elsewhere is refused. There is no UDP but that of the name service.
"""

from __future__ import annotations

import socket
import struct

from . import netlink, nftables
from .routes import OWN_ADDRESSES

__all__ = ["LISTENER_PORT", "LOOPBACK", "MARK", "NAME_PORT", "NAME_SERVER", "install", "open_log"]

MARK = 1
"""Mark of what the server sends. Sandboxed code may set none (SO_MARK needs CAP_NET_RAW)."""

LISTENER_PORT = 1
"""Where marked connections go. It is taken from nobody: programs may not use ports below 1024."""

NAME_SERVER = "127.0.0.1"
NAME_PORT = 53

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}

_RATE = 1000
"""Connections that may begin in a second, and questions to the name service. More are lost, and
sent again later by who has patience: what the server does for a sandbox is bounded."""

_GROUP = 1
_TABLE = "sandlot"

# linux/netfilter.h, linux/netfilter_ipv4.h
_PRE_ROUTING = 0
_LOCAL_OUT = 3
_PRIORITY_MANGLE = -150
_PRIORITY_RAW = -300

# linux/netfilter/nfnetlink_log.h
_CONFIGURE = 4 << 8 | 1
_COMMAND = 1
_BIND = 1
_MODE = 2
_COPY_PACKET = 2
_THRESHOLD = 5
_SNAPSHOT = 256
"""Bytes to show of a packet: more than the longest headers of one without data."""

# RFC 791, RFC 8200, RFC 9293
_DESTINATION = {socket.AF_INET: (16, 4), socket.AF_INET6: (24, 16)}
_PORT = (2, 2)
_FLAGS = (13, 1)
_SYN = b"\x02"
_SYN_ACK = b"\x12"


def install(family: int) -> None:
    """Install the rules for IPv4 or IPv6."""
    with netlink.open_netlink(netlink.FILTER) as sock:
        chains = [
            nftables.Chain("leaving", _LOCAL_OUT, _PRIORITY_RAW, _leaving(family)),
            nftables.Chain("arriving", _PRE_ROUTING, _PRIORITY_MANGLE, [_arriving(family)]),
        ]
        nftables.install(sock, family, _TABLE, chains)


def _leaving(family: int) -> list[list[bytes]]:
    af = socket.AddressFamily(family)
    accept, drop = nftables.verdict(nftables.ACCEPT), nftables.verdict(nftables.DROP)
    tcp = [nftables.load_protocol(), nftables.compare(bytes([socket.IPPROTO_TCP]))]
    opening = [
        *tcp,
        nftables.load_transport(*_FLAGS),
        nftables.mask(_SYN_ACK),
        nftables.compare(_SYN),
    ]
    # No program of the sandbox listens below 1024, so all of these are for the server to see to:
    # the name service, and the listener, which nobody shall reach without being asked in.
    reserved = [nftables.load_transport(*_PORT), nftables.is_below(struct.pack(">H", 1024))]
    to_itself = _to_itself(family)
    to_own_address = [
        nftables.load_network(*_DESTINATION[af]),
        nftables.compare(socket.inet_pton(af, OWN_ADDRESSES[af])),
    ]
    show = [nftables.limit(_RATE), nftables.log(_GROUP), drop]
    question = [
        nftables.load_protocol(),
        nftables.compare(bytes([socket.IPPROTO_UDP])),
        nftables.load_transport(*_PORT),
        nftables.compare(struct.pack(">H", NAME_PORT)),
    ]
    return [
        [nftables.load_mark(), nftables.compare(struct.pack("=I", MARK)), accept],
        [*opening, *to_itself, *reserved, *show],
        [*opening, *to_itself, *reserved, drop],
        [*question, *to_itself, nftables.limit(_RATE), accept],
        [*question, *to_itself, drop],
        [*to_itself, accept],
        [*to_own_address, accept],
        [*opening, *show],
        [*opening, drop],
        [*tcp, accept],  # of connections that the server has let in
        [nftables.refuse(family)],
    ]


def _to_itself(family: int) -> list[bytes]:
    if family == socket.AF_INET6:
        address = socket.inet_pton(family, "::1")
        return [nftables.load_network(*_DESTINATION[socket.AF_INET6]), nftables.compare(address)]
    offset, _ = _DESTINATION[socket.AF_INET]
    return [nftables.load_network(offset, 1), nftables.compare(b"\x7f")]  # 127.0.0.0/8


def _arriving(family: int) -> list[bytes]:
    address = socket.inet_pton(family, LOOPBACK[socket.AddressFamily(family)])
    return [
        nftables.load_mark(),
        nftables.compare(struct.pack("=I", MARK)),
        nftables.load_protocol(),
        nftables.compare(bytes([socket.IPPROTO_TCP])),
        nftables.load_transport(*_FLAGS),
        nftables.mask(_SYN_ACK),
        nftables.compare(_SYN),
        nftables.to_socket(family, address, LISTENER_PORT),
    ]


def open_log() -> socket.socket:
    """Return a socket that shows the packets that were taken out, at once and one by one."""
    sock = netlink.open_netlink(netlink.FILTER)
    body = struct.pack(">BBH", socket.AF_UNSPEC, 0, _GROUP)  # struct nfgenmsg
    settings = [
        netlink.attribute(_COMMAND, bytes([_BIND])),
        netlink.attribute(_MODE, struct.pack(">IBx", _SNAPSHOT, _COPY_PACKET)),
        netlink.attribute(_THRESHOLD, struct.pack(">I", 1)),
    ]
    for setting in settings:
        message = netlink.message(_CONFIGURE, netlink.ACKNOWLEDGE, body + setting)
        netlink.request(sock, "packet log", [message], 1)
    return sock
