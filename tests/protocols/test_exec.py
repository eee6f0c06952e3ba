"""The conversation in which a command is run, without a socket."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import pytest

from sandlot._operations.commands import Command, command
from sandlot._protocols.exec import STDIN_WINDOW, UNREAD, ExecConversation
from sandlot._protocols.output import TAIL
from sandlot.errors import (
    AuthenticationError,
    CommandError,
    InvalidArgumentError,
    PermissionDeniedError,
    SandlotError,
    StreamClosedError,
    UnexpectedResponseError,
    UnsupportedError,
)
from sandlot.events import (
    StreamErrorEvent,
    StreamExitEvent,
    StreamStartEvent,
    StreamStderrEvent,
    StreamStdoutEvent,
)

PLAIN = Command(["a"])


def begun(*, framed: bool, what: Command = PLAIN) -> ExecConversation:
    talk = ExecConversation(framed=framed)
    talk.start(what)
    assert talk.outgoing() is not None
    return talk


def control(**fields: Any) -> bytes:
    return struct.pack(">BQ", 0, 0) + json.dumps(fields).encode()


def frame(channel: int, offset: int, data: bytes) -> bytes:
    return struct.pack(">BQ", channel, offset) + data


def sent(talk: ExecConversation) -> list[Any]:
    """Take all that may be sent: control messages as objects, stdin as (offset, bytes)."""
    messages: list[Any] = []
    while (message := talk.outgoing()) is not None:
        if isinstance(message, str):
            messages.append(json.loads(message))
            continue
        channel, offset = struct.unpack_from(">BQ", message)
        body = message[9:]
        messages.append(json.loads(body) if channel == 0 else (offset, body))
        assert channel in (0, 3)
    return messages


def taken(talk: ExecConversation) -> list[Any]:
    events: list[Any] = []
    while talk.events:
        events.append(talk.take())
    return events


def test_the_beginning() -> None:
    what = command("ls", None, cwd="/a", env={"A": "b"}, user="u", timeout_sec=3)
    talk = ExecConversation(framed=True)
    talk.start(what)
    assert sent(talk) == [
        {
            "type": "start",
            "cmd": "/bin/sh",
            "args": ["-c", "ls"],
            "timeout_sec": 3,
            "cwd": "/a",
            "env": {"A": "b"},
            "user": "u",
            "resume_sec": 15,
        }
    ]


def test_the_beginning_with_an_original_server() -> None:
    talk = ExecConversation(framed=False)
    talk.start(command(["ls"], None, cwd="/a"))
    assert talk.outgoing() == (
        '{"type":"start","cmd":"/bin/sh","args":["-c","cd -- \\"$0\\" && exec \\"$@\\"","/a","ls"]}'
    )


@pytest.mark.parametrize(
    "options", [{"timeout_sec": 3}, {"stdin": b"x"}, {"user": "u"}], ids=lambda value: str(value)
)
def test_what_an_original_server_would_ignore_is_refused(options: dict[str, Any]) -> None:
    talk = ExecConversation(framed=False)
    with pytest.raises(UnsupportedError):
        talk.start(command(["ls"], None, **options))
    assert talk.outgoing() is None


def test_an_original_server_has_no_stdin_and_no_signals() -> None:
    talk = begun(framed=False)
    with pytest.raises(UnsupportedError):
        talk.write_stdin(b"x")
    with pytest.raises(UnsupportedError):
        talk.signal("SIGINT")
    talk.close_stdin()
    assert sent(talk) == []
    talk.stop()
    assert sent(talk) == [{"type": "stop"}]


@pytest.mark.parametrize("framed", [True, False])
def test_a_whole_conversation(framed: bool) -> None:
    talk = begun(framed=framed)
    if framed:
        messages: list[str | bytes] = [
            control(type="start", pid=7),
            frame(1, 0, b"out"),
            frame(2, 0, b"err"),
            frame(1, 3, b"more"),
            control(type="exit", exit_code=-1, signal="SIGKILL", timed_out=True, oom=True),
        ]
    else:
        messages = [
            json.dumps(fields)
            for fields in (
                {"type": "start", "pid": 7},
                {"type": "stdout", "data": "out"},
                {"type": "stderr", "data": "err"},
                {"type": "stdout", "data": "more"},
                {"type": "stdout"},
                {
                    "type": "exit",
                    "exit_code": -1,
                    "signal": "SIGKILL",
                    "timed_out": True,
                    "oom": True,
                },
            )
        ]
    for message in messages:
        assert not talk.has_ended()
        talk.receive(message)
    assert talk.is_over
    assert talk.has_ended()
    assert talk.unread == 10
    assert taken(talk) == [
        StreamStartEvent(7),
        StreamStdoutEvent(b"out"),
        StreamStderrEvent(b"err"),
        StreamStdoutEvent(b"more"),
        StreamExitEvent(-1, "SIGKILL", timed_out=True, oom=True),
    ]
    assert talk.take() is None
    assert talk.unread == 0
    talk.lose("dropped")  # as original servers do
    assert talk.take() is None


def test_an_error_ends_it() -> None:
    talk = begun(framed=False)
    talk.receive('{"type": "error"}')
    assert taken(talk) == [StreamErrorEvent("the server gave no reason")]
    assert talk.is_over


@pytest.mark.parametrize(
    ("code", "kind"),
    [("unauthorized", AuthenticationError), ("account_deactivated", PermissionDeniedError)],
)
@pytest.mark.parametrize("started", [True, False])
def test_a_right_that_ends(code: str, kind: type[SandlotError], started: bool) -> None:
    talk = begun(framed=True)
    if started:
        talk.receive(control(type="start", pid=7, tag="t"))
        talk.receive(frame(1, 0, b"so far \xc3"))
        talk.receive(frame(2, 0, b"oops"))
    talk.receive(control(type="error", data="gone", code=code))
    seen = "".join(event.data for event in taken(talk) if not isinstance(event, StreamStartEvent))
    with pytest.raises(kind, match="gone") as caught:
        talk.take()
    error = caught.value
    assert isinstance(error, AuthenticationError | PermissionDeniedError)
    assert sorted(seen) == sorted(error.stdout + error.stderr)
    assert (error.stdout, error.stderr) == (("so far \ufffd", "oops") if started else ("", ""))
    assert (error.outcome, error.execution) == ("unknown", None)
    assert not talk.can_return()


def test_a_loss_before_the_end() -> None:
    talk = begun(framed=True)
    talk.receive(control(type="start", pid=7))
    talk.receive(frame(1, 0, b"so far \xc3"))
    talk.receive(frame(2, 0, b"oops"))
    talk.lose("reset")
    assert len(taken(talk)) == 3
    for _ in range(2):
        with pytest.raises(StreamClosedError, match=r"pid 7.*reset") as caught:
            talk.take()
    assert (caught.value.stdout, caught.value.stderr) == ("so far \ufffd", "oops")
    assert caught.value.outcome == "unknown"
    assert isinstance(caught.value, ConnectionError)


def test_a_loss_before_the_beginning() -> None:
    talk = begun(framed=True)
    talk.lose("reset")
    with pytest.raises(StreamClosedError, match="may have run"):
        talk.take()


def test_what_is_remembered_is_bounded() -> None:
    talk = begun(framed=True)
    for index in range(100):
        talk.receive(frame(1, index * 10_000, bytes([65 + index % 26]) * 10_000))
        talk.take()
    talk.lose("reset")
    with pytest.raises(StreamClosedError) as caught:
        talk.take()
    assert len(caught.value.stdout) == TAIL
    assert caught.value.stdout.endswith(chr(65 + 99 % 26) * 10_000)


@pytest.mark.parametrize(
    "message",
    [
        *('"x"', "[]", "null", "{", "\ud800", '{"type": 3}', "{}", '{"type": "start"}'),
        *('{"type": "start", "pid": "7"}', '{"type": "exit"}', '{"type": "stdout", "data": 3}'),
        *('{"type": "exit", "exit_code": true}', '{"type": "exit", "exit_code": 1.5}'),
        *('{"type": "exit", "exit_code": 0, "timed_out": "no"}', '{"type": "error", "data": []}'),
        *('{"type": "ack", "offset": 1}', '{"type": "ack", "offset": -1}', b"\xff"),
    ],
)
@pytest.mark.parametrize("framed", [True, False])
def test_malformed_messages(message: str | bytes, framed: bool) -> None:
    talk = begun(framed=framed)
    if framed and isinstance(message, str):
        message = struct.pack(">BQ", 0, 0) + message.encode(errors="surrogatepass")
    talk.receive(message)
    with pytest.raises(UnexpectedResponseError) as caught:
        talk.take()
    assert caught.value.outcome == "unknown"


@pytest.mark.parametrize("data", [b"", b"\x01", frame(1, 5, b"gap"), b"\x01" + b"\xff" * 8])
def test_malformed_frames(data: bytes) -> None:
    talk = begun(framed=True)
    talk.receive(data)
    with pytest.raises(UnexpectedResponseError):
        talk.take()


def test_what_later_versions_say_is_ignored() -> None:
    talk = begun(framed=True)
    talk.receive(control(type="news", offset=3))
    talk.receive(frame(9, 0, b"?"))
    assert not talk.has_news()
    talk.receive(control(type="exit", exit_code=0, mood="good"))
    assert talk.is_over


def test_text_is_cut_between_characters_and_bytes_are_exact() -> None:
    chance = random.Random(1)
    texts = [
        "äöü€😀" * 50,
        "plain",
        "".join(chr(chance.randrange(0x20, 0x2000)) for _ in range(99)),
    ]
    noise = [bytes(chance.randrange(256) for _ in range(500)) for _ in range(20)]
    for whole in [
        *(text.encode() for text in texts),
        *noise,
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        b"\xff",
    ]:
        talk = begun(framed=True)
        position = 0
        while position < len(whole):
            size = chance.randrange(1, 6)
            talk.receive(frame(1, position, whole[position : position + size]))
            position += size
        talk.receive(control(type="exit", exit_code=0))
        output = [event for event in taken(talk) if isinstance(event, StreamStdoutEvent)]
        assert b"".join(event.data_bytes for event in output) == whole
        assert "".join(event.data for event in output) == whole.decode(errors="replace")


def test_stdin_keeps_to_its_window() -> None:
    talk = begun(framed=True)
    data = random.Random(2).randbytes(3 * STDIN_WINDOW // 2)
    talk.write_stdin(data)
    talk.close_stdin()
    pieces = sent(talk)
    assert sum(len(piece) for _, piece in pieces) == STDIN_WINDOW
    assert not talk.has_written()
    talk.receive(control(type="ack", offset=100))
    more = sent(talk)
    assert more == [(STDIN_WINDOW, data[STDIN_WINDOW : STDIN_WINDOW + 100])]
    talk.receive(control(type="ack", offset=STDIN_WINDOW))
    *rest, last = sent(talk)
    assert last == {"type": "stdin_close"}
    assert b"".join(piece for _, piece in [*pieces, *more, *rest]) == data
    assert [offset for offset, _ in pieces[:2]] == [0, len(pieces[0][1])]
    assert talk.has_written()
    assert sent(talk) == []


def test_stdin_given_at_the_beginning_is_all_there_is() -> None:
    talk = begun(framed=True, what=command(["cat"], None, stdin="abc"))
    assert sent(talk) == [(0, b"abc"), {"type": "stdin_close"}]
    with pytest.raises(InvalidArgumentError, match="closed"):
        talk.write_stdin(b"more")


def test_a_command_that_ends_without_reading() -> None:
    talk = begun(framed=True)
    talk.write_stdin(bytes(STDIN_WINDOW + 1))
    sent(talk)
    talk.receive(control(type="exit", exit_code=0))
    assert talk.has_written()
    with pytest.raises(CommandError, match="before it read"):
        talk.check_written()


def test_a_command_that_wants_to_be_read() -> None:
    talk = begun(framed=True)
    talk.write_stdin(bytes(STDIN_WINDOW + 1))
    sent(talk)
    talk.receive(frame(1, 0, bytes(UNREAD + 1)))
    assert talk.has_written()
    with pytest.raises(CommandError, match="another thread or task"):
        talk.check_written()
    talk.discard()
    assert (talk.unread, list(talk.events)) == (0, [])


def test_signals() -> None:
    talk = begun(framed=True)
    talk.signal("SIGINT")
    assert sent(talk) == [{"type": "signal", "signal": "SIGINT"}]


def test_events_can_be_matched_and_shown() -> None:
    match StreamStdoutEvent(b"text"):
        case StreamStdoutEvent(text):
            assert text == "text"
    assert repr(StreamStderrEvent(b"x" * 61)) == f"StreamStderrEvent({b'x' * 60!r}...)"
    assert StreamStdoutEvent(b"x") == StreamStdoutEvent(b"x")
    assert StreamStdoutEvent(b"x") != StreamStderrEvent(b"x")
    assert len({StreamStdoutEvent(b"x"), StreamStdoutEvent(b"x")}) == 1
