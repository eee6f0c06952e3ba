"""Netlink messages: how the kernel is told about interfaces, routes and packet filters.

Layouts and numbers are those of linux/netlink.h; what the messages mean is in `routes` and
`firewall`.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence

__all__ = [
    "ACKNOWLEDGE",
    "CREATE",
    "FILTER",
    "ROUTE",
    "attribute",
    "attributes",
    "headers",
    "message",
    "nest",
    "open_netlink",
    "request",
]

ROUTE = 0
FILTER = 12

ACKNOWLEDGE = 0x4
CREATE = 0x400
_REQUEST = 0x1
_ERROR = 2

_NESTED = 0x8000
_KIND = 0x3FFF
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr
_LARGEST = 65536


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def nest(kind: int, *members: bytes) -> bytes:
    """Return an attribute that is made of attributes."""
    return attribute(kind | _NESTED, b"".join(members))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kinds and values; what is malformed ends it."""
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            return
        yield kind & _KIND, data[_ATTRIBUTE.size : length]
        data = data[length + -length % 4 :]


def message(kind: int, flags: int, body: bytes, sequence: int = 0) -> bytes:
    """Return a message of which the kernel shall do something."""
    length = _HEADER.size + len(body)
    return _HEADER.pack(length, kind, flags | _REQUEST, sequence, 0) + body + bytes(-length % 4)


def headers(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield kind, sequence and body of each message; what is malformed ends it."""
    while len(data) >= _HEADER.size:
        length, kind, _, sequence, _ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            return
        yield kind, sequence, data[_HEADER.size : length]
        data = data[length + -length % 4 :]


def open_netlink(protocol: int) -> socket.socket:
    """Return a socket to the kernel."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)


def request(sock: socket.socket, call: str, messages: Sequence[bytes], answers: int) -> None:
    """Send messages as one and wait until so many of them are acknowledged.

    Raises:
        OSError: The kernel refuses; `call` is named.
    """
    try:
        _ = sock.send(b"".join(messages))
        while answers:
            for kind, _, body in headers(sock.recv(_LARGEST)):
                if kind == _ERROR:
                    (number,) = struct.unpack_from("=i", body)
                    if number:
                        raise OSError(-number, os.strerror(-number))
                    answers -= 1
    except OSError as error:
        error.filename = call
        raise
