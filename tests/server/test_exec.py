from __future__ import annotations

import base64
import json
import socket
import time
from typing import Any

import httpx
import pytest
from harness import KEY, Box, ServerProcess, eventually


def test_streams_and_exit_code(common: Box) -> None:
    result = common.sh("echo out; echo err >&2; exit 3")
    assert (result["stdout"], result["stderr"], result["exit_code"]) == ("out\n", "err\n", 3)
    assert result["sandbox_id"] == common.id
    assert result["cmd"] == "/bin/sh"
    assert result["encoding"] == "utf-8"
    assert result["timed_out"] is False
    assert result["truncated"] is False
    assert "signal" not in result


def test_the_command_is_no_shell_line(common: Box) -> None:
    result = common.exec("echo hello")
    assert result["exit_code"] == 127
    assert "not found" in result["stderr"]
    assert common.exec("echo", "a b", "$HOME", "*")["stdout"] == "a b $HOME *\n"


def test_what_cannot_be_executed(common: Box) -> None:
    assert common.exec("/etc/passwd")["exit_code"] == 126
    assert common.exec("/nonsense")["exit_code"] == 127
    result = common.exec("true", cwd="/nonsense")
    assert result["exit_code"] == 126
    assert result["stderr"]


def test_death_by_signal(common: Box) -> None:
    result = common.sh("kill -USR1 $$")
    assert (result["exit_code"], result["signal"]) == (-1, "SIGUSR1")


def test_environment_and_directory(common: Box) -> None:
    result = common.sh("echo $A $HOME; pwd", env={"A": "x y"}, cwd="/tmp")
    assert result["stdout"] == "x y /home/user\n/tmp\n"
    assert common.sh("pwd")["stdout"] == "/home/user\n"


def test_directories_start_at_the_sandboxs_own(make: Any) -> None:
    box = make(cwd="work", env={"A": "1", "B": "1"})
    assert box.exec("mkdir", "-p", "work/deep", cwd="/home/user")["exit_code"] == 0
    assert box.sh("pwd")["stdout"] == "/home/user/work\n"
    assert box.sh("pwd", cwd="deep")["stdout"] == "/home/user/work/deep\n"
    assert box.sh("pwd", cwd="/tmp")["stdout"] == "/tmp\n"
    assert box.sh("echo $A$B", env={"B": "2"})["stdout"] == "12\n"


@pytest.mark.parametrize("size", [0, 5, 1 << 20])
def test_stdin(common: Box, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    text = base64.b64encode(data[:size]).decode()
    result = common.exec("cat", stdin=text, stdin_encoding="base64")
    received = result["stdout"].encode()
    if result["encoding"] == "base64":
        received = base64.b64decode(received)
    assert received == data[:size]


def test_stdin_as_text(common: Box) -> None:
    assert common.exec("cat", stdin="h\u00e9llo")["stdout"] == "h\u00e9llo"


def test_stdin_is_empty_unless_given(common: Box) -> None:
    assert common.exec("cat")["stdout"] == ""


def test_stdin_that_nobody_reads(common: Box) -> None:
    assert common.exec("true", stdin="x" * (1 << 20))["exit_code"] == 0


def test_base64_for_both_streams(common: Box) -> None:
    result = common.sh("printf '\\377'; echo err >&2")
    assert result["encoding"] == "base64"
    assert base64.b64decode(result["stdout"]) == b"\xff"
    assert base64.b64decode(result["stderr"]) == b"err\n"


def test_output_is_capped(common: Box) -> None:
    result = common.sh("head -c 100000 /dev/zero | tr '\\0' a; echo err >&2", max_output_bytes=1000)
    assert result["stdout"] == "a" * 1000
    assert result["stderr"] == "err\n"
    assert result["truncated"] is True
    assert common.sh("printf abc", max_output_bytes=3)["truncated"] is False
    assert common.sh("printf abc", max_output_bytes=0)["stdout"] == ""


def test_the_default_cap_is_ten_mebibytes(common: Box) -> None:
    result = common.sh("head -c 11000000 /dev/zero | tr '\\0' a")
    assert len(result["stdout"]) == 10 << 20
    assert result["truncated"] is True


def test_a_cap_does_not_cut_characters(common: Box) -> None:
    result = common.sh("printf '\u20ac\u20ac'", max_output_bytes=4)
    assert (result["stdout"], result["encoding"]) == ("\u20ac", "utf-8")
    assert result["truncated"] is True


def test_timeout_keeps_what_was_written(common: Box) -> None:
    began = time.monotonic()
    result = common.sh("echo begun; sleep 1000", timeout_sec=0.5)
    assert time.monotonic() - began < 15
    assert result["exit_code"] == -1
    assert result["timed_out"] is True
    assert result["signal"] == "SIGTERM"
    assert result["stdout"] == "begun\n"


def test_timeout_kills_what_ignores_the_request(common: Box) -> None:
    result = common.sh("trap '' TERM; echo begun; while :; do sleep 0.1; done", timeout_sec=0.5)
    assert (result["exit_code"], result["signal"]) == (-1, "SIGKILL")
    assert result["timed_out"] is True
    assert 1400 <= result["duration_ms"] < 10_000


def test_timeout_kills_what_detached_itself(box: Box) -> None:
    line = "setsid sh -c 'sleep 4711 & wait' >/dev/null 2>&1 </dev/null & sleep 1000"
    assert box.sh(line, timeout_sec=0.5)["timed_out"] is True
    assert box.running("sleep 4711") == 0


def test_what_is_left_behind_goes_on(box: Box) -> None:
    began = time.monotonic()
    result = box.sh("(while :; do echo x; echo y >&2; date > alive; sleep 0.05; done) & echo done")
    assert result["exit_code"] == 0
    assert "done" in result["stdout"]
    assert time.monotonic() - began < 15
    # It writes into pipes that nobody reads, and neither fails nor blocks.
    assert box.exec("rm", "-f", "alive")["exit_code"] == 0
    eventually(lambda: box.exec("test", "-e", "alive")["exit_code"] == 0)


def test_what_is_left_behind_cannot_hold_the_answer(box: Box) -> None:
    began = time.monotonic()
    result = box.sh("yes & echo done")
    assert result["exit_code"] == 0
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"cmd": ""},
        {"cmd": None},
        {"cmd": 1},
        {"cmd": "true", "args": "x"},
        {"cmd": "true", "args": [1]},
        {"cmd": "true", "args": [None]},
        {"cmd": "a\0b"},
        {"cmd": "true", "args": ["a\0b"]},
        {"cmd": "true", "cwd": "a\0b"},
        {"cmd": "true", "env": {"A\0": "b"}},
        {"cmd": "true", "env": {"A": "b\0"}},
        {"cmd": "true", "env": {"": "b"}},
        {"cmd": "true", "env": {"A=B": "b"}},
        {"cmd": "true", "user": "nobody-at-all"},
        {"cmd": "true", "stdin": "!", "stdin_encoding": "base64"},
        {"cmd": "true", "stdin": "x", "stdin_encoding": "rot13"},
        {"cmd": "true", "stdin": 1},
        {"cmd": "true", "timeout_sec": "1"},
        {"cmd": "true", "max_output_bytes": -1},
        {"cmd": "true", "max_output_bytes": 67108865},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(common: Box, fields: dict[str, Any]) -> None:
    response = common.post("/exec", **fields)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == "invalid_request"


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"cmd": "\\ud800"}', b"1e999"])
def test_bodies_that_are_no_requests(common: Box, content: bytes) -> None:
    response = common.client.post(common.url("/exec"), content=content)
    assert response.status_code == 400


def test_an_endless_time_is_refused(common: Box) -> None:
    content = b'{"cmd": "true", "timeout_sec": 1e999}'
    assert common.client.post(common.url("/exec"), content=content).status_code == 400


@pytest.mark.parametrize("timeout", [None, 0, -1, 1e300])
def test_times_that_are_allowed(common: Box, timeout: float | None) -> None:
    assert common.exec("true", timeout_sec=timeout)["exit_code"] == 0


def test_hanging_up_kills_everything(server: ServerProcess, box: Box) -> None:
    line = "setsid sleep 4712 >/dev/null 2>&1 & sleep 4712"
    body = json.dumps({"cmd": "/bin/sh", "args": ["-c", line]}).encode()
    head = (
        f"POST {box.url('/exec')} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n"
        f"X-Request-Id: hang-up\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + body)
        eventually(lambda: box.running("sleep 4712") == 2)
    line_of_log = server.wait_for(lambda line: line.get("request_id") == "hang-up")
    assert line_of_log["outcome"] == "disconnected"
    assert box.running("sleep 4712") == 0


def test_many_at_once(common: Box) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda n: common.sh(f"sleep 0.1; echo {n}"), range(40)))
    assert [result["stdout"] for result in results] == [f"{n}\n" for n in range(40)]


def test_the_other_root(client: httpx.Client, common: Box) -> None:
    response = client.post(f"/v1/capsules/{common.id}/exec", json={"cmd": "echo", "args": ["hi"]})
    assert response.json()["stdout"] == "hi\n"
