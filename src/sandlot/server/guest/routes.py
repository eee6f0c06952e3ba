"""Addresses and routes of a sandbox that may reach the internet.

There is no way out of its network namespace. Instead every address there is belongs to it ("local"
routes for everything), so that connections to anywhere arrive at a listener inside, and its own
address exists for programs that ask whether they have one.
"""

from __future__ import annotations

import contextlib
import socket
import struct

from . import netlink

__all__ = ["OWN_ADDRESSES", "own_everything"]

OWN_ADDRESSES = {socket.AF_INET: "192.0.0.8", socket.AF_INET6: "fd73:616e:646c::8"}
"""Addresses of every such sandbox. RFC 7600 assigns the first to hosts that have none of their own;
nobody else can have it."""

# linux/rtnetlink.h
_NEW_LINK = 16
_NEW_ADDRESS = 20
_NEW_ROUTE = 24
_DESTINATION_INTERFACE = 4
_PREFERRED_SOURCE = 7
_TABLE_LOCAL = 255
_PROTOCOL_STATIC = 4
_SCOPE_HOST = 254
_TYPE_LOCAL = 2
# linux/if_link.h
_NAME = 3
_LINK_INFO = 18
_LINK_KIND = 1
_FAMILIES = 26
_ADDRESS_GENERATION = 8
_NO_ADDRESSES = 1
# linux/if_addr.h
_ADDRESS = 1
_LOCAL_ADDRESS = 2
_FLAG_NO_DETECTION = 0x02
_IFF_UP = 0x1
_LOOPBACK = 1
"""Index of the loopback interface; drivers/net/loopback.c is registered first."""


def own_everything(*, v6: bool) -> None:
    """Make every address of the internet one of this namespace."""
    with netlink.open_netlink(netlink.ROUTE) as sock:
        index = _add_interface(sock)
        for family, address in OWN_ADDRESSES.items():
            if v6 or family == socket.AF_INET:
                packed = socket.inet_pton(family, address)
                _add_address(sock, family, packed, index)
                _add_route(sock, family, packed)


def _add_interface(sock: socket.socket) -> int:
    """Add an interface that leads nowhere, for programs that look for one; return its index.

    With the loopback interface alone they would take the machine for offline.
    """
    for kind in (b"dummy", b"bridge"):
        new = netlink.attribute(_NAME, b"eth0\0")
        new += netlink.nest(_LINK_INFO, netlink.attribute(_LINK_KIND, kind))
        with contextlib.suppress(OSError):  # a kernel without them
            _change_interface(sock, netlink.CREATE, new)
            index = socket.if_nametoindex("eth0")
            mode = netlink.attribute(_ADDRESS_GENERATION, bytes([_NO_ADDRESSES]))
            with contextlib.suppress(OSError):  # a kernel without IPv6
                family = netlink.nest(_FAMILIES, netlink.nest(socket.AF_INET6, mode))
                _change_interface(sock, 0, family, index)
            _change_interface(sock, 0, b"", index, _IFF_UP)
            return index
    return _LOOPBACK


def _change_interface(
    sock: socket.socket, flags: int, attributes: bytes, index: int = 0, state: int = 0
) -> None:
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, state, state)  # struct ifinfomsg
    message = netlink.message(_NEW_LINK, flags | netlink.ACKNOWLEDGE, body + attributes)
    netlink.request(sock, "add interface", [message], 1)


def _add_address(sock: socket.socket, family: int, address: bytes, index: int) -> None:
    length = len(address) * 8
    body = struct.pack("=BBBBI", family, length, _FLAG_NO_DETECTION, 0, index)  # struct ifaddrmsg
    body += netlink.attribute(_LOCAL_ADDRESS, address) + netlink.attribute(_ADDRESS, address)
    message = netlink.message(_NEW_ADDRESS, netlink.CREATE | netlink.ACKNOWLEDGE, body)
    netlink.request(sock, "add address", [message], 1)


def _add_route(sock: socket.socket, family: int, source: bytes) -> None:
    kind = (0, 0, 0, _TABLE_LOCAL, _PROTOCOL_STATIC, _SCOPE_HOST, _TYPE_LOCAL)
    body = struct.pack("=8BI", family, *kind, 0)  # struct rtmsg
    body += netlink.attribute(_DESTINATION_INTERFACE, struct.pack("=I", _LOOPBACK))
    body += netlink.attribute(_PREFERRED_SOURCE, source)
    message = netlink.message(_NEW_ROUTE, netlink.CREATE | netlink.ACKNOWLEDGE, body)
    netlink.request(sock, "add route", [message], 1)
