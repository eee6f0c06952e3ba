from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime

import httpx
import pytest
from harness import Box, ServerProcess, eventually, init_of

NEED_RUNNING = [
    ("POST", "/ping"),
    ("POST", "/pause"),
    ("POST", "/exec"),
    ("GET", "/exec/stream"),
    ("POST", "/files/read"),
    ("POST", "/files/write"),
    ("POST", "/files/stream/read"),
    ("POST", "/files/stream/write"),
]


def test_pause_freezes_and_resume_thaws(box: Box) -> None:
    count = "i=0; while :; do i=$((i+1)); echo $i > next; mv next count; sleep 0.01; done"
    with box.stream() as stream:
        stream.send(json.dumps({"type": "start", "cmd": "/bin/sh", "args": ["-c", count]}))
        assert json.loads(stream.recv(20))["type"] == "start"
        eventually(lambda: int(box.sh("cat count || echo 0")["stdout"] or 0) > 3)
        before = box.get()
        paused = box.post("/pause").json()
        assert paused["status"] == "paused"
        assert "status_reason" not in paused
        time.sleep(0.3)  # time for a process that is not frozen to go on counting
        resumed = box.post("/resume").json()
        assert resumed["status"] == "running"
        assert datetime.fromisoformat(resumed["started_at"]) > datetime.fromisoformat(
            before["started_at"]
        )
        stalled = int(box.sh("cat count")["stdout"])
        eventually(lambda: int(box.sh("cat count")["stdout"] or 0) > stalled + 3)


@pytest.mark.parametrize(("method", "tail"), NEED_RUNNING)
def test_paused_sandboxes_refuse_work(
    client: httpx.Client, paused: Box, method: str, tail: str
) -> None:
    # The body is looked at last: that it makes no sense does not matter here.
    response = client.request(method, paused.url(tail), content=b"nonsense")
    assert response.status_code == 409
    error = response.json()["error"]
    assert error["code"] == "invalid_state"
    assert "paused" in error["message"]
    assert "resume" in error["message"]


@pytest.mark.parametrize(("method", "tail"), [*NEED_RUNNING, ("POST", "/resume")])
def test_stopped_sandboxes_refuse_work(
    client: httpx.Client, stopped: Box, method: str, tail: str
) -> None:
    response = client.request(method, stopped.url(tail), content=b"nonsense")
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "invalid_state"
    assert "stopped" in response.json()["error"]["message"]


def test_running_sandboxes_cannot_be_resumed(common: Box) -> None:
    response = common.post("/resume")
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "invalid_state"


def test_a_paused_sandbox_can_be_destroyed(client: httpx.Client, box: Box) -> None:
    assert box.post("/pause").status_code == 200
    assert client.delete(box.url()).status_code == 204
    assert box.get()["status"] == "stopped"


def test_many_pauses_at_once_pause_once(box: Box) -> None:
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(box.post("/pause").status_code))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [409] * 7


def test_idle_sandboxes_are_paused(make: Callable[..., Box]) -> None:
    box = make(timeout_sec=1)
    eventually(lambda: box.get()["status"] == "paused")
    info = box.get()
    assert "1 second" in info["status_reason"]
    idle = datetime.fromisoformat(info["last_updated"]) - datetime.fromisoformat(
        info["last_active_at"]
    )
    assert 0.9 < idle.total_seconds() < 5
    assert box.post("/resume").json()["status"] == "running"
    assert box.sh("echo on")["stdout"] == "on\n"
    eventually(lambda: box.get()["status"] == "paused")  # the timer started anew


@pytest.mark.parametrize("kind", ["exec", "stream", "ping"])
def test_activity_holds_the_idle_timer(make: Callable[..., Box], kind: str) -> None:
    box = make(timeout_sec=2)
    if kind == "exec":
        assert box.sh("sleep 3.5")["exit_code"] == 0
    elif kind == "stream":
        with box.stream() as stream:
            stream.send(json.dumps({"type": "start", "cmd": "sleep", "args": ["3.5"]}))
            events = [json.loads(message)["type"] for message in stream]
        assert events == ["start", "exit"]
    else:
        for _ in range(15):
            time.sleep(0.2)  # much less than the timer's two seconds
            assert box.post("/ping").status_code == 204
    assert box.get()["status"] == "running"
    eventually(lambda: box.get()["status"] == "paused")


def test_time_spent_paused_does_not_count(box: Box) -> None:
    results: list[dict[str, object]] = []
    thread = threading.Thread(
        target=lambda: results.append(box.sh("touch begun; sleep 1; echo done", timeout_sec=2))
    )
    thread.start()
    eventually(lambda: box.sh("ls")["stdout"] == "begun\n")
    assert box.post("/pause").status_code == 200
    time.sleep(2)  # longer than what is left of the command's time
    assert box.post("/resume").status_code == 200
    thread.join(20)
    assert results[0]["stdout"] == "done\n"
    assert results[0]["timed_out"] is False


def test_a_sandbox_that_dies_is_stopped_with_a_reason(server: ServerProcess, box: Box) -> None:
    os.kill(init_of(server, box), signal.SIGKILL)
    eventually(lambda: box.get()["status"] == "stopped")
    assert "died" in box.get()["status_reason"]
    assert box.post("/exec", cmd="true").status_code == 409
    assert box.client.delete(box.url()).status_code == 204


def test_a_command_whose_sandbox_dies_fails(server: ServerProcess, box: Box) -> None:
    init = init_of(server, box)
    responses: list[httpx.Response] = []
    thread = threading.Thread(
        target=lambda: responses.append(
            box.post("/exec", cmd="/bin/sh", args=["-c", "touch begun; sleep 1000"])
        )
    )
    thread.start()
    eventually(lambda: box.sh("ls")["stdout"] == "begun\n")
    os.kill(init, signal.SIGKILL)
    thread.join(20)
    assert responses[0].status_code == 502
    assert responses[0].json()["error"]["code"] == "agent_error"


@pytest.fixture
def paused(box: Box) -> Box:
    assert box.post("/pause").status_code == 200
    return box


@pytest.fixture
def stopped(client: httpx.Client, box: Box) -> Box:
    assert client.delete(box.url()).status_code == 204
    return box
