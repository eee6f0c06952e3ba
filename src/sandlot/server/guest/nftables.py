"""Rules of the kernel's packet filter, as `nft` would send them.

A rule is a list of expressions: they load something of a packet into a register, compare it, which
ends the rule unless it fits, and do something. Numbers are those of linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from . import netlink

__all__ = [
    "ACCEPT",
    "DROP",
    "Chain",
    "compare",
    "install",
    "is_below",
    "limit",
    "load_mark",
    "load_network",
    "load_protocol",
    "load_transport",
    "log",
    "mask",
    "refuse",
    "to_socket",
    "verdict",
]

DROP = 0
ACCEPT = 1

# linux/netfilter/nfnetlink.h
_BATCH_BEGIN = 16
_BATCH_END = 17
_SUBSYSTEM = 10
_NEW_TABLE = _SUBSYSTEM << 8 | 0
_NEW_CHAIN = _SUBSYSTEM << 8 | 3
_NEW_RULE = _SUBSYSTEM << 8 | 6
_APPEND = 0x800

_VERDICT_REGISTER = 0
_REGISTER = 1
_SECOND_REGISTER = 2
_MARK = 3
_PROTOCOL = 16
_NETWORK_HEADER = 1
_TRANSPORT_HEADER = 2
_EQUAL = 0
_LESS = 2
_PROTOCOLS = {socket.AF_INET: 2, socket.AF_INET6: 10}  # linux/netfilter.h
_PROHIBITED = {socket.AF_INET: 13, socket.AF_INET6: 1}  # ICMP codes of RFC 1812 and RFC 4443


class Chain:
    """Rules that packets meet at one place.

    Args:
        kind: `filter` or `route`.
        hook: The place, as in linux/netfilter.h.
        priority: Order among the chains of a place.
        rules: Each is the expressions of a rule.
    """

    def __init__(
        self, name: str, hook: int, priority: int, rules: Sequence[Sequence[bytes]]
    ) -> None:
        self.name = name
        self.hook = hook
        self.priority = priority
        self.rules = rules


def install(sock: socket.socket, family: int, table: str, chains: Sequence[Chain]) -> None:
    """Make a table with chains, all or nothing."""
    protocol = _PROTOCOLS[socket.AddressFamily(family)]
    messages = [_message(_NEW_TABLE, protocol, netlink.attribute(1, _text(table)))]
    for chain in chains:
        place = netlink.attribute(1, _number(chain.hook)) + netlink.attribute(
            2, _number(chain.priority)
        )
        body = netlink.attribute(1, _text(table)) + netlink.attribute(3, _text(chain.name))
        body += netlink.nest(4, place) + netlink.attribute(7, _text("filter"))
        messages.append(_message(_NEW_CHAIN, protocol, body))
        for rule in chain.rules:
            body = netlink.attribute(1, _text(table)) + netlink.attribute(2, _text(chain.name))
            body += netlink.nest(4, *rule)
            messages.append(_message(_NEW_RULE, protocol, body))
    borders = struct.pack(">BBH", 0, 0, _SUBSYSTEM)  # struct nfgenmsg
    batch = [
        netlink.message(_BATCH_BEGIN, 0, borders),
        *messages,
        netlink.message(_BATCH_END, 0, borders),
    ]
    netlink.request(sock, "packet filter", batch, len(messages))


def load_mark() -> bytes:
    """Load the mark of the packet."""
    return _meta(_MARK)


def load_protocol() -> bytes:
    """Load the number of the transport protocol, one byte."""
    return _meta(_PROTOCOL)


def load_network(offset: int, length: int) -> bytes:
    """Load bytes of the IP header."""
    return _payload(_NETWORK_HEADER, offset, length)


def load_transport(offset: int, length: int) -> bytes:
    """Load bytes of the transport header."""
    return _payload(_TRANSPORT_HEADER, offset, length)


def mask(value: bytes) -> bytes:
    """Clear the bits of what is loaded that are not set in this value."""
    return _expression(
        "bitwise",
        netlink.attribute(1, _number(_REGISTER)),
        netlink.attribute(2, _number(_REGISTER)),
        netlink.attribute(3, _number(len(value))),
        netlink.nest(4, netlink.attribute(1, value)),
        netlink.nest(5, netlink.attribute(1, bytes(len(value)))),
    )


def compare(value: bytes) -> bytes:
    """Go on if what is loaded is this."""
    return _compare(_EQUAL, value)


def is_below(value: bytes) -> bytes:
    """Go on if what is loaded is less than this, as a big-endian number."""
    return _compare(_LESS, value)


def limit(rate: int) -> bytes:
    """Go on with so many packets a second, and at once as many as there are in one."""
    return _expression(
        "limit",
        netlink.attribute(1, struct.pack(">Q", rate)),
        netlink.attribute(2, struct.pack(">Q", 1)),
        netlink.attribute(3, _number(rate)),
        netlink.attribute(4, _number(0)),  # packets, not bytes
    )


def verdict(code: int) -> bytes:
    """End the chain with `ACCEPT`, or the packet with `DROP`."""
    return _immediate(_VERDICT_REGISTER, netlink.nest(2, netlink.attribute(1, _number(code))))


def log(group: int) -> bytes:
    """Show the packet to whoever listens to a group (NETLINK_NETFILTER)."""
    return _expression("log", netlink.attribute(1, struct.pack(">H", group)))


def refuse(family: int) -> bytes:
    """Drop the packet, and say that it is prohibited."""
    code = _PROHIBITED[socket.AddressFamily(family)]
    return _expression(
        "reject", netlink.attribute(1, _number(0)), netlink.attribute(2, bytes([code]))
    )


def to_socket(family: int, address: bytes, port: int) -> bytes:
    """Give the packet to a transparent socket bound to an address and port, whatever its own."""
    return (
        _immediate(_REGISTER, netlink.attribute(1, address))
        + _immediate(_SECOND_REGISTER, netlink.attribute(1, struct.pack(">H", port)))
        + _expression(
            "tproxy",
            netlink.attribute(1, _number(_PROTOCOLS[socket.AddressFamily(family)])),
            netlink.attribute(2, _number(_REGISTER)),
            netlink.attribute(3, _number(_SECOND_REGISTER)),
        )
    )


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _number(value: int) -> bytes:
    return struct.pack(">i", value)


def _message(kind: int, protocol: int, body: bytes) -> bytes:
    flags = netlink.CREATE | netlink.ACKNOWLEDGE | (_APPEND if kind == _NEW_RULE else 0)
    return netlink.message(kind, flags, struct.pack(">BBH", protocol, 0, 0) + body)


def _expression(name: str, *fields: bytes) -> bytes:
    return netlink.nest(1, netlink.attribute(1, _text(name)), netlink.nest(2, *fields))


def _meta(key: int) -> bytes:
    return _expression(
        "meta", netlink.attribute(1, _number(_REGISTER)), netlink.attribute(2, _number(key))
    )


def _payload(base: int, offset: int, length: int) -> bytes:
    values = enumerate((_REGISTER, base, offset, length), 1)
    return _expression("payload", *(netlink.attribute(kind, _number(v)) for kind, v in values))


def _compare(how: int, value: bytes) -> bytes:
    return _expression(
        "cmp",
        netlink.attribute(1, _number(_REGISTER)),
        netlink.attribute(2, _number(how)),
        netlink.nest(3, netlink.attribute(1, value)),
    )


def _immediate(register: int, data: bytes) -> bytes:
    return _expression("immediate", netlink.attribute(1, _number(register)), netlink.nest(2, data))
