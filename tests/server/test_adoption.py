"""Servers that are killed and started again: what was, is."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from contract import Contract
from harness import KEY, Box, ServerProcess, client_of, eventually
from websockets.exceptions import ConnectionClosedError

from tests.orphans import assert_no_orphans, orphans

ROUNDS = int(os.environ.get("ROUNDS", "3"))

Start = Callable[..., ServerProcess]

SERVER = "import http.server; http.server.test(http.server.SimpleHTTPRequestHandler, port={port})"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers whose sandboxes wait for the next one; in the end all are gone."""
    started: list[ServerProcess] = []

    def start(**options: str) -> ServerProcess:
        options = {"orphan-timeout-sec": "60", **options}
        started.append(ServerProcess(tmp_path / "data", **options))
        return started[-1]

    yield start
    for server in started:
        server.kill()
    # The last one that starts makes an end of what was left for it.
    server = ServerProcess(tmp_path / "data", **{"orphan-timeout-sec": "0"})
    assert server.stop() == 0
    assert_no_orphans(tmp_path)


def make(client: httpx.Client, **fields: Any) -> Box:
    response = client.post("/v1/sandboxes", json=fields)
    assert response.status_code == 201, response.text
    return Box(client, response.json()["id"])


def kill(server: ServerProcess) -> None:
    server.process.kill()
    assert server.wait() == -signal.SIGKILL


def again(start: Start, server: ServerProcess) -> ServerProcess:
    """Kill a server, and start another in its place."""
    kill(server)
    return start(port=str(server.port))


def test_all_goes_on(start: Start, contract: Contract) -> None:
    server = start()
    with client_of(server, contract) as client:
        box = make(client, template="base-python", name="n", metadata={"a": "b"}, env={"X": "y"})
        paused = make(client)
        assert box.write("file", b"content").status_code == 204
        _ = box.sh(f"python3 -c '{SERVER.format(port=8000)}' >/dev/null 2>&1 &")
        eventually(lambda: ask_port(server, box.id).status_code == 200)
        assert paused.post("/pause").status_code == 200
        before = {each.id: each.get() for each in (box, paused)}
        for _ in range(3):
            server = again(start, server)
            after = {each.id: each.get() for each in (box, paused)}
            for sandbox_id, info in after.items():
                for changing in ("last_active_at", "last_updated"):
                    _ = info.pop(changing), before[sandbox_id].pop(changing, None)
            assert after == before
            assert {each["id"] for each in client.get("/v1/sandboxes").json()} == set(before)
            assert ask_port(server, box.id).status_code == 200
            assert box.sh("cat file; echo $X")["stdout"] == "contenty\n"
            eventually(lambda: client.get(box.url("/metrics")).json()["points"] != [])
            assert box.post("/pause").json()["status"] == "paused"
            assert box.post("/resume").json()["status"] == "running"
            before[box.id] = box.get()
            assert paused.post("/exec", cmd="true").status_code == 409
        assert paused.post("/resume").status_code == 200
        assert paused.sh("echo x")["stdout"] == "x\n"
        assert client.post("/v1/sandboxes", json={"name": "n"}).status_code == 409
        for each in (box, paused):
            assert client.delete(each.url()).status_code == 204
        assert os.listdir(server.data_dir / "sandboxes") == []


def ask_port(server: ServerProcess, sandbox_id: str, port: int = 8000) -> httpx.Response:
    headers = {"Host": f"{port}-{sandbox_id}.localhost:{server.port}", "X-API-Key": KEY}
    return httpx.get(server.url, headers=headers, timeout=20)


def test_commands_of_the_dead_end(start: Start, contract: Contract) -> None:
    server = start()
    with client_of(server, contract) as client:
        box = make(client)
        failures: list[Exception] = []

        def run() -> None:
            try:
                _ = box.post("/exec", cmd="/bin/sh", args=["-c", "sleep 1000 & sleep 1000"])
            except httpx.TransportError as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        with box.stream() as stream:
            stream.send(json.dumps({"type": "start", "cmd": "sleep", "args": ["1000"]}))
            assert json.loads(stream.recv(20))["type"] == "start"
            eventually(lambda: box.running("sleep 1000") == 3)
            server = again(start, server)
        thread.join(20)
        assert len(failures) == 1
        assert box.running("sleep 1000") == 0


def test_what_was_not_finished(start: Start, contract: Contract) -> None:
    """A row without a sandbox, a sandbox without a row, and rows that say something else."""
    server = start()
    with client_of(server, contract) as client:
        names = ["pending", "stopped", "paused", "running", "lost"]
        boxes = {name: make(client, name=name) for name in names}
        assert boxes["running"].post("/pause").status_code == 200
        for name in names[:2] + names[4:]:
            assert boxes[name].sh("sleep 1000 >/dev/null 2>&1 &")["exit_code"] == 0
        kill(server)
        database = server.data_dir / "sandlot.db"
        for name, status in (
            ("pending", "pending"),
            ("stopped", "stopped"),
            ("paused", "paused"),
            ("running", "running"),
        ):
            execute(database, status, boxes[name].id)
        (server.data_dir / "sandboxes" / boxes["lost"].id / "record.json").unlink()
        server = start(port=str(server.port))
        infos = {name: box.get() for name, box in boxes.items()}
        assert {name: info["status"] for name, info in infos.items()} == {
            "pending": "error",
            "stopped": "stopped",
            "paused": "paused",
            "running": "running",
            "lost": "stopped",
        }
        assert "while the sandbox was being made" in infos["pending"]["status_reason"]
        assert "without warning" in infos["lost"]["status_reason"]
        assert sorted(os.listdir(server.data_dir / "sandboxes")) == sorted(
            boxes[name].id for name in ("paused", "running")
        )
        assert boxes["running"].sh("echo x")["stdout"] == "x\n"
        assert boxes["paused"].post("/resume").status_code == 200
        assert boxes["paused"].sh("echo x")["stdout"] == "x\n"


def execute(database: Path, status: str, sandbox_id: str) -> None:
    """Change a row behind the back of everybody."""
    import sqlite3

    with sqlite3.connect(database) as connection:
        _ = connection.execute("update sandboxes set status = ? where id = ?", (status, sandbox_id))
    connection.close()


def test_requests_that_are_sent_again(start: Start, contract: Contract) -> None:
    server = start()
    with client_of(server, contract) as client:
        headers = {"Idempotency-Key": "once"}
        first = client.post("/v1/sandboxes", json={}, headers=headers)
        server = again(start, server)
        second = client.post("/v1/sandboxes", json={}, headers=headers)
        assert second.json()["id"] == first.json()["id"]
        assert len(client.get("/v1/sandboxes").json()) == 1


def test_orderly_end(start: Start, contract: Contract) -> None:
    """Sandboxes go, unless they are to be kept; commands end as ever."""
    server = start(keep_sandboxes="")
    with client_of(server, contract) as client:
        box = make(client)
        _ = box.sh("sleep 1000 >/dev/null 2>&1 &")
        with box.stream() as stream:
            stream.send(json.dumps({"type": "start", "cmd": "sleep", "args": ["1001"]}))
            assert json.loads(stream.recv(20))["type"] == "start"
            server.process.terminate()
            with pytest.raises(ConnectionClosedError, match="1012"):  # service restart
                _ = list(stream)
        assert server.wait() == 0
        server = start(port=str(server.port))
        assert box.get()["status"] == "running"
        assert (box.running("sleep 1000"), box.running("sleep 1001")) == (1, 0)
        assert server.stop() == 0
        assert_no_orphans(server.data_dir)
        server = start(port=str(server.port))
        assert box.get()["status"] == "stopped"
        assert "shut down" in box.get()["status_reason"]


def test_a_server_that_finds_its_port_taken_loses_nothing(start: Start, contract: Contract) -> None:
    server = start()
    with client_of(server, contract) as client:
        box = make(client)
        kill(server)
        with pytest.raises(AssertionError):
            _ = start(port=str(server.port), database_url="sqlite+aiosqlite:////nowhere/x.db")
        server = start(port=str(server.port))
        assert box.sh("echo x")["stdout"] == "x\n"


@pytest.mark.parametrize("moment", ["create", "exec", "pause", "destroy", "write", "adoption"])
def test_killed_at_any_moment(
    start: Start, contract: Contract, moment: str, tmp_path: Path
) -> None:
    """Whenever it is killed, the next one has sandboxes that work and rows that are true."""
    random.seed(moment)
    server = start()
    with client_of(server, contract) as client:
        kept = make(client)
        assert kept.write("file", b"content").status_code == 204
        for _ in range(ROUNDS):
            worker = threading.Thread(target=work, args=(server, moment, kept.id))
            worker.start()
            timer = threading.Event()
            _ = timer.wait(random.uniform(0, 0.03))
            kill(server)
            worker.join(20)
            if moment == "adoption":
                with subprocess.Popen(server.command, stderr=subprocess.DEVNULL) as half_way:
                    _ = timer.wait(random.uniform(0.3, 1.5))
                    half_way.kill()
            server = start(port=str(server.port))
            check(client, server)
            if kept.get()["status"] == "paused":
                assert kept.post("/resume").status_code == 200
            assert kept.sh("cat file; ls -A")["stdout"].startswith("content")
            assert ".part" not in kept.sh("ls -A")["stdout"]


def work(server: ServerProcess, moment: str, kept: str) -> None:
    """Have a server do things until it is killed."""
    with httpx.Client(base_url=server.url, headers={"X-API-Key": KEY}, timeout=20) as client:
        box = Box(client, kept)
        try:
            while moment != "adoption":
                if moment in ("create", "destroy"):
                    made = client.post("/v1/sandboxes", json={}).json()["id"]
                    if moment == "destroy":
                        _ = client.delete(f"/v1/sandboxes/{made}")
                elif moment == "exec":
                    _ = box.sh("sleep 0.002; (setsid sleep 1000 &)")
                elif moment == "pause":
                    _ = box.post("/pause"), box.post("/resume")
                else:
                    _ = box.write("other", b"x" * (1 << 20))
        except (httpx.HTTPError, AssertionError):
            return


def check(client: httpx.Client, server: ServerProcess) -> None:
    """Rows and sandboxes agree, and each works."""
    listed = {each["id"]: each for each in client.get("/v1/sandboxes").json()}
    assert set(os.listdir(server.data_dir / "sandboxes")) == set(listed)
    for sandbox_id, info in listed.items():
        assert info["status"] in ("running", "paused")
        if info["status"] == "running":
            assert Box(client, sandbox_id).sh("echo x")["stdout"] == "x\n"
    assert len([each for each in orphans(server.data_dir) if each.startswith("directory")]) == len(
        listed
    )
