from __future__ import annotations

import http.client
import json
import random
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from harness import KEY, UNKNOWN_ID, Box, ServerProcess, eventually

MALFORMED = [
    "x",
    "cl-",
    "cl-abc123",
    "sb-" + "0" * 25,
    "cl-" + "0" * 24,
    "cl-" + "0" * 26,
    "cl-" + "A" * 25,
    "cl-" + "z" * 25,  # above 2**128 - 1
    "cl-f5lxx1zz5pnorynqglhzmsp34",  # 2**128
    "cl-" + "%00" * 25,
    "cl-" + "\u0661" * 25,  # digits, but not those
]

OPERATIONS = [
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/ping"),
    ("POST", "/pause"),
    ("POST", "/resume"),
    ("GET", "/metrics"),
    ("POST", "/exec"),
    ("GET", "/exec/stream"),
    ("POST", "/files/read"),
    ("POST", "/files/write"),
    ("POST", "/files/stream/read"),
    ("POST", "/files/stream/write"),
]


def test_defaults(client: httpx.Client, box: Box) -> None:
    info = box.get()
    assert info["id"] == box.id
    assert info["status"] == "running"
    assert info["template"] == "minimal"
    assert (info["vcpus"], info["memory_mb"], info["disk_mb"]) == (1, 512, 5120)
    assert info["timeout_sec"] == 0
    assert info["network"] == "none"
    for name in ("created_at", "started_at", "last_active_at", "last_updated"):
        assert abs(datetime.now(UTC) - datetime.fromisoformat(info[name])) < timedelta(seconds=20)


def test_everything_asked_for_is_kept(make: Callable[..., Box]) -> None:
    wanted = {
        "template": "base-python",
        "vcpus": 2,
        "memory_mb": 256,
        "disk_mb": 64,
        "timeout_sec": 600,
        "name": "every.thing_1",
        "metadata": {"a": "1", 'we"ird.$key': "\u00fc"},
        "cwd": "/tmp",
        "network": "none",
    }
    box = make(**wanted, env={"COLOUR": "blue"})
    info = box.get()
    assert {name: info[name] for name in wanted} == wanted
    assert "env" not in info
    assert box.sh("echo $COLOUR $PWD")["stdout"] == "blue /tmp\n"


def test_zeros_and_nulls_are_the_defaults(make: Callable[..., Box]) -> None:
    info = make(
        vcpus=0, memory_mb=0, disk_mb=0, timeout_sec=0, template=None, name=None, env=None
    ).get()
    assert (info["template"], info["vcpus"], info["memory_mb"]) == ("minimal", 1, 512)
    assert "name" not in info


@pytest.mark.parametrize(
    "content",
    [b"{}", b' {"unknown": {"deep": [1]}, "vcpus": 1} '],
)
@pytest.mark.parametrize("content_type", [None, "text/plain", "application/json; charset=latin-1"])
def test_only_the_json_counts(
    client: httpx.Client, content: bytes, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = client.post("/v1/sandboxes", content=content, headers=headers)
    assert response.status_code == 201
    assert client.delete(f"/v1/sandboxes/{response.json()['id']}").status_code == 204


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"[]",
        b"null",
        b'"text"',
        b'{"vcpus": "2"}',
        b'{"vcpus": 1.5}',
        b'{"vcpus": -1}',
        b'{"vcpus": 65}',
        b'{"vcpus": 99999999999999999999999999}',
        b'{"vcpus": NaN}',
        b'{"memory_mb": 2147483648}',
        b'{"timeout_sec": 2147483648}',
        b'{"template": 1}',
        b'{"metadata": {"a": 1}}',
        b'{"metadata": []}',
        b'{"metadata": {"a": "\\u0000"}}',
        b'{"metadata": {"a\\u0000": ""}}',
        b'{"metadata": {"a": "' + b"x" * 513 + b'"}}',
        b'{"metadata": {"' + b"x" * 129 + b'": ""}}',
        b'{"metadata": {' + b", ".join(b'"%d": ""' % number for number in range(65)) + b"}}",
        b'{"env": {"a": null}}',
        b'{"env": {"a": "\\u0000"}}',
        b'{"env": {"a\\u0000": ""}}',
        b'{"env": {"a=b": ""}}',
        b'{"env": {"": "a"}}',
        b'{"cwd": "/\\u0000"}',
        b'{"template": "\\u0000"}',
        b'{"snapshot": "\\u0000"}',
        b'{"name": ""}',
        b'{"name": "-a"}',
        b'{"name": "a b"}',
        b'{"name": "' + b"a" * 64 + b'"}',
        b'{"name": "\xff"}',
        b'{"template": "\\ud800"}',
        b"[" * 100_000,
        b'{"network": "nonsense"}',
    ],
    ids=lambda content: repr(content[:40]),
)
def test_what_makes_no_sense_is_refused(client: httpx.Client, content: bytes) -> None:
    response = client.post("/v1/sandboxes", content=content)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == "invalid_request"


@pytest.mark.parametrize(
    "query", ["name=%00", "template=%00", "status=a%00", "metadata.a=%00", "metadata.%00=a"]
)
def test_nothing_is_found_by_nul(client: httpx.Client, query: str) -> None:
    response = client.get(f"/v1/sandboxes?{query}")
    assert response.status_code == 400, response.text
    assert "NUL" in response.json()["error"]["message"]


def test_the_largest_labels_are_found(client: httpx.Client, make: Callable[..., Box]) -> None:
    # What cannot be compressed, of characters that take most: it has to go into an index.
    several = random.Random(1)
    name, value = (
        "".join(chr(several.randrange(0x20000, 0x2A000)) for _ in range(length))
        for length in (128, 512)
    )
    box = make(metadata={name: value, **{f"label-{number}": "" for number in range(63)}})
    found = client.get("/v1/sandboxes", params={f"metadata.{name}": value}).json()
    assert [each["id"] for each in found] == [box.id]
    assert found[0]["metadata"][name] == value
    assert client.get("/v1/sandboxes", params={f"metadata.{name}": value + "x"}).json() == []


def test_names_of_checkpoints_have_no_nul(box: Box) -> None:
    response = box.post("/checkpoints", name="a\0b")
    assert response.status_code == 400, response.text
    response = box.post("/checkpoints", name="\u202e any \n text \U0001f389")
    assert response.status_code == 201, response.text
    assert response.json()["name"] == "\u202e any \n text \U0001f389"


def test_a_huge_body_is_refused(client: httpx.Client) -> None:
    response = client.post("/v1/sandboxes", content=b'{"a": "' + b"x" * (17 << 20) + b'"}')
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "too_large"

    def pieces() -> Any:
        for _ in range(17):
            yield b" " * (1 << 20)

    assert client.post("/v1/sandboxes", content=pieces()).status_code == 413


def test_unknown_templates_name_the_known_ones(client: httpx.Client) -> None:
    response = client.post("/v1/sandboxes", json={"template": "nonsense"})
    assert response.status_code == 404
    error = response.json()["error"]
    assert error["code"] == "not_found"
    assert "minimal" in error["message"]


def test_too_little_memory_is_the_fault_of_who_asks(client: httpx.Client) -> None:
    response = client.post("/v1/sandboxes", json={"memory_mb": 1})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "invalid_request"
    assert "at least" in error["message"]


def test_network_modes_that_the_engine_lacks(client: httpx.Client) -> None:
    response = client.post("/v1/sandboxes", json={"network": "full"})
    assert response.status_code == 501
    assert response.json()["error"]["code"] == "unsupported"


@pytest.mark.parametrize(("method", "tail"), OPERATIONS)
@pytest.mark.parametrize("root", ["/v1/sandboxes", "/v1/capsules"])
def test_unknown_sandboxes(client: httpx.Client, method: str, tail: str, root: str) -> None:
    response = client.request(method, f"{root}/{UNKNOWN_ID}{tail}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(("method", "tail"), OPERATIONS)
@pytest.mark.parametrize("sandbox_id", MALFORMED)
def test_malformed_ids(client: httpx.Client, method: str, tail: str, sandbox_id: str) -> None:
    response = client.request(method, f"/v1/sandboxes/{sandbox_id}{tail}")
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"


def test_both_roots_are_the_same(client: httpx.Client, common: Box) -> None:
    one = client.get(f"/v1/sandboxes/{common.id}").json()
    other = client.get(f"/v1/capsules/{common.id}").json()
    assert one == other
    assert common.id in [info["id"] for info in client.get("/v1/capsules").json()]


def test_destroying_may_be_repeated(client: httpx.Client, box: Box) -> None:
    for _ in range(3):
        assert client.delete(box.url()).status_code == 204
    info = box.get()
    assert info["status"] == "stopped"
    assert "status_reason" not in info


def test_destroying_kills_what_runs(client: httpx.Client, box: Box) -> None:
    with box.stream() as stream:
        stream.send(json.dumps({"type": "start", "cmd": "sleep", "args": ["1000"]}))
        assert json.loads(stream.recv(20))["type"] == "start"
        assert client.delete(box.url()).status_code == 204
        last = json.loads(stream.recv(20))
    assert (last["type"], last["code"]) == ("error", "agent_error")


def test_names_are_unique_among_the_living(client: httpx.Client, make: Callable[..., Box]) -> None:
    box = make(name="only-one")
    response = client.post("/v1/sandboxes", json={"name": "only-one"})
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "already_exists"
    assert client.delete(box.url()).status_code == 204
    assert make(name="only-one").get()["name"] == "only-one"


def test_lists_are_filtered(client: httpx.Client, make: Callable[..., Box]) -> None:
    def ids(**query: str) -> list[str]:
        return [info["id"] for info in client.get("/v1/sandboxes", params=query).json()]

    old = make(metadata={"run": "7", 'od"d.k': "x"}, name="old-one")
    new = make(metadata={"run": "7"}, template="base-python")
    gone = make(metadata={"run": "7"})
    assert client.delete(gone.url()).status_code == 204

    assert ids(**{"metadata.run": "7"}) == [new.id, old.id]
    assert ids(**{"metadata.run": "7", 'metadata.od"d.k': "x"}) == [old.id]
    assert ids(**{"metadata.run": "8"}) == []
    assert ids(**{"metadata.run": "7", "status": "stopped"}) == [gone.id]
    assert ids(**{"metadata.run": "7", "status": "nonsense"}) == []
    assert ids(**{"metadata.run": "7", "template": "base-python"}) == [new.id]
    assert ids(name="old-one") == [old.id]


def test_lists_come_in_pages(client: httpx.Client, make: Callable[..., Box]) -> None:
    made = [make(metadata={"page": "yes"}).id for _ in range(5)]
    query = {"metadata.page": "yes", "limit": "2"}
    seen: list[str] = []
    sizes: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        response = client.get("/v1/sandboxes", params={**query, "cursor": cursor})
        page = [info["id"] for info in response.json()]
        sizes.append(len(page))
        seen += page
        cursor = response.headers.get("x-next-cursor")
    assert seen == made[::-1]
    assert sizes == [2, 2, 1]
    response = client.get("/v1/sandboxes", params={"metadata.page": "yes", "limit": "5"})
    assert "x-next-cursor" not in response.headers
    assert "x-next-cursor" not in client.get("/v1/sandboxes").headers


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=1001",
        "limit=99999999999",
        "limit=0000199999",
        "limit=1.0",
        "cursor=!",
        "cursor=eA",
        "cursor=MTIzOmNsLXg",
        "cursor=OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTpjbC0wMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw",
        "cursor=%FF",
    ],
)
def test_queries_that_make_no_sense(client: httpx.Client, query: str) -> None:
    response = client.get(f"/v1/sandboxes?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"


def test_a_create_that_nobody_waits_for_is_undone(
    server: ServerProcess, client: httpx.Client
) -> None:
    body = json.dumps({"metadata": {"abandoned": "yes"}}).encode()
    head = (
        f"POST /v1/sandboxes HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n"
        f"X-Request-Id: abandoned\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + body)
    line = server.wait_for(lambda line: line.get("request_id") == "abandoned")
    assert line["outcome"] == "disconnected"

    def living() -> list[object]:
        living: list[object] = client.get("/v1/sandboxes?metadata.abandoned=yes").json()
        return living

    eventually(lambda: not living())


def test_connections_are_kept_alive(server: ServerProcess, shared: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    for _ in range(3):
        body = json.dumps({"cmd": "true"})
        connection.request(
            "POST", f"/v1/sandboxes/{shared}/exec", body=body, headers={"X-API-Key": KEY}
        )
        response = connection.getresponse()
        assert response.status == 200
        _ = response.read()
        assert connection.sock is not None
        assert not response.will_close
    connection.close()
