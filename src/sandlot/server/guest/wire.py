"""Messages between the server, the zygote and the agents.

A message is a JSON object behind four bytes of length (big endian), on a Unix stream socket. File
descriptors travel with it (SCM_RIGHTS), as many as its field `fds` says. Both ends check what they
get: a message that is not as it should be raises `WireError`, and its sender is then not listened
to any more.
"""

from __future__ import annotations

import array
import json
import os
import socket
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeGuard

__all__ = [
    "MAX_FDS",
    "Decoder",
    "Message",
    "Packet",
    "WireError",
    "boolean",
    "close_all",
    "decode",
    "encode",
    "integer",
    "integers",
    "mapping",
    "mappings",
    "number",
    "optional_integer",
    "optional_text",
    "receive",
    "send",
    "strings",
    "text",
    "text_mapping",
    "transmit",
]

Message = Mapping[str, object]
Packet = tuple[Message, list[int]]

MAX_BYTES = 16 * 1024 * 1024
"""Longest message: more than the kernel takes as arguments of a program (ARG_MAX)."""

MAX_FDS = 4
"""Most descriptors of one message."""

_CHUNK = 64 * 1024
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class WireError(Exception):
    """A message is not as agreed."""


def encode(message: Message, fds: int = 0) -> bytes:
    """Return the bytes of a message that carries so many descriptors."""
    body = json.dumps({**message, "fds": fds} if fds else message, separators=(",", ":")).encode()
    if len(body) > MAX_BYTES:
        raise WireError("the message is too long")
    return len(body).to_bytes(4, "big") + body


def decode(body: bytes) -> Message:
    """Return the message that JSON stands for."""
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WireError("the message is not JSON") from error
    return _as_mapping(value, "message")


def transmit(sock: socket.socket, data: bytes | memoryview, fds: Sequence[int] = ()) -> int:
    """Send some of the bytes, the descriptors with the first; return how many bytes went."""
    if not fds:
        return sock.send(data)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
    return sock.sendmsg([data], [rights])


def send(sock: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send a message on a blocking socket."""
    data = memoryview(encode(message, len(fds)))
    sent = transmit(sock, data, fds)
    if sent < len(data):
        sock.sendall(data[sent:])


def receive(sock: socket.socket) -> tuple[bytes, list[int] | None]:
    """Receive some bytes; no bytes mean the end.

    With them come descriptors, or None if they were lost: there were too many of them, for a
    message or for this process.
    """
    data, ancillary, flags, _ = sock.recvmsg(_CHUNK, socket.CMSG_SPACE(MAX_FDS * 4), _CLOEXEC)
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    if flags & socket.MSG_CTRUNC:
        close_all(fds)
        return data, None
    if not _CLOEXEC:
        for fd in fds:
            os.set_inheritable(fd, False)
    return data, list(fds)


def close_all(fds: Iterable[int]) -> None:
    """Close descriptors that nobody wants."""
    for fd in fds:
        os.close(fd)


class Decoder:
    """Puts messages together from what `receive` returned."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._fds: deque[int] = deque()
        self._losses = 0

    def feed(self, data: bytes, fds: Sequence[int] | None) -> None:
        """Take what `receive` returned."""
        self._buffer += data
        if fds is None:
            self._losses += 1
        else:
            self._fds += fds
        # Descriptors arrive no later than the last byte of their message, and a chunk never spans
        # two sets of them (unix(7)), so more than this are descriptors that no message announced.
        if len(self._fds) > 2 * MAX_FDS:
            raise WireError("descriptors without a message")

    def next(self) -> Packet | None:
        """Return the next complete message with its descriptors, or None until more has arrived.

        A message that has lost its descriptors has a field `lost`.
        """
        if len(self._buffer) < 4:
            return None
        length = int.from_bytes(self._buffer[:4], "big")
        if length > MAX_BYTES:
            raise WireError("the message is too long")
        if len(self._buffer) < 4 + length:
            return None
        body = bytes(self._buffer[4 : 4 + length])
        del self._buffer[: 4 + length]
        message = decode(body)
        count = optional_integer(message, "fds") or 0
        if count and not self._fds and self._losses:
            self._losses -= 1
            return {**message, "lost": True}, []
        if not 0 <= count <= min(MAX_FDS, len(self._fds)):
            raise WireError("descriptors are missing")
        return message, [self._fds.popleft() for _ in range(count)]

    def close(self) -> None:
        """Close descriptors that no message claimed."""
        close_all(self._fds)
        self._fds.clear()


def _is_object(value: object) -> TypeGuard[dict[str, object]]:
    return isinstance(value, dict)  # the keys of JSON objects are strings


def _is_array(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list)


def _as_mapping(value: object, name: str) -> Message:
    if not _is_object(value):
        raise WireError(f"{name} is not an object")
    return value


def text(message: Message, name: str) -> str:
    """Return a field that must be a string."""
    value = message.get(name)
    if not isinstance(value, str):
        raise WireError(f"{name} is not a string")
    return value


def optional_text(message: Message, name: str) -> str | None:
    """Return a field that is a string or not there."""
    return None if message.get(name) is None else text(message, name)


def integer(message: Message, name: str) -> int:
    """Return a field that must be an integer, of 64 bits at most."""
    value = message.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not -(2**63) <= value < 2**63:
        raise WireError(f"{name} is not an integer")
    return value


def optional_integer(message: Message, name: str) -> int | None:
    """Return a field that is an integer or not there."""
    return None if message.get(name) is None else integer(message, name)


def number(message: Message, name: str) -> float:
    """Return a field that must be a finite number."""
    value = message.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 1e18:
        raise WireError(f"{name} is not a number")
    return float(value)


def boolean(message: Message, name: str) -> bool:
    """Return a field that must be true or false."""
    value = message.get(name)
    if not isinstance(value, bool):
        raise WireError(f"{name} is not a boolean")
    return value


def mapping(message: Message, name: str) -> Message:
    """Return a field that must be an object."""
    return _as_mapping(message.get(name), name)


def mappings(message: Message, name: str) -> list[Message]:
    """Return a field that must be an array of objects."""
    value = message.get(name)
    if not _is_array(value):
        raise WireError(f"{name} is not an array")
    return [_as_mapping(item, name) for item in value]


def strings(message: Message, name: str) -> list[str]:
    """Return a field that must be an array of strings."""
    value = message.get(name)
    if not _is_array(value):
        raise WireError(f"{name} is not an array")
    items = [item for item in value if isinstance(item, str)]
    if len(items) != len(value):
        raise WireError(f"{name} has an item that is not a string")
    return items


def text_mapping(message: Message, name: str) -> dict[str, str]:
    """Return a field that must be an object of strings."""
    value = mapping(message, name)
    return {key: text(value, key) for key in value}


def integers(message: Message, name: str) -> dict[str, int]:
    """Return a field that must be an object of integers."""
    value = mapping(message, name)
    return {key: integer(value, key) for key in value}
