from __future__ import annotations

import contextlib
import json
import struct
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from contract import Contract
from harness import KEY, UNKNOWN_ID, Box, ServerProcess, eventually
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import ClientConnection, connect

SUBPROTOCOL = "sandlot.exec.v1"
CONTROL, STDOUT, STDERR, STDIN = range(4)
MIB = 1 << 20


class Talk:
    """A conversation in binary form, checking offsets and events as they come."""

    def __init__(self, connection: ClientConnection, contract: Contract) -> None:
        self.connection = connection
        self.contract = contract
        self.received = {STDOUT: 0, STDERR: 0}
        self.sent = 0
        self.acknowledged = 0

    def tell(self, **fields: Any) -> None:
        self.connection.send(frame(CONTROL, 0, json.dumps(fields).encode()))

    def send(self, data: bytes) -> None:
        self.connection.send(frame(STDIN, self.sent, data))
        self.sent += len(data)

    def next(self) -> tuple[str, Any]:
        message = self.connection.recv(20)
        assert isinstance(message, bytes)
        channel, offset = struct.unpack_from(">BQ", message)
        payload = message[9:]
        if channel == CONTROL:
            assert offset == 0
            event = json.loads(payload)
            self.contract.validate_named(event, "ExecStreamEvent")
            if event["type"] == "ack":
                assert self.acknowledged < event["offset"] <= self.sent
                self.acknowledged = event["offset"]
            return event["type"], event
        assert offset == self.received[channel]
        assert payload
        self.received[channel] += len(payload)
        return {STDOUT: "stdout", STDERR: "stderr"}[channel], payload

    def until(self, wanted: str) -> Any:
        while True:
            kind, value = self.next()
            if kind == wanted:
                return value
            assert kind not in ("exit", "error"), value

    def finish(self) -> tuple[bytes, bytes, dict[str, Any]]:
        """Return all output and the last event, after which the server closes with 1000."""
        output = {"stdout": bytearray(), "stderr": bytearray()}
        while True:
            kind, value = self.next()
            if kind in output:
                output[kind] += value
            elif kind in ("exit", "error"):
                closed(self.connection)
                return bytes(output["stdout"]), bytes(output["stderr"]), value


def frame(channel: int, offset: int, payload: bytes) -> bytes:
    return struct.pack(">BQ", channel, offset) + payload


def closed(connection: ClientConnection) -> None:
    with pytest.raises(ConnectionClosedOK):
        _ = connection.recv(20)
    assert connection.close_code == 1000


@contextlib.contextmanager
def talk(box: Box, contract: Contract, cmd: str, *args: str, **fields: Any) -> Iterator[Talk]:
    with box.stream([SUBPROTOCOL]) as connection:
        assert connection.subprotocol == SUBPROTOCOL
        talk = Talk(connection, contract)
        talk.tell(type="start", cmd=cmd, args=list(args), **fields)
        kind, event = talk.next()
        assert kind == "start", event
        assert event["pid"] > 0
        yield talk


def events(connection: ClientConnection, contract: Contract) -> list[dict[str, Any]]:
    events = [json.loads(message) for message in connection]
    for event in events:
        contract.validate_named(event, "ExecStreamEvent")
    assert connection.close_code == 1000
    return events


def start(cmd: str, *args: str, **fields: Any) -> str:
    return json.dumps({"type": "start", "cmd": cmd, "args": list(args), **fields})


def test_the_original_form(common: Box, contract: Contract) -> None:
    with common.stream() as connection:
        assert connection.subprotocol is None
        connection.send(start("/bin/sh", "-c", "echo out; echo err >&2; exit 4"))
        first, *middle, last = events(connection, contract)
    assert first["type"] == "start"
    assert first["pid"] > 0
    assert sorted((event["type"], event["data"]) for event in middle) == [
        ("stderr", "err\n"),
        ("stdout", "out\n"),
    ]
    assert last == {"type": "exit", "exit_code": 4}


def test_characters_are_not_cut(common: Box, contract: Contract) -> None:
    line = "printf '\\342\\202'; sleep 0.2; printf '\\254'; printf '\\377'; printf '\\342'"
    with common.stream() as connection:
        connection.send(start("/bin/sh", "-c", line))
        texts = [
            event["data"] for event in events(connection, contract) if event["type"] == "stdout"
        ]
    assert "".join(texts) == "\u20ac\ufffd\ufffd"
    assert "" not in texts


def test_exact_bytes(common: Box, contract: Contract) -> None:
    line = "printf '\\000\\377'; printf '\\200' >&2; head -c 300000 /dev/zero"
    with talk(common, contract, "/bin/sh", "-c", line) as conversation:
        stdout, stderr, last = conversation.finish()
    assert stdout == b"\0\xff" + bytes(300_000)
    assert stderr == b"\x80"
    assert last == {"type": "exit", "exit_code": 0}


@pytest.mark.parametrize(
    ("line", "code", "signal"),
    [("exit 7", 7, None), ("kill -9 $$", -1, "SIGKILL"), ("nonsense-program", 127, None)],
)
def test_exits(common: Box, contract: Contract, line: str, code: int, signal: str | None) -> None:
    with talk(common, contract, "/bin/sh", "-c", line) as conversation:
        last = conversation.finish()[2]
    assert (last["exit_code"], last.get("signal")) == (code, signal)


def test_stdin_and_acknowledgements(common: Box, contract: Contract) -> None:
    with talk(common, contract, "cat") as conversation:
        conversation.send(b"hello ")
        conversation.send(b"")
        conversation.send(b"world")
        conversation.tell(type="stdin_close")
        stdout, _, last = conversation.finish()
        assert conversation.acknowledged == 11
    assert stdout == b"hello world"
    assert last["exit_code"] == 0


def test_a_window_of_stdin_may_be_on_its_way(common: Box, contract: Contract) -> None:
    with talk(common, contract, "/bin/sh", "-c", "sleep 0.5; wc -c") as conversation:
        for _ in range(4):
            conversation.send(bytes(MIB // 4))
        while conversation.acknowledged < MIB:
            assert conversation.next()[0] == "ack"
        conversation.send(b"x")
        conversation.tell(type="stdin_close")
        stdout, _, _ = conversation.finish()
    assert stdout == b"1048577\n"


def test_more_than_a_window_is_an_error(box: Box, contract: Contract) -> None:
    with talk(box, contract, "sleep", "4713") as conversation:
        for _ in range(5):
            conversation.send(bytes(MIB // 4))
        last = conversation.finish()[2]
    assert (last["type"], last["code"]) == ("error", "invalid_request")
    assert box.running("sleep 4713") == 0


@pytest.mark.parametrize("after_close", [False, True])
def test_stdin_out_of_turn_is_an_error(
    common: Box, contract: Contract, *, after_close: bool
) -> None:
    with talk(common, contract, "sleep", "1000") as conversation:
        if after_close:
            conversation.tell(type="stdin_close")
        else:
            conversation.sent = 5
        conversation.send(b"x")
        assert conversation.finish()[2]["code"] == "invalid_request"


def test_stdin_that_nobody_reads_is_acknowledged(common: Box, contract: Contract) -> None:
    with talk(common, contract, "/bin/sh", "-c", "exec <&-; echo ready; sleep 0.5") as conversation:
        assert conversation.until("stdout") == b"ready\n"
        conversation.send(bytes(MIB))
        _ = conversation.until("ack")
        assert conversation.finish()[2]["exit_code"] == 0


def test_without_the_subprotocol_stdin_is_empty(common: Box, contract: Contract) -> None:
    with common.stream() as connection:
        connection.send(start("cat"))
        assert [event["type"] for event in events(connection, contract)] == ["start", "exit"]


def test_signals(common: Box, contract: Contract) -> None:
    line = "trap 'echo got it; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    with talk(common, contract, "/bin/sh", "-c", line) as conversation:
        assert conversation.until("stdout") == b"ready\n"
        conversation.tell(type="signal", signal="SIGINT")
        stdout, _, last = conversation.finish()
    assert b"got it" in stdout
    assert last["exit_code"] == 9


def test_unknown_signals_are_an_error(common: Box, contract: Contract) -> None:
    with talk(common, contract, "sleep", "1000") as conversation:
        conversation.tell(type="signal", signal="SIGNONSENSE")
        assert conversation.finish()[2]["code"] == "invalid_request"


@pytest.mark.parametrize("binary", [False, True])
def test_stop_kills_everything_and_is_answered(
    box: Box, contract: Contract, *, binary: bool
) -> None:
    line = "setsid sleep 4714 >/dev/null 2>&1 & echo ready; sleep 4714"
    if binary:
        with talk(box, contract, "/bin/sh", "-c", line) as conversation:
            assert conversation.until("stdout") == b"ready\n"
            conversation.tell(type="stop")
            last = conversation.finish()[2]
    else:
        with box.stream() as connection:
            connection.send(start("/bin/sh", "-c", line))
            while json.loads(connection.recv(20)).get("data") != "ready\n":
                pass
            connection.send(json.dumps({"type": "stop"}))
            last = events(connection, contract)[-1]
    assert (last["type"], last["exit_code"], last["signal"]) == ("exit", -1, "SIGTERM")
    assert box.running("sleep 4714") == 0


@pytest.mark.parametrize("polite", [False, True])
def test_leaving_kills_everything(box: Box, *, polite: bool) -> None:
    line = "setsid sleep 4715 >/dev/null 2>&1 & sleep 4715"
    with box.stream() as connection:
        connection.send(start("/bin/sh", "-c", line))
        eventually(lambda: box.running("sleep 4715") == 2)
        if polite:
            connection.close()
        else:
            connection.socket.close()
    eventually(lambda: box.running("sleep 4715") == 0)


def test_timeouts(common: Box, contract: Contract) -> None:
    with talk(
        common, contract, "/bin/sh", "-c", "echo begun; sleep 1000", timeout_sec=0.3
    ) as conversation:
        stdout, _, last = conversation.finish()
    assert stdout == b"begun\n"
    assert (last["exit_code"], last["timed_out"]) == (-1, True)


def test_environment_and_directory(common: Box, contract: Contract) -> None:
    with talk(
        common, contract, "/bin/sh", "-c", "echo $A; pwd", env={"A": "1"}, cwd="/tmp"
    ) as conversation:
        assert conversation.finish()[0] == b"1\n/tmp\n"


def test_what_is_not_understood_is_ignored(common: Box, contract: Contract) -> None:
    with talk(common, contract, "cat") as conversation:
        conversation.tell(type="nonsense")
        conversation.tell(nothing=1)
        for data in (
            b"",
            b"x",
            frame(CONTROL, 0, b"[]"),
            frame(CONTROL, 0, b"\xff"),
            frame(9, 0, b"x"),
        ):
            conversation.connection.send(data)
        conversation.connection.send("a text")
        conversation.tell(type="stdin_close")
        assert conversation.finish()[2]["exit_code"] == 0


@pytest.mark.parametrize(
    "first",
    [
        "nonsense",
        "[]",
        '{"type": "stop"}',
        '{"type": "start"}',
        '{"type": "start", "cmd": ""}',
        '{"type": "start", "cmd": "a\\u0000"}',
        '{"type": "start", "cmd": "true", "args": "x"}',
        '{"type": "start", "cmd": "true", "user": "nobody-at-all"}',
    ],
)
def test_first_messages_that_make_no_sense(common: Box, contract: Contract, first: str) -> None:
    with common.stream() as connection:
        connection.send(first)
        (last,) = events(connection, contract)
    assert (last["type"], last["code"]) == ("error", "invalid_request")
    with common.stream([SUBPROTOCOL]) as connection:
        connection.send(frame(CONTROL, 0, first.encode()))
        last = Talk(connection, contract).finish()[2]
    assert (last["type"], last["code"]) == ("error", "invalid_request")


def test_a_silent_client_is_not_waited_for(common: Box, contract: Contract) -> None:
    began = time.monotonic()
    with common.stream() as connection:
        (last,) = events(connection, contract)
    assert last["code"] == "invalid_request"
    assert 9 < time.monotonic() - began < 30


def test_messages_that_are_too_large_end_the_stream(common: Box) -> None:
    with common.stream() as connection:
        with contextlib.suppress(ConnectionClosed):
            connection.send(start("true", "x" * (17 * MIB)))
        with pytest.raises(ConnectionClosed):
            _ = connection.recv(20)


@pytest.mark.parametrize(
    ("path", "key", "status", "code"),
    [
        (f"/v1/sandboxes/{UNKNOWN_ID}/exec/stream", None, 401, "unauthorized"),
        (f"/v1/sandboxes/{UNKNOWN_ID}/exec/stream", "wrn_x", 401, "unauthorized"),
        ("/v1/sandboxes/x/exec/stream", KEY, 400, "invalid_request"),
        (f"/v1/sandboxes/{UNKNOWN_ID}/exec/stream", KEY, 404, "not_found"),
        (f"/v1/capsules/{UNKNOWN_ID}/exec/stream", KEY, 404, "not_found"),
        ("/v1/nonsense", KEY, 404, "not_found"),
        ("/v1/sandboxes", KEY, 404, "not_found"),
    ],
)
def test_upgrades_are_refused_in_http(
    server: ServerProcess, contract: Contract, path: str, key: str | None, status: int, code: str
) -> None:
    headers = {} if key is None else {"X-API-Key": key}
    url = server.url.replace("http", "ws", 1) + path
    with (
        pytest.raises(InvalidStatus) as caught,
        connect(url, additional_headers=headers, proxy=None),
    ):
        pass
    response = caught.value.response
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    body = json.loads(bytes(response.body or b""))
    contract.validate_named(body, "Error")
    assert body["error"]["code"] == code
    assert response.headers["x-request-id"] == body["error"]["request_id"]


def test_upgrades_are_refused_while_paused(box: Box) -> None:
    assert box.post("/pause").status_code == 200
    with pytest.raises(InvalidStatus) as caught, box.stream():
        pass
    assert caught.value.response.status_code == 409


def test_without_an_upgrade_it_says_so(common: Box) -> None:
    response = common.client.get(common.url("/exec/stream"))
    assert response.status_code == 400
    assert "WebSocket" in response.json()["error"]["message"]


def test_a_slow_reader_slows_the_command_and_costs_no_memory(
    server: ServerProcess, box: Box, contract: Contract
) -> None:
    process = psutil.Process(server.process.pid)
    line = "i=0; while [ $i -lt 1024 ]; do head -c 262144 /dev/zero; i=$((i+1)); echo $i > n; done"
    with box.stream([SUBPROTOCOL], max_queue=1) as connection:
        conversation = Talk(connection, contract)
        conversation.tell(type="start", cmd="/bin/sh", args=["-c", line])
        _ = conversation.until("start")
        # Nobody reads: the command comes to a halt once the buffers on the way are full.
        seen = -1
        while (count := int(box.sh("cat n || echo 0")["stdout"] or 0)) != seen:
            seen = count
            time.sleep(0.3)  # a command that goes on would get further in this time
        assert 0 < seen < 200
        before = process.memory_info().rss
        received, _, last = _count(conversation)
        grown = process.memory_info().rss - before
    assert received == 1024 * 262144
    assert last["exit_code"] == 0
    assert grown < 32 * MIB


def _count(conversation: Talk) -> tuple[int, int, dict[str, Any]]:
    while True:
        kind, value = conversation.next()
        assert kind != "error", value
        if kind == "exit":
            return conversation.received[STDOUT], conversation.received[STDERR], value
