"""Where sandboxes with the network mode `outbound` may connect to.

What decides is the address that is connected to, never a name: names can be made to mean anything.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from sandlot.server.guest import netlink

__all__ = ["Destinations", "Network", "has_route"]

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

# IANA's registries of special-purpose addresses, and RFC 4291: unicast addresses that are reached
# from everywhere begin with 2000::/3. Left out are also 6to4 (2002::/16, 192.88.99.0/24) and Teredo
# (in 2001::/23), which lead to any IPv4 address.
_NOT_PUBLIC = [
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # looks public, and is Azure's host, which knows secrets
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "::/3",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "4000::/2",
        "8000::/1",
    )
]
_SOMEWHERE_V6 = IPv6Address("2000::")

# linux/rtnetlink.h
_GET_ROUTE = 26
_NEW_ROUTE = 24
_DESTINATION = 1
_TYPE_OFFSET = 7
_UNICAST = 1


class Destinations:
    """The addresses that may be connected to.

    These are the public ones, and those of networks that are allowed besides. Never among them are
    loopback, link-local (where clouds keep credentials), multicast and broadcast addresses. Those
    of this machine are among them only if they are allowed one by one.

    Args:
        allowed: Networks to allow besides.
    """

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = allowed

    def permit(self, text: str) -> bool:
        """Whether an address may be connected to."""
        address = ip_address(text)
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            return False  # such packets are not for the network: RFC 4291
        if _is_never(address):
            return False
        if ip_network(address) in self._allowed:
            return True
        allowed = _is_in(address, self._allowed) or not _is_in(address, _NOT_PUBLIC)
        return allowed and has_route(address)


def has_route(address: Address = _SOMEWHERE_V6) -> bool:
    """Whether an address is that of another machine, and there is a way to it.

    By default, whether there is one to the internet by IPv6.
    """
    return _route_type(address) == _UNICAST


def _is_never(address: Address) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or int(address) == 0xFFFFFFFF
        or (address.version == 4 and int(address) >> 24 == 0)
    )


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)  # False for the other version


def _route_type(address: Address) -> int | None:
    """Ask the kernel what an address is to this machine; None if there is no way to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = struct.pack("=8BI", family, address.max_prefixlen, 0, 0, 0, 0, 0, 0, 0)  # struct rtmsg
    body += netlink.attribute(_DESTINATION, address.packed)
    with contextlib.suppress(OSError), netlink.open_netlink(netlink.ROUTE) as sock:
        _ = sock.send(netlink.message(_GET_ROUTE, 0, body))
        for kind, _, answer in netlink.headers(sock.recv(4096)):
            if kind == _NEW_ROUTE and len(answer) > _TYPE_OFFSET:
                return answer[_TYPE_OFFSET]
    return None
