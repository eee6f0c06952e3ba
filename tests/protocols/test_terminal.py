"""The conversation with a terminal, without a socket."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from sandlot._protocols.terminal import TerminalConversation
from sandlot.errors import (
    AuthenticationError,
    CommandError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    SandlotError,
    StreamClosedError,
    UnexpectedResponseError,
)


def hear(talk: TerminalConversation, kind: str, **fields: Any) -> None:
    talk.receive(json.dumps({"type": kind, **fields}))


def output(talk: TerminalConversation, data: bytes) -> None:
    hear(talk, "output", data=base64.b64encode(data).decode())


def said(talk: TerminalConversation) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    while (message := talk.outgoing()) is not None:
        messages.append(json.loads(message))
    return messages


def begun(**fields: Any) -> TerminalConversation:
    talk = TerminalConversation("t")
    talk.connect()
    _ = said(talk)
    hear(talk, "started", **{"tag": "t", "pid": 7, "offset": 0, **fields})
    return talk


def taken(talk: TerminalConversation) -> bytes:
    data = b""
    while talk.has_news() and not talk.is_told():
        data += talk.take() or b""
    return data


def test_what_is_said() -> None:
    talk = TerminalConversation()
    talk.start(["sh", "-i"], 80, 24, "/tmp", {"A": "b"})
    talk.resize(1, 65535)
    talk.kill()
    size = {"cols": 80, "rows": 24, "scrollback": True}
    assert said(talk) == [
        {"type": "start", "cmd": "sh", "args": ["-i"], "cwd": "/tmp", "envs": {"A": "b"}, **size},
        {"type": "resize", "cols": 1, "rows": 65535},
        {"type": "kill"},
    ]
    talk = TerminalConversation("t")
    talk.start([], 80, 24, None, None)
    assert said(talk) == [{"type": "start", "tag": "t", **size}]
    talk.connect()
    assert said(talk) == [{"type": "connect", "tag": "t", "scrollback": True}]


@pytest.mark.parametrize("size", [0, 1, 32 << 10, (32 << 10) + 1, 100_000])
def test_what_is_typed_is_sent_in_pieces(size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    talk = TerminalConversation()
    talk.type(data)
    messages = said(talk)
    pieces = [base64.b64decode(message["data"], validate=True) for message in messages]
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= 32 << 10 for piece in pieces)
    assert {message["type"] for message in messages} <= {"input"}


def test_what_could_not_be_sent_is_sent_first() -> None:
    talk = TerminalConversation()
    talk.type(b"a")
    talk.kill()
    first = talk.outgoing()
    assert first is not None
    talk.unsent(first)
    assert [message["type"] for message in said(talk)] == ["input", "kill"]


def test_a_whole_conversation() -> None:
    talk = TerminalConversation()
    talk.start([], 80, 24, None, None)
    assert not talk.has_begun()
    hear(talk, "started", tag="pty-1", pid=7)
    assert (talk.tag, talk.pid, talk.has_begun(), talk.has_news()) == ("pty-1", 7, True, False)
    output(talk, b"a\xff")
    hear(talk, "ping")
    hear(talk, "something of a later version", data=3)
    hear(talk, "error", data="only a warning")
    hear(talk, "output")  # as original servers write what is empty
    output(talk, b"b")
    hear(talk, "exit", exit_code=-1, signal="SIGHUP")
    assert talk.has_ended()
    assert not talk.is_told()
    assert taken(talk) == b"a\xffb"
    assert talk.take() is None
    assert (talk.exit_code, talk.signal, talk.error) == (-1, "SIGHUP", None)
    talk.lose("too late to matter")
    assert talk.take() is None


def test_output_that_nobody_wants() -> None:
    talk = begun()
    output(talk, b"a")
    talk.discard()
    assert not talk.has_news()
    assert json.loads(talk.come_back())["offset"] == 1


@pytest.mark.parametrize(
    "message",
    [
        "",
        "null",
        "[]",
        "{}",
        b"\xff",
        '{"type": 3}',
        '{"type": "started", "tag": "t"}',
        '{"type": "started", "pid": 1}',
        '{"type": "started", "tag": "t", "pid": true}',
        '{"type": "started", "tag": "t", "pid": 7, "offset": "0"}',
        '{"type": "output", "data": "no base64!"}',
        '{"type": "output", "data": 3}',
        '{"type": "gap"}',
        '{"type": "gap", "offset": 4}',
        '{"type": "gap", "offset": -1}',
        '{"type": "exit"}',
        '{"type": "exit", "exit_code": 1.5}',
        '{"type": "exit", "exit_code": 1, "signal": 9}',
        '{"type": "error", "fatal": "yes"}',
    ],
)
def test_nonsense_is_an_error(message: str | bytes) -> None:
    talk = begun()
    output(talk, b"kept!")
    talk.receive(message)
    assert talk.take() == b"kept!"
    with pytest.raises(UnexpectedResponseError, match="terminal: malformed message") as caught:
        _ = talk.take()
    assert caught.value.outcome == "unknown"
    assert talk.missed == 0
    assert not talk.can_return()


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"code": "conflict"}, ConflictError),
        ({"code": "not_found"}, NotFoundError),
        ({}, CommandError),
    ],
)
def test_terminals_that_do_not_begin(fields: dict[str, str], kind: type[SandlotError]) -> None:
    talk = TerminalConversation("t")
    talk.connect()
    hear(talk, "error", data="why", fatal=True, **fields)
    assert talk.has_begun()
    assert not talk.can_return()
    with pytest.raises(kind, match="why"):
        talk.check()


def test_the_end_of_the_sandbox() -> None:
    talk = begun()
    output(talk, b"last")
    hear(talk, "error", data="it is gone", code="agent_error", fatal=True)
    assert talk.take() == b"last"
    with pytest.raises(CommandError, match="it is gone") as caught:
        _ = talk.take()
    assert (caught.value.code, caught.value.outcome) == ("agent_error", "unknown")


# What becomes of a lost connection


def test_going_on_where_it_was() -> None:
    talk = begun(offset=0)
    output(talk, b"12345")
    assert talk.can_return()
    assert json.loads(talk.come_back()) == {
        "type": "connect",
        "tag": "t",
        "scrollback": True,
        "offset": 5,
    }
    # That one is lost, too, before anything was answered.
    assert json.loads(talk.come_back())["offset"] == 5
    hear(talk, "started", tag="t", pid=7, offset=5)
    output(talk, b"678")
    hear(talk, "exit", exit_code=0)
    assert taken(talk) == b"12345678"
    assert talk.missed == 0


def test_what_nobody_has_kept_is_counted() -> None:
    talk = begun()
    hear(talk, "gap", offset=100)
    output(talk, b"12345")
    _ = talk.come_back()
    hear(talk, "started", tag="t", pid=7, offset=105)
    hear(talk, "gap", offset=110)
    output(talk, b"6")
    assert (taken(talk), talk.missed) == (b"123456", 105)
    assert json.loads(talk.come_back())["offset"] == 111


@pytest.mark.parametrize(
    "fields",
    [
        {"offset": 4},  # what has come already would come again
        {"offset": 6},  # something would be missing, unsaid
        {"offset": None},
        {"pid": 8},  # another one, which was given the name since
        {"tag": "other"},
    ],
    ids=str,
)
def test_returning_to_something_else_is_an_error(fields: dict[str, Any]) -> None:
    talk = begun()
    output(talk, b"12345")
    _ = talk.come_back()
    hear(talk, "started", **{"tag": "t", "pid": 7, "offset": 5, **fields})
    output(talk, b"not to be believed")
    assert talk.take() == b"12345"
    with pytest.raises(UnexpectedResponseError, match="that is not t, process 7, byte 5"):
        _ = talk.take()


def test_a_return_that_is_refused() -> None:
    talk = begun()
    _ = talk.come_back()
    hear(talk, "error", data="no such terminal", code="not_found", fatal=True)
    with pytest.raises(CommandError, match="no such terminal") as caught:
        _ = talk.take()
    assert (caught.value.code, caught.value.outcome) == ("not_found", "unknown")


def test_original_servers_cannot_be_returned_to() -> None:
    talk = begun(offset=None)
    output(talk, b"a")
    assert not talk.can_return()
    talk.lose("gone")
    assert talk.take() == b"a"
    with pytest.raises(StreamClosedError, match="may run on: gone") as caught:
        _ = talk.take()
    assert caught.value.outcome == "unknown"


def test_terminals_that_never_began_cannot_be_returned_to() -> None:
    talk = TerminalConversation()
    talk.start([], 80, 24, None, None)
    assert not talk.can_return()
    talk.lose("gone")
    with pytest.raises(StreamClosedError):
        talk.check()


@pytest.mark.parametrize(
    ("code", "kind"),
    [("unauthorized", AuthenticationError), ("account_deactivated", PermissionDeniedError)],
)
def test_a_right_that_ends(code: str, kind: type[SandlotError]) -> None:
    talk = begun()
    output(talk, b"seen")
    hear(talk, "error", data="gone", code=code, fatal=True)
    assert talk.take() == b"seen"
    with pytest.raises(kind, match="gone") as caught:
        _ = talk.take()
    assert caught.value.outcome == "unknown"
    assert not talk.can_return()
