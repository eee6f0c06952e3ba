"""Messages between the server and its guests."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable

import pytest

from sandlot.server.guest import wire


def decode(*chunks: bytes) -> list[wire.Packet]:
    decoder = wire.Decoder()
    packets: list[wire.Packet] = []
    for chunk in chunks:
        decoder.feed(chunk, [])
        while (packet := decoder.next()) is not None:
            packets.append(packet)
    return packets


def test_messages_of_any_length_arrive_whole() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        messages = [{"a": "x" * size} for size in (0, 1, 50_000)]
        for message in messages:
            wire.send(ours, message)
        decoder = wire.Decoder()
        received: list[wire.Message] = []
        while len(received) < len(messages):
            decoder.feed(*wire.receive(theirs))
            while (packet := decoder.next()) is not None:
                received.append(packet[0])
        assert received == messages


def test_pieces_and_lumps() -> None:
    data = wire.encode({"number": 1}) + wire.encode({"number": 2})
    whole = decode(data)
    assert whole == [({"number": 1}, []), ({"number": 2}, [])]
    assert decode(*(bytes([byte]) for byte in data)) == whole


def test_descriptors_come_with_their_message() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        read, write = os.pipe()
        wire.send(ours, {"name": "none"})
        wire.send(ours, {"name": "one"}, [write])
        wire.send(ours, {"name": "two"}, [write, read])
        decoder = wire.Decoder()
        packets: list[wire.Packet] = []
        while len(packets) < 3:
            decoder.feed(*wire.receive(theirs))
            while (packet := decoder.next()) is not None:
                packets.append(packet)
        assert [len(fds) for _, fds in packets] == [0, 1, 2]
        _ = os.write(packets[1][1][0], b"x")
        assert os.read(packets[2][1][1], 1) == b"x"
        assert not any(os.get_inheritable(fd) for _, fds in packets for fd in fds)
        for _, fds in packets:
            wire.close_all(fds)
        wire.close_all([read, write])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"1",
        b'{"fds": 1}',
        b'{"fds": -1}',
        b'{"fds": "1"}',
        b'{"fds": true}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_message(body: bytes) -> None:
    with pytest.raises(wire.WireError):
        _ = decode(len(body).to_bytes(4, "big") + body)


def test_length_is_bounded_before_anything_is_stored() -> None:
    with pytest.raises(wire.WireError):
        _ = decode(b"\x7f\xff\xff\xff")
    with pytest.raises(wire.WireError):
        _ = wire.encode({"x": "x" * (17 << 20)})


def test_descriptors_that_no_message_announced() -> None:
    decoder = wire.Decoder()
    read, write = os.pipe()
    copies = [os.dup(write) for _ in range(20)]
    with pytest.raises(wire.WireError):
        decoder.feed(b"", copies)
    decoder.close()
    os.close(write)
    assert os.read(read, 1) == b""  # all copies are closed
    os.close(read)


def test_descriptors_that_were_lost() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        read, write = os.pipe()
        wire.send(ours, {"name": "before"})
        wire.send(ours, {"name": "too many"}, [write] * 10)
        wire.send(ours, {"name": "after"}, [write])
        os.close(write)
        decoder = wire.Decoder()
        packets: list[wire.Packet] = []
        while len(packets) < 3:
            decoder.feed(*wire.receive(theirs))
            while (packet := decoder.next()) is not None:
                packets.append(packet)
        assert [len(fds) for _, fds in packets] == [0, 0, 1]
        assert ["lost" in message for message, _ in packets] == [False, True, False]
        wire.close_all(packets[2][1])
        assert os.read(read, 1) == b""  # the others have been closed
        os.close(read)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (wire.text, 1),
        (wire.text, None),
        (wire.integer, "1"),
        (wire.integer, True),
        (wire.integer, 1.0),
        (wire.integer, 2**63),
        (wire.number, "1"),
        (wire.number, True),
        (wire.number, 1e300),
        (wire.number, float("nan")),
        (wire.boolean, 1),
        (wire.mapping, []),
        (wire.strings, "text"),
        (wire.strings, ["a", 1]),
        (wire.text_mapping, {"a": 1}),
        (wire.integers, {"a": "1"}),
        (wire.optional_text, 1),
        (wire.optional_integer, "1"),
    ],
)
def test_fields_of_the_wrong_type(
    field: Callable[[wire.Message, str], object], value: object
) -> None:
    with pytest.raises(wire.WireError):
        _ = field({"name": value}, "name")


def test_fields_of_the_right_type() -> None:
    message = json.loads('{"t": "x", "i": -1, "n": 1.5, "b": true, "s": ["a"], "m": {"a": "b"}}')
    assert wire.text(message, "t") == "x"
    assert wire.optional_text(message, "none") is None
    assert wire.integer(message, "i") == -1
    assert wire.optional_integer(message, "none") is None
    assert (wire.number(message, "n"), wire.number(message, "i")) == (1.5, -1.0)
    assert wire.boolean(message, "b") is True
    assert wire.strings(message, "s") == ["a"]
    assert wire.text_mapping(message, "m") == {"a": "b"}
    assert wire.integers({"m": {"a": 1}}, "m") == {"a": 1}
