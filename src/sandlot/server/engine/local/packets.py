"""Packets that begin connections, and answers to them.

The kernel of a sandbox sends the former; the server sends them on unchanged, or answers in the name
of the destination or of a router before it. Layouts: RFC 791 and 792 (IPv4, ICMP), RFC 8200 and
4443 (IPv6, ICMPv6), RFC 9293 (TCP).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

__all__ = ["Opening", "PacketError", "Unreachable", "parse_opening"]

_FLAGS = 13
_SYN = 0x02
_RST = 0x04
_ACK = 0x10
_TCP_HEADER = 20
_HOPS = 64


class PacketError(ValueError):
    """A packet begins no connection."""


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Why a destination cannot be reached, as routers say it: type and code by IP version."""

    v4: tuple[int, int]
    v6: tuple[int, int]


NO_NETWORK = Unreachable((3, 0), (1, 0))
NO_HOST = Unreachable((3, 1), (1, 3))
PROHIBITED = Unreachable((3, 13), (1, 1))


@dataclass(frozen=True, slots=True)
class Opening:
    """A packet that begins a connection.

    Attributes:
        family: `AF_INET` or `AF_INET6`.
        source: Address and port of who begins it.
        destination: Address and port of whom it is meant for.
        header: The IP header.
        segment: The TCP header, which is all there is.
    """

    family: socket.AddressFamily
    source: tuple[str, int]
    destination: tuple[str, int]
    header: bytes
    segment: bytes

    def packet(self) -> bytes:
        """Return the packet itself. Its checksum is made anew: it may not have been filled in."""
        addresses = self._addresses()
        return self.header + _with_checksum(addresses, socket.IPPROTO_TCP, self.segment, 16)

    def refusal(self) -> bytes:
        """Return the answer of a destination where nothing listens."""
        sequence = int.from_bytes(self.segment[4:8], "big")
        segment = struct.pack(
            ">HHIIBBHHH",
            self.destination[1],
            self.source[1],
            0,
            (sequence + 1) % 2**32,
            _TCP_HEADER // 4 << 4,
            _RST | _ACK,
            0,
            0,
            0,
        )
        target, origin = self._addresses()
        segment = _with_checksum((origin, target), socket.IPPROTO_TCP, segment, 16)
        return self._answer(socket.IPPROTO_TCP, origin, segment)

    def failure(self, reason: Unreachable) -> bytes:
        """Return the answer of a router that cannot reach the destination."""
        _, origin = addresses = self._addresses()
        if self.family == socket.AF_INET:
            body = struct.pack(">BBHI", *reason.v4, 0, 0) + self.header + self.segment[:8]
            body = _with_checksum(None, socket.IPPROTO_ICMP, body, 2)
            return self._answer(socket.IPPROTO_ICMP, origin, body)
        body = struct.pack(">BBHI", *reason.v6, 0, 0) + self.header + self.segment
        body = _with_checksum((origin, addresses[0]), socket.IPPROTO_ICMPV6, body, 2)
        return self._answer(socket.IPPROTO_ICMPV6, origin, body)

    def _addresses(self) -> tuple[bytes, bytes]:
        """Return source and destination."""
        return (
            socket.inet_pton(self.family, self.source[0]),
            socket.inet_pton(self.family, self.destination[0]),
        )

    def _answer(self, protocol: int, origin: bytes, body: bytes) -> bytes:
        target, _ = self._addresses()
        if self.family == socket.AF_INET6:
            start = struct.pack(">IHBB", 6 << 28, len(body), protocol, _HOPS)
        else:  # the kernel fills in the checksum and the length (raw(7))
            start = struct.pack(">BBHHHBBH", 0x45, 0, 0, 0, 0, _HOPS, protocol, 0)
        return start + origin + target + body


def parse_opening(packet: bytes) -> Opening:
    """Return what a packet begins.

    Raises:
        PacketError: It begins no connection, or not all of it is there.
    """
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        family, start = socket.AF_INET, (packet[0] & 15) * 4
        protocol, end = packet[9], int.from_bytes(packet[2:4], "big")
        source, destination = packet[12:16], packet[16:20]
    elif version == 6 and len(packet) >= 40:
        family, start = socket.AF_INET6, 40
        protocol, end = packet[6], 40 + int.from_bytes(packet[4:6], "big")
        source, destination = packet[8:24], packet[24:40]
    else:
        raise PacketError("this is no IP packet")
    segment = packet[start:]
    if protocol != socket.IPPROTO_TCP or start < 20 or len(segment) < _TCP_HEADER:
        raise PacketError("this is no TCP packet")
    # Without data: a destination gets none before it has agreed (TCP Fast Open needs its cookie).
    if end != len(packet) or (segment[12] >> 4) * 4 != len(segment):
        raise PacketError("this is more than a header, or less")
    if segment[_FLAGS] & (_SYN | _ACK | _RST) != _SYN:
        raise PacketError("this begins no connection")
    ports = struct.unpack_from(">HH", segment)
    return Opening(
        family,
        (socket.inet_ntop(family, source), ports[0]),
        (socket.inet_ntop(family, destination), ports[1]),
        packet[:start],
        segment,
    )


def _with_checksum(
    addresses: tuple[bytes, bytes] | None, protocol: int, body: bytes, offset: int
) -> bytes:
    """Fill in the Internet checksum (RFC 1071) of a body, and of the addresses if there are any."""
    body = body[:offset] + b"\0\0" + body[offset + 2 :]
    summed = body
    if addresses is not None:
        summed = addresses[0] + addresses[1] + struct.pack(">II", len(body), protocol) + body
    padded = summed + bytes(len(summed) % 2)
    # 2**16 is 1 modulo 65535: the sum of the words is the number itself.
    total = ~(int.from_bytes(padded, "big") % 0xFFFF) & 0xFFFF
    return body[:offset] + total.to_bytes(2, "big") + body[offset + 2 :]
