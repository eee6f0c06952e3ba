"""Terminals over WebSockets, in the messages of original clients."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from contract import Contract
from harness import PATIENCE, Box, ServerProcess, eventually
from people import People
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import ClientConnection, connect

MIB = 1 << 20


class Seat:
    """A client in front of a terminal."""

    def __init__(self, connection: ClientConnection, contract: Contract) -> None:
        self.connection = connection
        self.contract = contract
        self.seen = b""
        self.events: list[dict[str, Any]] = []

    def tell(self, kind: str, **fields: Any) -> None:
        self.connection.send(json.dumps({"type": kind, **fields}))

    def type(self, text: str) -> None:
        self.tell("input", data=base64.b64encode(text.encode()).decode())

    def next(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self.connection.recv(PATIENCE))
        self.contract.validate_named(event, "PtyEvent")
        self.events.append(event)
        if event["type"] == "output":
            self.seen += base64.b64decode(event["data"])
        return event

    def until(self, wanted: str) -> str:
        """Return what was written up to this text, which is not looked at again."""
        while wanted.encode() not in self.seen:
            assert self.next()["type"] in ("started", "output", "gap"), (wanted, self.seen)
        head, _, self.seen = self.seen.partition(wanted.encode())
        return head.decode()

    def rest(self) -> list[dict[str, Any]]:
        """Return all events up to the proper end."""
        with contextlib.suppress(ConnectionClosedOK):
            while True:
                _ = self.next()
        return self.events


STATES = "grep -h ^State: /proc/[0-9]*/status"


@contextlib.contextmanager
def seat(box: Box, contract: Contract, **options: Any) -> Iterator[Seat]:
    base = str(box.client.base_url).rstrip("/").replace("http", "ws", 1)
    headers = options.pop("headers", None)
    if headers is None:
        headers = {"X-API-Key": box.client.headers["X-API-Key"]}
    with connect(
        base + box.url("/pty"),
        additional_headers=headers,
        compression=None,
        max_size=None,
        proxy=None,
        **options,
    ) as connection:
        yield Seat(connection, contract)


def test_a_shell_with_job_control(common: Box, contract: Contract) -> None:
    with seat(common, contract) as shell:
        shell.tell("start", envs={"PS1": "$ ", "A": "b"}, cwd="/tmp", cols=100, rows=30)
        started = shell.next()
        assert started["type"] == "started"
        assert started["tag"].startswith("pty-")
        shell.until("$ ")
        shell.type("tty; stty size; echo $A $PWD $TERM; echo $((40+2))\n")
        said = shell.until("\n42\r\n")
        assert "/dev/pts/" in said
        assert "30 100\r\n" in said
        assert "b /tmp xterm-256color\r" in said
        shell.tell("resize", cols=132, rows=50)
        for cols, rows in ((0, 5), (-1, 5), (65536, 5), (None, 5), ("9", 9), (1.5, 2)):
            shell.tell("resize", cols=cols, rows=rows)
        shell.type("stty size; echo $((42+1))\n")
        assert "50 132\r" in shell.until("\n43\r\n")
        shell.type("trap 'echo sized' WINCH\n")
        shell.type("echo $((43+1)); sleep 100000\n")
        shell.until("44\r\n")
        eventually(lambda: common.running("sleep 100000") == 1)
        shell.type("\x03")  # what is typed with it would be thrown away: termios(3), NOFLSH
        shell.until("^C")
        shell.until("$ ")
        shell.type("echo $?,$((44+1))\n")
        shell.until("130,45\r\n")
        assert common.running("sleep 100000") == 0
        shell.type("sleep 100000\n")
        eventually(lambda: common.running("sleep 100000") == 1)
        shell.type("\x1a")
        shell.until("Stopped")
        shell.tell("input", data="no base64!")
        shell.tell("nonsense")
        shell.connection.send(b"\xff\x00")
        shell.until("$ ")
        shell.type("fg\n")
        shell.until("sleep 100000\r\n")
        # The shell says so first; when it lets the program go on, that has the terminal.
        eventually(lambda: "stopped" not in common.sh(STATES)["stdout"])
        shell.type("\x03")
        shell.until("$ ")
        shell.type("exit 7\n")
        last = shell.rest()[-1]
        assert last == {"type": "exit", "exit_code": 7}


def test_a_python_prompt(common: Box, contract: Contract) -> None:
    with seat(common, contract) as python:
        python.tell("start", cmd="python3", args=["-q"], envs={"PYTHON_BASIC_REPL": "1"})
        python.until(">>> ")
        python.type("import os; print(os.isatty(0), os.ttyname(1), 6 * 7)\n")
        python.until("True /dev/pts/")
        python.until("42\r\n")
        python.until(">>> ")  # before that the end of the input might be thrown away
        python.type("\x04")
        assert python.rest()[-1] == {"type": "exit", "exit_code": 0}


def test_sessions_outlive_their_clients(common: Box, contract: Contract) -> None:
    with seat(common, contract) as first:
        first.tell("start", cmd="sh", tag="mine", envs={"PS1": "% "})
        assert first.next()["tag"] == "mine"
        first.until("% ")
        first.type("x=5; echo $((40+x))\n")
        first.until("45\r\n")
    with seat(common, contract) as second, seat(common, contract) as third:
        second.tell("connect", tag="mine")
        third.tell("connect", tag="mine", scrollback=True)
        started = third.next()
        assert (started["type"], started["tag"], started["offset"]) == ("started", "mine", 0)
        third.until("45\r\n")
        third.type("echo $((x+x))\n")
        assert "45" not in second.until("\n10\r\n")
        third.until("\n10\r\n")
        # Both type, both see everything; original clients are told of no start.
        second.type("echo $((x*x))\n")
        third.until("\n25\r\n")
        second.until("\n25\r\n")
        assert {event["type"] for event in second.events} == {"output"}
        second.tell("kill")
        for seated in (second, third):
            last = seated.rest()[-1]
            assert last == {"type": "exit", "exit_code": -1, "signal": "SIGKILL"}
    with seat(common, contract) as late:
        late.tell("connect", tag="mine", scrollback=True, offset=4)
        assert late.rest()[-1] == late.events[-1]
        assert late.events[-1]["type"] == "exit"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "start", "cols": 0}, "invalid_request"),
        ({"type": "start", "rows": -1}, "invalid_request"),
        ({"type": "start", "cols": 65536}, "invalid_request"),
        ({"type": "start", "cols": 1.5}, "invalid_request"),
        ({"type": "start", "tag": "12"}, "invalid_request"),
        ({"type": "start", "cmd": "a\0b"}, "invalid_request"),
        ({"type": "start", "args": ["x"]}, "invalid_request"),
        ({"type": "start", "envs": {"A=B": "c"}}, "invalid_request"),
        ({"type": "connect"}, "invalid_request"),
        ({"type": "connect", "tag": "nothing"}, "not_found"),
        ({"type": "connect", "tag": "1"}, "not_found"),
        ({"type": "input", "data": ""}, "invalid_request"),
        ("x", "invalid_request"),
        ([], "invalid_request"),
    ],
    ids=str,
)
def test_beginnings_that_make_no_sense(
    common: Box, contract: Contract, message: object, code: str
) -> None:
    with seat(common, contract) as wrong:
        wrong.connection.send(json.dumps(message))
        (event,) = wrong.rest()
        assert (event["type"], event["code"], event["fatal"]) == ("error", code, True)


def test_tags_are_taken_by_all_kinds(common: Box, contract: Contract) -> None:
    body = {"cmd": "sleep", "args": ["1000"], "background": True, "tag": "both"}
    assert common.post("/exec", **body).status_code == 202
    for message, code in (
        ({"type": "start", "tag": "both"}, "conflict"),
        ({"type": "connect", "tag": "both"}, "invalid_request"),
    ):
        with seat(common, contract) as wrong:
            wrong.connection.send(json.dumps(message))
            assert wrong.rest()[-1]["code"] == code
    assert common.client.delete(common.url("/processes/both")).status_code == 204


def test_without_a_credential(common: Box, contract: Contract) -> None:
    with seat(common, contract, headers={}) as nobody:
        nobody.tell("auth", token="x.y.z")
        (event,) = nobody.rest()
        assert (event["code"], event["fatal"]) == ("unauthorized", True)


def test_who_says_who_they_are_in_the_first_message(
    start: Callable[..., ServerProcess], contract: Contract
) -> None:
    people = People(start(signup="open"), contract)
    owner, stranger = people.sign_up(), people.sign_up()
    with contextlib.closing(people):
        made = owner.client.post("/v1/sandboxes", json={})
        assert made.status_code == 201, made.text
        box = Box(owner.client, made.json()["id"])
        with seat(box, contract, headers={}) as late:
            late.tell("auth", token=owner.token)
            late.tell("start", cmd="sh", args=["-c", "echo $((40+2)); read line"], tag="late")
            assert late.next()["type"] == "started"
            late.until("42\r\n")
            with seat(box, contract, headers={}) as other:
                other.tell("auth", token=stranger.token)
                other.tell("connect", tag="late", scrollback=True)
                assert [event.get("code") for event in other.rest()] == ["not_found"]
            late.type("x\n")
            events = late.rest()
            assert events[-1] == {"type": "exit", "exit_code": 0}
            assert owner.token not in str(events)
        log = owner.client.get("/v1/audit-logs").json()
        assert owner.token not in str(log)


def test_who_reads_nothing_is_not_waited_for(
    server: ServerProcess, make: Callable[..., Box], contract: Contract
) -> None:
    box = make()
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    with seat(box, contract, max_queue=1) as silent:
        line = "stty raw -echo; head -c 40000000 /dev/zero; echo done > /tmp/done; sleep 1000"
        silent.tell("start", cmd="sh", args=["-c", line], tag="flood")
        assert silent.next()["type"] == "started"
        for number in range(1, 20_000):  # a storm, whose senders are read all the same
            silent.tell("resize", cols=number % 500 + 1, rows=5)
        eventually(lambda: box.sh("cat /tmp/done")["exit_code"] == 0)
        assert process.memory_info().rss - before < 64 * MIB
        with seat(box, contract) as other:
            other.tell("connect", tag="flood", scrollback=True)
            kinds = [other.next()["type"] for _ in range(3)]
            assert kinds == ["started", "gap", "output"]
            assert 39_000_000 - MIB < other.events[1]["offset"] < 40_000_000
            assert box.client.delete(box.url()).status_code == 204
            assert other.rest()[-1]["fatal"] is True
