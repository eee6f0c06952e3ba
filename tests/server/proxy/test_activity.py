"""What keeps a sandbox from being paused, and what does not."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from harness import Box, ServerProcess, eventually

from .programs import ECHO, WEBSOCKET, Program, leave_program, read_until

TIMEOUT = 2  # seconds; with the least there is, a busy machine would be taken for an idle one
LONGER = 3.5

SLOW = """
def handle(peer):
    while head(peer)[0]:
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\no")
        threading.Event().wait(3.5)
        peer.sendall(b"k")
listen(handle)
"""


@pytest.fixture
def leave(server: ServerProcess, make: Callable[..., Box]) -> Callable[[str], Program]:
    """Starts a program in a sandbox that rests soon."""

    def leave(source: str) -> Program:
        return leave_program(server, make(template="base-python", timeout_sec=TIMEOUT), source)

    return leave


def status(program: Program) -> str:
    found: str = program.box.get()["status"]
    return found


def test_requests_begin_the_time_anew(leave: Callable[[str], Program]) -> None:
    program = leave(ECHO)
    until = time.monotonic() + LONGER
    with program.client() as client:
        while time.monotonic() < until:
            assert client.get("/").status_code == 200
            time.sleep(0.2)
    assert status(program) == "running"
    eventually(lambda: status(program) == "paused")


def test_a_request_that_takes_longer(leave: Callable[[str], Program]) -> None:
    program = leave(SLOW)
    with program.client() as client:
        assert client.get("/").text == "ok"
    assert status(program) == "running"
    eventually(lambda: status(program) == "paused")


def test_a_tunnel_that_is_used(leave: Callable[[str], Program]) -> None:
    program = leave(WEBSOCKET)
    until = time.monotonic() + LONGER
    with program.websocket() as connection:
        _ = connection.recv(20)
        while time.monotonic() < until:
            connection.send("x")
            assert connection.recv(20) == "x"
            time.sleep(0.2)
        assert status(program) == "running"


def test_a_tunnel_that_is_not(leave: Callable[[str], Program]) -> None:
    program = leave(WEBSOCKET)
    with program.websocket(close_timeout=0.1) as connection:
        _ = connection.recv(20)
        eventually(lambda: status(program) == "paused")
        # what is said now wakes nobody up, and is heard when somebody does
        connection.send("still there?")
        assert status(program) == "paused"
        assert program.box.post("/resume").status_code == 200
        assert connection.recv(20) == "still there?"
        eventually(lambda: status(program) == "paused")


def test_requests_that_are_refused_change_nothing(leave: Callable[[str], Program]) -> None:
    program = leave(ECHO)
    eventually(lambda: status(program) == "paused")
    with program.client() as client:
        assert client.get("/").headers["x-sandlot-proxy"] == "invalid_state"
    assert status(program) == "paused"


def test_a_request_goes_on_after_a_pause(leave: Callable[[str], Program]) -> None:
    program = leave(SLOW)
    with program.raw(program.head()) as sock:
        _ = read_until(sock, b"\r\n\r\no")
        assert program.box.post("/pause").status_code == 200
        time.sleep(LONGER)
        assert status(program) == "paused"
        assert program.box.post("/resume").status_code == 200
        assert read_until(sock, b"k") == b"k"
    eventually(lambda: status(program) == "paused")
