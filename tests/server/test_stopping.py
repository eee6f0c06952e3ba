from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from contract import Contract
from harness import Box, ServerProcess, client_of, eventually, traces_of
from websockets.exceptions import ConnectionClosed


def make(client: httpx.Client, **fields: Any) -> Box:
    return Box(client, client.post("/v1/sandboxes", json=fields).json()["id"])


def test_after_sigkill_the_store_tells_the_truth(
    start: Callable[..., ServerProcess], contract: Contract
) -> None:
    server = start()
    with client_of(server, contract) as client:
        running, paused, gone = make(client, name="n"), make(client), make(client)
        assert paused.post("/pause").status_code == 200
        assert client.delete(gone.url()).status_code == 204
        traces = traces_of(server)
        failures: list[Exception] = []

        def run() -> None:
            try:
                _ = running.post("/exec", cmd="/bin/sh", args=["-c", "touch begun; sleep 1000"])
            except httpx.TransportError as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        eventually(lambda: running.sh("ls")["stdout"] == "begun\n")
        server.process.kill()
        thread.join(20)
    assert len(failures) == 1
    assert server.wait() == -signal.SIGKILL
    traces.assert_gone()

    server = start()
    with client_of(server, contract) as client:
        assert client.get("/v1/sandboxes").json() == []
        for box in (running, paused):
            info = client.get(box.url()).json()
            assert info["status"] == "stopped"
            assert "without warning" in info["status_reason"]
        assert "status_reason" not in client.get(gone.url()).json()
        assert client.post(running.url("/exec"), json={"cmd": "true"}).status_code == 409
        assert client.delete(running.url()).status_code == 204
        assert make(client, name="n").get()["status"] == "running"
    assert server.stop() == 0


def test_an_idempotency_key_outlives_the_server(
    start: Callable[..., ServerProcess], contract: Contract
) -> None:
    headers = {"Idempotency-Key": "lasting"}
    ids = list[str]()
    for _ in range(2):
        server = start()
        with client_of(server, contract) as client:
            ids.append(client.post("/v1/sandboxes", json={}, headers=headers).json()["id"])
        server.kill()
    assert ids[0] == ids[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("again", [False, True])
def test_stopping_a_busy_server(
    start: Callable[..., ServerProcess],
    contract: Contract,
    number: signal.Signals,
    *,
    again: bool,
) -> None:
    server = start()
    with client_of(server, contract) as client:
        box, frozen = make(client), make(client)
        answers: list[httpx.Response] = []
        thread = threading.Thread(
            target=lambda: answers.append(
                box.post("/exec", cmd="/bin/sh", args=["-c", "trap '' TERM; touch a; sleep 1000"])
            )
        )
        thread.start()
        with box.stream() as stream, frozen.stream() as in_frozen:
            for each in (stream, in_frozen):
                each.send(json.dumps({"type": "start", "cmd": "sleep", "args": ["1000"]}))
                assert json.loads(each.recv(20))["type"] == "start"
            eventually(lambda: box.sh("ls")["stdout"] == "a\n")
            assert frozen.post("/pause").status_code == 200
            traces = traces_of(server)
            began = time.monotonic()
            server.process.send_signal(number)
            if again:
                server.process.send_signal(number)
            last = json.loads(stream.recv(20))
            with pytest.raises(ConnectionClosed):
                _ = in_frozen.recv(20)
        thread.join(20)
        assert server.wait() == 0
        assert time.monotonic() - began < 8
    assert (last["type"], last["code"]) == ("error", "agent_error")
    assert "shutting down" in last["data"]
    assert answers[0].status_code == 502
    assert "shutting down" in answers[0].json()["error"]["message"]
    traces.assert_gone()

    server = start()
    with client_of(server, contract) as client:
        info = client.get(box.url()).json()
        assert info["status"] == "stopped"
        assert "shut down" in info["status_reason"]


def test_stopping_during_transfers(start: Callable[..., ServerProcess], contract: Contract) -> None:
    server = start()
    with client_of(server, contract) as client:
        box = make(client)
        assert box.sh("truncate -s 500M large")["exit_code"] == 0
        with client.stream("POST", box.url("/files/read"), json={"path": "large"}) as response:
            _ = next(response.iter_raw())
            server.process.terminate()
            assert server.wait() == 0


def test_two_servers_never_share_a_directory(start: Callable[..., ServerProcess]) -> None:
    first = start()
    with pytest.raises(AssertionError, match="cannot start"):
        _ = start()
    assert first.stop() == 0


def test_an_ephemeral_server_leaves_nothing(
    start: Callable[..., ServerProcess], contract: Contract
) -> None:
    server = start(ephemeral="")
    with client_of(server, contract) as client:
        assert make(client).get()["status"] == "running"
        assert len(client.get("/v1/sandboxes").json()) == 1
    assert server.stop() == 0
    assert not server.data_dir.exists()
