"""Clients of the original servers: what they send is taken, and what they expect is in the answers.

What they send is data: `original.yaml`. WebSockets and ports follow below.
"""

from __future__ import annotations

import functools
import json
import operator
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from contract import Contract
from harness import KEY, PATIENCE, ServerProcess
from people import PASSWORD, People
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

RECORDED: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "original.yaml").read_text())
SHAPES: dict[str, dict[str, Any]] = RECORDED.pop("shapes")
ROOTS = ("/v1/capsules", "/v1/sandboxes")
PLAIN = {"text": str, "int": int, "bool": bool, "number": (int, float)}
BOUNDARY = "8a2ff0c1b6"


class World:
    """A server, who asks it, and what they know of it."""

    def __init__(self, server: ServerProcess, people: People) -> None:
        self.url = server.url
        self.client = people.anybody
        admin, owner, other = (people.sign_up(name) for name in ("Admin", "Owner", "Other"))
        # Things of one team have to meet: the key is the owner's, not that of the server.
        key = owner.make_key()["key"]
        token = {"Authorization": f"Bearer {owner.token}"}
        self.headers = {
            "none": {},
            "key": {"X-API-Key": key},
            "owner": token,
            "other": {"Authorization": f"Bearer {other.token}"},
            "admin": {"Authorization": f"Bearer {admin.token}"},
            "wrong key and owner": {"X-API-Key": "wrn_" + "0" * 32, **token},
            "key and wrong token": {"X-API-Key": key, "Authorization": "Bearer no"},
            "basic": {"Authorization": "Basic YWRhOnNlY3JldA=="},
        }
        box = self.client.post("/v1/capsules", json={}, headers=self.headers["key"])
        self.known = {
            "box": box.json()["id"],
            "email": owner.email,
            "other": other.id,
            "other email": other.email,
            "password": PASSWORD,
            "team": owner.team,
            "user": owner.id,
        }

    def replay(self, line: str, about: dict[str, Any]) -> None:
        """Send a request, and hold the answer against what a client expects of it."""
        method, _, path = self._filled(line).partition(" ")
        who = about.get("as", "key")
        headers = (
            {"X-Host-Token": self.known["host token"]} if who == "host" else {**self.headers[who]}
        )
        content = self._body(about, headers)
        response = self.client.request(method, path, content=content, headers=headers)
        where = f"{method} {path}: {response.status_code} {response.text[:500]}"
        status, _, shape = str(about["answer"]).partition(" ")
        assert response.status_code == int(status), where
        if response.status_code >= 400:
            assert response.json()["error"]["code"] == shape, where
            assert response.json()["error"]["message"], where
        elif shape.startswith("bytes "):
            assert response.headers["content-type"] == "application/octet-stream"
            assert response.text == shape.removeprefix("bytes "), where
        elif not shape:
            assert response.content == b"", where
        else:
            self._take(response, shape, about)

    def _take(self, response: httpx.Response, shape: str, about: dict[str, Any]) -> None:
        assert response.headers["content-type"] == "application/json"
        body = response.json()
        kind: Any = [shape[1:-1]] if shape.startswith("[") else shape
        assert (problems := list(differences(body, kind))) == [], problems
        for name, value in about.get("is", {}).items():
            assert body[name] == self._filled(value), f"{name}: {body}"
        for name, field in about.get("keep", {}).items():
            self.known[name] = functools.reduce(operator.getitem, field.split("."), body)

    def _body(self, about: dict[str, Any], headers: dict[str, str]) -> bytes | None:
        if "form" in about:
            headers["Content-Type"] = f"multipart/form-data; boundary={BOUNDARY}"
            return form(about["form"])
        if "json" in about:
            headers["Content-Type"] = "application/json"
            return json.dumps(self._filled(about["json"])).encode()
        if "type" in about:
            headers["Content-Type"] = about["type"]
        return about["raw"].encode() if "raw" in about else None

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return re.sub(r"\{([a-z_ ]+)\}", lambda match: self.known[match[1]], value)
        if isinstance(value, dict):
            return {key: self._filled(each) for key, each in value.items()}
        return value

    def socket(self, path: str, **headers: str) -> ClientConnection:
        """Open a WebSocket as the original library does: no subprotocol, no compression."""
        return connect(
            self.url.replace("http", "ws", 1) + path,
            additional_headers=headers or self.headers["key"],
            compression=None,
            open_timeout=PATIENCE,
            proxy=None,
        )


def differences(value: Any, kind: Any, where: str = "") -> Iterator[str]:
    """Yield in what a value is not of a kind."""
    if isinstance(kind, list):
        if not isinstance(value, list):
            yield f"{where} is no list"
            return
        for index, each in enumerate(value):
            yield from differences(each, kind[0], f"{where}[{index}]")
    elif kind in SHAPES:
        for field, each in SHAPES[kind].items():
            wanted = each.removeprefix("maybe ") if isinstance(each, str) else each
            if field in value:
                yield from differences(value[field], wanted, f"{where}.{field}")
            elif each == wanted:
                yield f"{where}.{field} is missing"
    elif not _is(value, kind):
        yield f"{where} is no {kind}: {value!r}"


def _is(value: Any, kind: str) -> bool:
    if kind == "time":
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    if kind == "texts":
        return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    if kind in PLAIN:
        return isinstance(value, PLAIN[kind]) and (kind == "bool") == isinstance(value, bool)
    return isinstance(value, str) and bool(re.fullmatch(f"{kind}-[0-9a-z]{{25}}", value))


def form(parts: list[list[str]]) -> bytes:
    """Return a form, byte by byte as the HTTP libraries of the originals write it."""
    written = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
        + ('; filename="upload"\r\nContent-Type: application/octet-stream' * (name == "file"))
        + f"\r\n\r\n{text}\r\n"
        for name, text in parts
    ]
    return f"{''.join(written)}--{BOUNDARY}--\r\n".encode()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, contract: Contract) -> Iterator[World]:
    server = ServerProcess(tmp_path_factory.mktemp("wire"), signup="open")
    people = People(server, contract)
    yield World(server, people)
    people.close()
    assert server.stop() == 0
    assert not [line for line in server.lines if "exception" in line]


def sections() -> Iterator[Any]:
    for name, requests in RECORDED.items():
        rooted = any("{root}" in line for request in requests for line in request)
        for root in ROOTS if rooted else ROOTS[:1]:
            yield pytest.param(name, root, id=f"{name}-{root[4:]}" if rooted else name)


@pytest.mark.parametrize(("section", "root"), list(sections()))
def test_recorded_requests(world: World, section: str, root: str) -> None:
    world.known["root"] = root
    for request in RECORDED[section]:
        ((line, about),) = request.items()
        world.replay(line, about)


def events(socket: ClientConnection) -> list[dict[str, Any]]:
    """Return what comes, to the end: which is a proper one."""
    found = [json.loads(message) for message in socket]
    assert socket.close_code == 1000
    return found


@pytest.mark.parametrize("root", ROOTS)
def test_streams(world: World, root: str) -> None:
    path = f"{root}/{world.known['box']}/exec/stream"
    with world.socket(path) as socket:
        # Messages may be binary too; `args` may be missing.
        line = ["-c", "echo out; echo err >&2; exit 3"]
        socket.send(json.dumps({"type": "start", "cmd": "/bin/sh", "args": line}).encode())
        first, *rest = events(socket)
    assert first["type"] == "start"
    assert isinstance(first["pid"], int)
    assert rest[-1] == {"type": "exit", "exit_code": 3}
    assert sorted(rest[:-1], key=lambda event: event["type"]) == [
        {"type": "stderr", "data": "err\n"},
        {"type": "stdout", "data": "out\n"},
    ]
    with world.socket(path, Authorization=world.headers["owner"]["Authorization"]) as socket:
        socket.send(json.dumps({"type": "start", "cmd": "true"}))
        assert [event["type"] for event in events(socket)] == ["start", "exit"]


def test_streams_that_are_stopped(world: World) -> None:
    with world.socket(f"/v1/capsules/{world.known['box']}/exec/stream") as socket:
        socket.send(json.dumps({"type": "start", "cmd": "sleep", "args": ["600"]}))
        assert json.loads(socket.recv(PATIENCE))["type"] == "start"
        # Others than `stop` are ignored; the original's `stop` lets the program run on.
        for message in ({"type": "input", "data": "eA=="}, {"type": "kill"}, {}):
            socket.send(json.dumps(message))
        socket.send(json.dumps({"type": "stop"}))
        (last,) = events(socket)
    assert (last["type"], last["exit_code"]) == ("exit", -1)


@pytest.mark.parametrize(
    "message", [{"type": "stop"}, {"type": "start"}, {"type": "start", "cmd": ""}, {"cmd": "true"}]
)
def test_streams_that_begin_badly(world: World, message: dict[str, str]) -> None:
    with world.socket(f"/v1/capsules/{world.known['box']}/exec/stream") as socket:
        socket.send(json.dumps(message))
        (event,) = events(socket)
    assert event["type"] == "error"
    assert event["data"]


@pytest.mark.parametrize(
    ("box", "headers", "status"),
    [
        (None, {"X-API-Key": KEY[:-1] + "0"}, 401),
        (None, {"Origin": "https://example.com"}, 401),
        ("cl-0000000000000000000000000", {}, 404),
        ("nonsense", {}, 400),
    ],
)
def test_streams_that_are_refused(
    world: World, box: str | None, headers: dict[str, str], status: int
) -> None:
    path = f"/v1/capsules/{box or world.known['box']}/exec/stream"
    with pytest.raises(InvalidStatus) as caught, world.socket(path, **headers):
        pass
    assert caught.value.response.status_code == status
    assert json.loads(caught.value.response.body)["error"]["code"]


def test_ports(world: World) -> None:
    """The host header says which port of which sandbox is meant; the key stays outside."""
    box = world.known["box"]
    server = "python3 -u -m http.server 8888 --directory /home/user"
    line = f"echo here > here.txt; {server} > log 2>&1 & until grep -q 8888 log; do :; done"
    started = {"cmd": "/bin/sh", "args": ["-c", line]}
    headers = world.headers["key"]
    answer = world.client.post(f"/v1/capsules/{box}/exec", json=started, headers=headers)
    assert answer.json()["exit_code"] == 0
    with httpx.Client(base_url=world.url, headers={"Host": f"8888-{box}.localhost:1"}) as http:
        assert http.get("/here.txt", headers=headers).text == "here\n"
        assert http.get("/here.txt?a=%2F", headers=headers).text == "here\n"
        assert http.get("/nowhere", headers=headers).status_code == 404
        for refused in ({}, {"X-API-Key": "wrn_no"}, world.headers["owner"]):
            assert http.get("/here.txt", headers=refused).status_code == 401
    for port, status in ((8889, 502), (0, 400), (65536, 400)):
        host = {"Host": f"{port}-{box}.localhost:1", **headers}
        assert httpx.get(world.url, headers=host).status_code == status
