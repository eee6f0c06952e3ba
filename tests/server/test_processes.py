"""Processes in the background: started, listed, followed and ended over HTTP and WebSockets."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psutil
import pytest
from contract import Contract
from harness import PATIENCE, UNKNOWN_ID, Box, ServerProcess, eventually
from test_streams import SUBPROTOCOL, Talk
from websockets.exceptions import ConnectionClosedOK
from websockets.sync.client import ClientConnection, connect

MIB = 1 << 20


def spawn(box: Box, line: str, **fields: Any) -> dict[str, Any]:
    response = box.post("/exec", cmd="/bin/sh", args=["-c", line], background=True, **fields)
    assert response.status_code == 202, response.text
    process: dict[str, Any] = response.json()
    assert process["sandbox_id"] == box.id
    return process


def listed(box: Box, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = box.client.get(box.url("/processes"), params=params).json()[
        "processes"
    ]
    return found


def kill(box: Box, selector: object, **params: str) -> httpx.Response:
    return box.client.delete(box.url(f"/processes/{selector}"), params=params)


@contextlib.contextmanager
def following(
    box: Box, selector: object, query: str = "", *, binary: bool = False, **options: Any
) -> Iterator[ClientConnection]:
    base = str(box.client.base_url).rstrip("/").replace("http", "ws", 1)
    headers = {"X-API-Key": box.client.headers["X-API-Key"]}
    with connect(
        base + box.url(f"/processes/{selector}/stream{query}"),
        additional_headers=options.pop("headers", headers),
        subprotocols=[SUBPROTOCOL] if binary else None,  # type: ignore[list-item]
        compression=None,
        max_size=None,
        proxy=None,
        **options,
    ) as connection:
        yield connection


def events(connection: ClientConnection) -> list[dict[str, Any]]:
    """Return everything up to the end, which is a proper one."""
    found: list[dict[str, Any]] = []
    with contextlib.suppress(ConnectionClosedOK):
        while True:
            found.append(json.loads(connection.recv(PATIENCE)))
    return found


def text(found: list[dict[str, Any]]) -> str:
    return "".join(event.get("data", "") for event in found if event["type"] == "stdout")


def followed(box: Box, selector: object, query: str = "") -> list[dict[str, Any]]:
    with following(box, selector, query) as connection:
        return events(connection)


def test_from_the_beginning_to_the_end(common: Box, contract: Contract) -> None:
    line = "echo out; echo err >&2; read nothing || echo no input; echo $A $PWD; sleep 0.1; exit 3"
    process = spawn(common, line, env={"A": "b"}, cwd="/tmp", tag="first.1")
    assert process["tag"] == "first.1"
    found = followed(common, "first.1", "?stdout=0&stderr=0")
    for event in found:
        contract.validate_named(event, "ExecStreamEvent")
    assert found[0] == {"type": "start", "pid": process["pid"], "tag": "first.1"}
    assert text(found) == "out\nno input\nb /tmp\n"
    assert [event["data"] for event in found if event["type"] == "stderr"] == ["err\n"]
    assert found[-1] == {"type": "exit", "exit_code": 3}
    # What has ended can still be read, by either name, from anywhere, but is not listed.
    assert text(followed(common, process["pid"], "?stdout=4")) == "no input\nb /tmp\n"
    assert text(followed(common, "first.1")) == ""
    assert "first.1" not in [each.get("tag") for each in listed(common)]
    ended = next(each for each in listed(common, all="true") if each.get("tag") == "first.1")
    assert (ended["exit_code"], ended["cmd"], ended["kind"]) == (3, "/bin/sh", "background")
    with following(common, "first.1", "?stdout=0", binary=True) as connection:
        talk = Talk(connection, contract)
        assert talk.next()[0] == "start"
        assert talk.finish()[0] == b"out\nno input\nb /tmp\n"


def test_the_other_spelling(common: Box) -> None:
    root = common.url().replace("sandboxes", "capsules")
    body = {"cmd": "sleep", "args": ["1000"], "background": True}
    process = common.client.post(f"{root}/exec", json=body).json()
    assert process["tag"].startswith("proc-")
    names = [each["tag"] for each in common.client.get(f"{root}/processes").json()["processes"]]
    assert process["tag"] in names
    assert common.client.delete(f"{root}/processes/{process['tag']}").status_code == 204


def test_it_runs_on_and_ends_by_signals(common: Box) -> None:
    line = "trap 'echo terminated; exit 7' TERM; echo ready; while :; do sleep 0.02; done"
    process = spawn(common, line, tag="trap")
    with following(common, "trap", "?stdout=0") as connection:
        assert json.loads(connection.recv(PATIENCE))["type"] == "start"
        assert json.loads(connection.recv(PATIENCE))["data"] == "ready\n"
    # Whoever followed it is gone; it is not.
    assert "trap" in [each.get("tag") for each in listed(common)]
    assert kill(common, process["pid"], signal="SIGTERM").status_code == 204
    found = followed(common, "trap", "?stdout=0")
    assert text(found) == "ready\nterminated\n"
    assert found[-1] == {"type": "exit", "exit_code": 7}
    process = spawn(common, "setsid sleep 87654 & sleep 87654", tag="tree")
    eventually(lambda: common.running("sleep 87654") == 2)
    assert kill(common, "tree").status_code == 204
    assert common.running("sleep 87654") == 0
    assert followed(common, "tree")[-1] == {"type": "exit", "exit_code": -1, "signal": "SIGKILL"}


def test_commands_that_somebody_waits_for(common: Box) -> None:
    with common.stream() as connection:
        connection.send(json.dumps({"type": "start", "cmd": "sleep", "args": ["1000"]}))
        pid = json.loads(connection.recv(PATIENCE))["pid"]
        (found,) = [each for each in listed(common) if each["pid"] == pid]
        assert (found["kind"], found["args"], "tag" in found) == ("command", ["1000"], False)
        assert followed(common, pid)[-1]["code"] == "invalid_request"
        assert kill(common, pid, signal="SIGINT").status_code == 204
        assert json.loads(connection.recv(PATIENCE))["signal"] == "SIGINT"


@pytest.mark.parametrize(
    "tag", ["1", "42", ".a", "-a", "a b", "a/b", "é", "a" * 65, "a\n", "..", "a\0"]
)
def test_tags_that_are_none(common: Box, tag: str) -> None:
    response = common.post("/exec", cmd="true", background=True, tag=tag)
    assert response.status_code == 400, response.text


def test_bad_questions(common: Box, client: httpx.Client) -> None:
    process = spawn(common, "sleep 1000", tag="taken")
    assert common.post("/exec", cmd="true", background=True, tag="taken").status_code == 409
    for name in ("TERM", "sigterm", "SIGSEGV", "9", "SIGRTMIN"):
        assert kill(common, "taken", signal=name).status_code == 400
    # A process of the sandbox that the API did not start, and things that are none.
    for selector in (1, 999999, -1, 0, "nothing", "..%2f..", "%00", f"0{process['pid']}"):
        assert kill(common, selector).status_code == 404
        if "%" not in str(selector):
            found = followed(common, selector)
            assert [event["code"] for event in found] == ["not_found"]
    for query in ("stdout=-1", "stdout=x", "stdout=1e3", "stdout=" + "9" * 30):
        with pytest.raises(Exception, match="400"), following(common, "taken", f"?{query}"):
            pass
    assert followed(common, "taken", "?stdout=5")[-1]["code"] == "invalid_request"
    assert kill(common, "taken").status_code == 204
    eventually(lambda: kill(common, "taken").status_code == 404)
    spawn(common, "sleep 1000", tag="taken")
    assert [each["tag"] for each in listed(common, all="true")].count("taken") == 1
    assert kill(common, "taken").status_code == 204
    url = f"/v1/sandboxes/{UNKNOWN_ID}/processes"
    assert client.get(url).status_code == 404
    assert client.delete(f"{url}/1").status_code == 404
    assert client.get(common.url("/processes/1/stream")).status_code == 400
    response = common.post("/exec", cmd="true", background=True, cwd="a\0")
    assert response.status_code == 400


def test_old_output_is_dropped_and_said_to_be(common: Box, contract: Contract) -> None:
    spawn(common, "yes 123456789 | head -c 4000000; exec sleep 1000", tag="flood")
    with following(common, "flood", "?stdout=0") as connection:
        found: list[dict[str, Any]] = []
        while not found or found[-1]["type"] != "stdout" or reached(found) < 4_000_000:
            found.append(json.loads(connection.recv(PATIENCE)))
    first = next(event for event in found if event["type"] == "stdout")
    gaps = [event for event in found if event["type"] == "gap"]
    kept = sum(len(event["data"]) for event in found if event["type"] == "stdout")
    assert gaps or len(first["data"]) > 0
    assert kept + sum(missing(found)) == 4_000_000
    found = []
    with following(common, "flood", "?stdout=0") as connection:
        while not found or found[-1]["type"] != "stdout" or reached(found) < 4_000_000:
            found.append(json.loads(connection.recv(PATIENCE)))
    assert [event["type"] for event in found[:2]] == ["start", "gap"]
    kept = sum(len(event["data"]) for event in found if event["type"] == "stdout")
    assert MIB // 2 < kept <= MIB
    assert found[1]["offset"] == 4_000_000 - kept
    # Those who did not ask for what was before are not told of it.
    with following(common, "flood") as connection:
        assert kill(common, "flood").status_code == 204
        assert [event["type"] for event in events(connection)] == ["start", "exit"]
    # Frames have offsets, so that those who speak in them are told where they begin.
    with following(common, "flood", binary=True) as connection:
        talk = Talk(connection, contract)
        said = [talk.next() for _ in range(4)]
    assert [kind for kind, _ in said] == ["start", "gap", "gap", "exit"]
    assert [(said[at][1]["stream"], said[at][1]["offset"]) for at in (1, 2)] == [
        ("stdout", 4_000_000),
        ("stderr", 0),
    ]


def reached(found: list[dict[str, Any]]) -> int:
    """Return the offset after the last event."""
    offset = 0
    for event in found:
        if event["type"] == "gap":
            offset = event["offset"]
        elif event["type"] == "stdout":
            offset += len(event["data"])
    return offset


def missing(found: list[dict[str, Any]]) -> Iterator[int]:
    offset = 0
    for event in found:
        if event["type"] == "gap":
            yield event["offset"] - offset
            offset = event["offset"]
        elif event["type"] == "stdout":
            offset += len(event["data"])


def test_a_flood_of_a_hundred_takes_bounded_memory(
    make: Callable[..., Box], server: ServerProcess
) -> None:
    box = make(memory_mb=512)
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    for number in range(100):
        spawn(box, "yes 0123456789abcde | head -c 3000000; exec sleep 1000", tag=f"f{number}")
    eventually(lambda: box.running("sleep 1000") == 100)
    for number in (0, 50, 99):  # nobody has read any of it, so nothing has to wait
        with following(box, f"f{number}", "?stdout=0") as connection:
            assert json.loads(connection.recv(PATIENCE))["type"] == "start"
    grown = process.memory_info().rss - before
    print(f"grown by {grown >> 20} MiB")
    assert grown < 128 * MIB
    assert box.client.delete(box.url()).status_code == 204


def test_following_through_a_pause_and_the_end_of_the_sandbox(make: Callable[..., Box]) -> None:
    box = make()
    spawn(box, "while :; do echo tick; sleep 0.02; done", tag="clock")
    with following(box, "clock") as connection:
        assert json.loads(connection.recv(PATIENCE))["type"] == "start"
        assert json.loads(connection.recv(PATIENCE))["data"].startswith("tick\n")
        assert box.post("/pause").status_code == 200
        assert box.client.get(box.url("/processes")).status_code == 409
        assert box.post("/resume").status_code == 200
        assert json.loads(connection.recv(PATIENCE))["type"] == "stdout"
        assert box.client.delete(box.url()).status_code == 204
        assert events(connection)[-1]["code"] == "agent_error"


def test_idle_sandboxes_end_whatever_runs_in_the_background(make: Callable[..., Box]) -> None:
    box = make(timeout_sec=1, on_timeout="destroy")
    spawn(box, "sleep 1000")
    eventually(lambda: box.get()["status"] == "stopped")


def test_auth_in_the_first_message(common: Box) -> None:
    spawn(common, "sleep 1000", tag="secret")
    for message in ('{"type": "auth", "token": "x.y.z"}', '{"type": "start"}', "x", b"\xff"):
        with following(common, "secret", headers={}) as connection:
            connection.send(message)
            (event,) = events(connection)
            assert (event["type"], event["code"]) == ("error", "unauthorized")
    assert kill(common, "secret").status_code == 204
