"""Packets that begin connections, and the answers to them."""

from __future__ import annotations

import socket
import struct

import pytest

from sandlot.server.engine.local.packets import (
    PROHIBITED,
    Opening,
    PacketError,
    parse_opening,
)

SYN = bytes.fromhex(  # of a Linux kernel, with options
    "4500003c917340004006e53ac000000801020304"
    "d3d801bb24cc02cd00000000a002ffd7c43c00000204ffd70402080a4c16e206000000000103030a"
)
SYN_V6 = (
    bytes.fromhex("6000000000280640")
    + socket.inet_pton(socket.AF_INET6, "fd73:616e:646c::8")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + SYN[20:]
)


def checksum(data: bytes) -> int:
    """Sum as RFC 1071 describes it; 0xFFFF where a checksum in the data is right."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo_header(packet: bytes, protocol: int) -> bytes:
    addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
    length = len(packet) - (20 if packet[0] >> 4 == 4 else 40)
    return addresses + struct.pack(">II", length, protocol)


def test_ipv4() -> None:
    opening = parse_opening(SYN)
    assert opening.family == socket.AF_INET
    assert opening.source == ("192.0.0.8", 0xD3D8)
    assert opening.destination == ("1.2.3.4", 443)
    again = opening.packet()
    assert (again[:36], again[38:]) == (SYN[:36], SYN[38:])
    assert checksum(pseudo_header(again, 6) + again[20:]) == 0xFFFF


def test_ipv6() -> None:
    opening = parse_opening(SYN_V6)
    assert opening.family == socket.AF_INET6
    assert opening.source == ("fd73:616e:646c::8", 0xD3D8)
    assert opening.destination == ("2001:db8::1", 443)
    again = opening.packet()
    assert checksum(pseudo_header(again, 6) + again[40:]) == 0xFFFF


@pytest.mark.parametrize(("packet", "start"), [(SYN, 20), (SYN_V6, 40)])
def test_refusal(packet: bytes, start: int) -> None:
    answer = parse_opening(packet).refusal()
    source, target, sequence, acknowledged, _, flags = struct.unpack_from(">HHIIBB", answer, start)
    assert (source, target) == (443, 0xD3D8)
    assert (sequence, acknowledged) == (0, 0x24CC02CE)
    assert flags == 0x14  # RST, ACK
    assert checksum(pseudo_header(answer, 6) + answer[start:]) == 0xFFFF


def test_sequence_numbers_wrap() -> None:
    packet = SYN[:24] + b"\xff\xff\xff\xff" + SYN[28:]
    assert parse_opening(packet).refusal()[28:32] == bytes(4)


def test_failure() -> None:
    answer = parse_opening(SYN).failure(PROHIBITED)
    assert (answer[9], answer[12:16], answer[16:20]) == (1, SYN[16:20], SYN[12:16])
    assert answer[20:22] == b"\x03\x0d"
    assert answer[28:] == SYN[:28]
    assert checksum(answer[20:]) == 0xFFFF


def test_failure_v6() -> None:
    answer = parse_opening(SYN_V6).failure(PROHIBITED)
    assert (answer[6], answer[8:24], answer[24:40]) == (58, SYN_V6[24:40], SYN_V6[8:24])
    assert answer[40:42] == b"\x01\x01"
    assert answer[48:] == SYN_V6
    assert checksum(pseudo_header(answer, 58) + answer[40:]) == 0xFFFF


@pytest.mark.parametrize("packet", [SYN, SYN_V6])
def test_pieces_of_packets(packet: bytes) -> None:
    for end in range(len(packet)):
        with pytest.raises(PacketError):
            _ = parse_opening(packet[:end])


@pytest.mark.parametrize(
    "packet",
    [
        SYN + b"data",
        SYN[:2] + b"\0\x40" + SYN[4:] + b"data",  # with a length that says so
        SYN[:9] + b"\x11" + SYN[10:],  # UDP
        SYN[:33] + b"\x12" + SYN[34:],  # an answer
        SYN[:33] + b"\x10" + SYN[34:],
        SYN[:33] + b"\x06" + SYN[34:],
        SYN[:32] + b"\x50" + SYN[33:],  # a shorter header than there is
        b"\x40" + SYN[1:],  # an IP header of no length
        b"\x4f" + SYN[1:],
        b"\x50" + SYN[1:],
        SYN_V6[:6] + b"\0" + SYN_V6[7:],  # hop-by-hop options
    ],
)
def test_packets_that_begin_nothing(packet: bytes) -> None:
    with pytest.raises(PacketError):
        _ = parse_opening(packet)


def test_checksums_of_any_bytes() -> None:
    for number in range(300):
        segment = SYN[20:24] + number.to_bytes(4, "big") + SYN[28:]
        opening = Opening(socket.AF_INET, ("1.1.1.1", 1), ("2.2.2.2", 2), SYN[:20], segment)
        packet = opening.packet()
        addresses = socket.inet_aton("1.1.1.1") + socket.inet_aton("2.2.2.2")
        assert checksum(addresses + struct.pack(">II", 40, 6) + packet[20:]) == 0xFFFF
