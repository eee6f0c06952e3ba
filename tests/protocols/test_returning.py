"""Conversations about commands and processes that go on over another connection, without one."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from sandlot._operations.commands import Command
from sandlot._protocols.exec import ExecConversation
from sandlot._protocols.following import Following
from sandlot._protocols.hearing import Hearing
from sandlot.errors import CommandError, StreamClosedError, UnexpectedResponseError
from sandlot.events import (
    StreamErrorEvent,
    StreamExitEvent,
    StreamGapEvent,
    StreamStartEvent,
    StreamStderrEvent,
    StreamStdoutEvent,
)

MIB = 1 << 20


def frame(channel: int, offset: int, data: bytes) -> bytes:
    return struct.pack(">BQ", channel, offset) + data


def control(kind: str, **fields: Any) -> bytes:
    return frame(0, 0, json.dumps({"type": kind, **fields}).encode())


def said(talk: ExecConversation) -> list[Any]:
    """Take all that may be sent: control messages as objects, stdin as (offset, bytes)."""
    messages: list[Any] = []
    while (message := talk.outgoing()) is not None:
        assert isinstance(message, bytes)
        channel, offset = struct.unpack_from(">BQ", message)
        messages.append(json.loads(message[9:]) if channel == 0 else (offset, message[9:]))
    return messages


def arrive(talk: ExecConversation, arrived: bytes) -> bytes:
    """Take the stdin that may be sent, behind what has arrived of it."""
    for offset, piece in said(talk):
        assert offset == len(arrived)
        arrived += piece
    return arrived


def taken(talk: Hearing) -> list[Any]:
    events: list[Any] = []
    while talk.events:
        events.append(talk.take())
    return events


def begun(*, tag: str | None = "t") -> ExecConversation:
    talk = ExecConversation(framed=True)
    talk.start(Command(["a"]))
    _ = said(talk)
    talk.receive(control("start", pid=7, tag=tag))
    return talk


def came_back(talk: ExecConversation) -> dict[str, Any]:
    message = talk.come_back()
    assert isinstance(message, bytes)
    fields: dict[str, Any] = json.loads(message[9:])
    return fields


def test_only_what_has_a_tag_and_no_end_can_be_returned_to() -> None:
    assert not ExecConversation(framed=True).can_return()
    assert not begun(tag=None).can_return()
    talk = begun()
    assert talk.can_return()
    talk.receive(control("exit", exit_code=0))
    assert not talk.can_return()


def test_output_goes_on_where_it_was() -> None:
    talk = begun()
    talk.receive(frame(1, 0, b"12\xc3"))  # half a character
    talk.receive(frame(2, 0, b"e"))
    resume = {"type": "resume", "tag": "t", "stdout": 3, "stderr": 1}
    assert came_back(talk) == resume
    assert came_back(talk) == resume  # the next one is lost, too
    talk.receive(control("start", pid=7, offset=0))
    talk.receive(frame(1, 3, b"\xa9"))
    talk.receive(control("exit", exit_code=3))
    assert taken(talk) == [
        StreamStartEvent(7),
        StreamStdoutEvent(b"12"),
        StreamStderrEvent(b"e"),
        StreamStdoutEvent("é".encode()),
        StreamExitEvent(3),
    ]


@pytest.mark.parametrize("offset", [0, 2, 4, 1 << 62])
def test_output_from_elsewhere_is_an_error(offset: int) -> None:
    talk = begun()
    talk.receive(frame(1, 0, b"123"))
    _ = came_back(talk)
    talk.receive(control("start", pid=7, offset=0))
    talk.receive(frame(1, offset, b"again"))
    assert taken(talk) == [StreamStartEvent(7), StreamStdoutEvent(b"123")]
    with pytest.raises(UnexpectedResponseError, match=f"byte {offset} where 3 was due") as caught:
        _ = talk.take()
    assert caught.value.outcome == "unknown"
    assert not talk.can_return()


def test_output_that_nobody_has_kept() -> None:
    talk = begun()
    talk.receive(frame(1, 0, b"1\xc3"))
    _ = came_back(talk)
    talk.receive(control("start", pid=7, offset=0))
    talk.receive(control("gap", stream="stdout", offset=10))
    talk.receive(frame(1, 10, b"x"))
    assert taken(talk)[1:] == [
        StreamStdoutEvent(b"1"),
        StreamStdoutEvent(b"\xc3"),  # the rest of this character is among what is missing
        StreamGapEvent("stdout", 8),
        StreamStdoutEvent(b"x"),
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": "stdout", "offset": 2},
        {"stream": "stdout", "offset": -1},
        {"stream": "stdin", "offset": 9},
        {"stream": "stdout"},
        {"offset": 9},
        {"stream": "stdout", "offset": 9.0},
    ],
    ids=str,
)
def test_gaps_that_cannot_be(fields: dict[str, Any]) -> None:
    talk = begun()
    talk.receive(frame(1, 0, b"123"))
    talk.receive(control("gap", **fields))
    assert len(taken(talk)) == 2
    with pytest.raises(UnexpectedResponseError, match="malformed"):
        _ = talk.take()


@pytest.mark.parametrize("received", [0, 1, 4, 5, 8])
def test_stdin_is_sent_again_from_what_has_arrived(received: int) -> None:
    talk = begun()
    talk.write_stdin(b"1234")
    talk.write_stdin(b"5678")
    talk.close_stdin()
    assert said(talk) == [(0, b"1234"), (4, b"5678"), {"type": "stdin_close"}]
    _ = came_back(talk)
    assert said(talk) == []  # the server has not said yet how much of it has arrived
    talk.receive(control("start", pid=7, offset=received))
    *pieces, end = said(talk)
    assert end == {"type": "stdin_close"}
    assert [offset for offset, _ in pieces] in ([], [received], [received, 4])
    assert b"".join(data for _, data in pieces) == b"12345678"[received:]


def test_stdin_is_sent_again_after_several_losses() -> None:
    data = bytes(number % 251 for number in range(5 * MIB))
    talk = begun()
    talk.write_stdin(data)
    arrived = b""
    for lost in (1, 70_000, 500_000, MIB, 0):
        arrived = arrive(talk, arrived)
        arrived = arrived[: len(arrived) - lost]
        _ = came_back(talk)
        talk.receive(control("start", pid=7, offset=len(arrived)))
        talk.receive(control("ack", offset=len(arrived)))
    while arrived != data:
        before = len(arrived)
        arrived = arrive(talk, arrived)
        assert len(arrived) > before
        talk.receive(control("ack", offset=len(arrived)))
    assert said(talk) == []


@pytest.mark.parametrize("offset", [-1, 3, 9, None, "4", 4.0, True])
def test_stdin_that_was_never_sent_or_is_long_gone(offset: Any) -> None:
    talk = begun()
    talk.write_stdin(b"12345678")
    _ = said(talk)
    talk.receive(control("ack", offset=4))
    _ = came_back(talk)
    talk.receive(control("start", pid=7, offset=offset))
    assert taken(talk) == [StreamStartEvent(7)]
    with pytest.raises(UnexpectedResponseError, match="malformed"):
        _ = talk.take()
    assert not talk.can_return()


def test_returning_to_another_process_is_an_error() -> None:
    talk = begun()
    _ = came_back(talk)
    talk.receive(control("start", pid=8, offset=0))
    assert taken(talk) == [StreamStartEvent(7)]
    with pytest.raises(UnexpectedResponseError, match="another process"):
        _ = talk.take()


def test_a_stop_that_may_be_lost_is_said_again() -> None:
    talk = begun()
    talk.stop()
    assert said(talk) == [{"type": "stop"}]
    _ = came_back(talk)
    talk.receive(control("start", pid=7, offset=0))
    assert said(talk) == [{"type": "stop"}]


def test_a_signal_that_could_not_be_sent_comes_after_the_return() -> None:
    talk = begun()
    talk.signal("SIGINT")
    message = talk.outgoing()
    assert message is not None
    talk.unsent(message)
    _ = came_back(talk)
    assert talk.outgoing() is None
    talk.receive(control("start", pid=7, offset=0))
    assert said(talk) == [{"type": "signal", "signal": "SIGINT"}]


def test_a_return_that_is_refused() -> None:
    talk = begun()
    talk.receive(frame(1, 0, b"kept"))
    talk.write_stdin(b"more")
    _ = came_back(talk)
    talk.receive(control("error", data="no such command", code="not_found"))
    assert talk.has_ended()
    assert not talk.can_return()
    last = StreamErrorEvent("no such command", "not_found")
    assert taken(talk) == [StreamStartEvent(7), StreamStdoutEvent(b"kept"), last]
    with pytest.raises(CommandError) as caught:
        talk.check_written()
    assert caught.value.stdout == "kept"


def test_a_return_that_fails() -> None:
    talk = begun()
    talk.receive(frame(1, 0, b"kept"))
    _ = came_back(talk)
    talk.lose("nobody is there")
    _ = taken(talk)
    with pytest.raises(StreamClosedError, match="nobody is there") as caught:
        _ = talk.take()
    assert (caught.value.stdout, caught.value.outcome) == ("kept", "unknown")


@pytest.mark.parametrize("message", [b"", b"\0" * 8, frame(0, 0, b"{"), "x", control("start")])
def test_nonsense_after_a_return(message: str | bytes) -> None:
    talk = begun()
    _ = came_back(talk)
    talk.receive(message)
    _ = taken(talk)
    with pytest.raises(UnexpectedResponseError):
        _ = talk.take()


def test_output_is_acknowledged_now_and_then() -> None:
    talk = begun()
    talk.receive(frame(1, 0, b"x" * (127 << 10)))
    assert said(talk) == []
    talk.receive(frame(2, 0, b"x" * 1024))
    assert said(talk) == [{"type": "ack", "stdout": 127 << 10, "stderr": 1024}]
    assert said(talk) == []


# Following what runs anyway


def test_following_goes_on_where_it_was() -> None:
    talk = Following(past=True)
    assert not talk.can_return()
    talk.receive(control("start", pid=7, tag="t"))
    talk.receive(frame(1, 0, b"123"))
    assert talk.can_return()
    assert talk.offsets == (3, 0)
    assert talk.come_back() is None
    talk.receive(control("start", pid=7, tag="t"))
    talk.receive(frame(1, 3, b"4"))
    talk.receive(control("exit", exit_code=0))
    assert taken(talk) == [
        StreamStartEvent(7),
        StreamStdoutEvent(b"123"),
        StreamStdoutEvent(b"4"),
        StreamExitEvent(0),
    ]


def test_following_from_now_on() -> None:
    talk = Following(past=False)
    talk.receive(control("start", pid=7))
    talk.receive(control("gap", stream="stdout", offset=100))
    assert talk.offsets is None
    _ = talk.come_back()  # before it was told everything: it begins anew
    talk.receive(control("start", pid=7))
    talk.receive(control("gap", stream="stdout", offset=110))
    talk.receive(control("gap", stream="stderr", offset=0))
    assert talk.offsets == (110, 0)
    talk.receive(frame(1, 110, b"1"))
    talk.receive(control("gap", stream="stdout", offset=120))
    assert talk.offsets == (120, 0)
    assert taken(talk) == [
        StreamStartEvent(7),
        StreamGapEvent("stdout", 10),
        StreamStdoutEvent(b"1"),
        StreamGapEvent("stdout", 9),
    ]


def test_following_another_process_is_an_error() -> None:
    talk = Following(past=True)
    talk.receive(control("start", pid=7))
    _ = talk.come_back()
    talk.receive(control("start", pid=8))
    assert taken(talk) == [StreamStartEvent(7)]
    with pytest.raises(UnexpectedResponseError, match="another process"):
        _ = talk.take()


def test_the_end_of_following_is_not_that_of_the_process() -> None:
    talk = Following(past=True)
    talk.receive(control("start", pid=7))
    talk.lose("gone")
    _ = taken(talk)
    with pytest.raises(StreamClosedError, match="it may run on") as caught:
        _ = talk.take()
    assert caught.value.outcome == "unknown"
