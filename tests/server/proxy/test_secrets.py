"""What a program must never get to see, or be able to say."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing

import httpx
import pytest
from harness import KEY, UNKNOWN_ID, Box, ServerProcess
from websockets.exceptions import InvalidStatus

from .conftest import Serve
from .programs import ECHO, WEBSOCKET, Program, read_all, read_until

RECORDER = """
def handle(peer):
    data = b""
    while piece := peer.recv(65536):
        data += piece
        say(base64.b64encode(piece).decode())
        if b"upgrade: websocket" in data:
            peer.sendall(ANSWER)
            data = b""
        for _ in range(data.count(b"\\r\\n\\r\\n")):
            peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
        data = b""
ANSWER = b"HTTP/1.1 101 Switching\\r\\nConnection: upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n"
listen(handle)
"""
"""Says all that it gets, byte for byte."""

UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Key": "x"}


def recorded(program: Program, until: bytes) -> bytes:
    """Return all that a recorder has got, up to something that was sent last."""
    data = b""
    while until not in data:
        data += base64.b64decode(program.hear())
    return data


@pytest.mark.parametrize(
    "lines",
    [
        [f"X-API-Key: {KEY}"],
        [f"x-Api-kEY:{KEY}"],
        [f"X-API-Key: {KEY}", f"x-api-key: {KEY}", f"X-Api-Key:   {KEY}  "],
        [f"X-API-Key: {KEY}", "Connection: X-API-Key"],
        [f"X-API-Key: {KEY}", "Connection: close, x-api-key, host, content-length"],
        [f"X-API-Key: {KEY}", "Connection: x-forwarded-for, X-API-KEY", "Proxy-Connection: x"],
        [f"X-API-Key: {KEY}", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"],
    ],
)
@pytest.mark.parametrize("websocket", [False, True])
def test_the_key(serve: Serve, lines: list[str], websocket: bool) -> None:
    program = serve(RECORDER)
    head = ["GET /?last HTTP/1.1", f"Host: {program.host}", *lines]
    if websocket:
        head = [line for line in head if not line.startswith("Upgrade")]
        head += ["Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Key: x"]
    with program.raw("\r\n".join(head).encode() + b"\r\n\r\n") as sock:
        status = b"HTTP/1.1 101 " if websocket else b"HTTP/1.1 200 "
        assert read_until(sock, b"\r\n\r\n").startswith(status)
        data = recorded(program, b"\r\n\r\n")
    assert data.startswith(b"GET /?last HTTP/1.1\r\nhost: localhost:")
    assert KEY.encode() not in data
    assert b"api-key" not in data.lower()
    assert data.count(b"\r\n\r\n") == 1


def test_the_key_after_a_handshake_that_failed(serve: Serve) -> None:
    """The program answers as if it had not seen what was asked: what follows is not for it."""
    no = "HTTP/1.1 200 OK\\r\\nContent-Length: 0"
    program = serve(RECORDER.replace("HTTP/1.1 101 Switching", no))
    upgrade = program.head(**UPGRADE)
    with program.raw(upgrade) as sock:
        text = read_until(sock, b"\r\n\r\n")
        assert text.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nconnection: close\r\n" in text
        assert read_all(sock) == b""
    # the same, without waiting
    with program.raw(upgrade) as sock:
        sock.sendall(program.head("GET /second HTTP/1.1"))
        text = read_all(sock)
        assert text.count(b"HTTP/1.1") == 1
    with program.client() as client:
        assert client.get("/last").text == "ok"
    data = recorded(program, b"/last")
    assert KEY.encode() not in data
    assert b"/second" not in data


def test_the_key_while_a_handshake_goes_on(serve: Serve) -> None:
    """What a client says before it is answered is for the tunnel, once there is one."""
    program = serve("""
go = threading.Event()
def handle(peer):
    found, rest = head(peer)
    if b"/go" in found:
        go.set()
        return peer.sendall(b"HTTP/1.1 204 OK\\r\\n\\r\\n")
    say("asked")
    go.wait(20)
    peer.setblocking(False)
    try:
        say(peer.recv(100))
    except BlockingIOError:
        say("nothing yet")
    peer.setblocking(True)
    peer.sendall(b"HTTP/1.1 101 X\\r\\nUpgrade: websocket\\r\\n\\r\\nfirst")
    say(peer.recv(100))
listen(handle)
""")
    with program.raw(program.head(**UPGRADE)) as sock, program.client() as client:
        assert program.hear() == "asked"
        sock.sendall(b"early")
        assert client.get("/go").status_code == 204
        assert program.hear() == "nothing yet"
        text = read_until(sock, b"first")
        assert text.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert program.hear() == "b'early'"


@pytest.mark.parametrize(
    "head",
    [
        "POST / HTTP/1.1|Content-Length: 4|Transfer-Encoding: chunked",
        "POST / HTTP/1.1|Transfer-Encoding: chunked|Content-Length: 4",
        "POST / HTTP/1.1|Content-Length: 4|Content-Length: 5",
        "POST / HTTP/1.1|Content-Length: 4, 4",
        "POST / HTTP/1.1|Content-Length: +4",
        "POST / HTTP/1.1|Content-Length: 0x4",
        "POST / HTTP/1.1|Content-Length : 4",
        "POST / HTTP/1.1|Content-Length:\n 4",
        "POST / HTTP/1.1|Transfer-Encoding: xchunked",
        "POST / HTTP/1.1|Transfer-Encoding: gzip, chunked",
        "POST / HTTP/1.1|Transfer-Encoding: chunked, identity",
        "POST / HTTP/1.1|Transfer-Encoding:\x0bchunked",
        "POST / HTTP/1.1|Transfer-Encoding : chunked",
        "POST / HTTP/1.1|X: y\r\n Transfer-Encoding: chunked",
        "POST / HTTP/1.1|X: y\nTransfer-Encoding: chunked",
        "POST / HTTP/1.1|X: y\rTransfer-Encoding: chunked",
        "POST / HTTP/1.1|X: y\0z",
        "POST / HTTP/1.1|X\0: y",
        "POST / HTTP/1.1|X y: z",
        "POST / HTTP/1.1|: z",
        "POST / HTTP/1.1|Host: elsewhere.test",
        "POST / HTTP/1.1|Upgrade: websocket|Connection: upgrade|Content-Length: 4",
        "POST / HTTP/1.1|Upgrade: websocket|Connection: upgrade|Transfer-Encoding: chunked",
        "POST / HTTP/1.1|Upgrade: h2c|Connection: upgrade|Content-Length: 4",
        "POST /\x80 HTTP/1.1",
        "POST /\x01 HTTP/1.1",
        "POST / HTTP/1.1 ",
        "CONNECT localhost:1 HTTP/1.1",
        "PRI * HTTP/2.0",
    ],
)
def test_requests_that_could_be_understood_in_two_ways(serve: Serve, head: str) -> None:
    """They end the connection, and nothing of them gets through."""
    program = serve(RECORDER)
    line, *headers = head.split("|")
    text = "\r\n".join([line, f"Host: {program.host}", f"X-API-Key: {KEY}", *headers])
    smuggled = program.head("GET /smuggled HTTP/1.1").replace(KEY.encode(), b"none")
    with program.raw(text.encode("latin-1") + b"\r\n\r\n" + b"0\r\n\r\n" + smuggled) as sock:
        answer = read_until(sock, b"}")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'"invalid_request"' in answer
        assert b"smuggled" not in answer
    with program.client() as client:
        assert client.get("/last").text == "ok"
    data = recorded(program, b"/last")
    assert data.count(b" HTTP/1.1\r\n") == 1
    assert b"smuggled" not in data


def test_bodies_that_look_like_requests(serve: Serve) -> None:
    program = serve(ECHO)
    smuggled = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with program.client() as client:
        for content in (smuggled.encode(), iter([b"", smuggled.encode()])):
            assert client.post("/", content=content).json()["body"] == smuggled
            assert client.get("/next").json()["line"] == "GET /next HTTP/1.1"


class TestWhoMayNot:
    """Credentials, ids and states."""

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"X-API-Key": ""},
            {"X-API-Key": KEY[:-1]},
            {"Authorization": f"Bearer {KEY}"},
            {"Cookie": f"X-API-Key={KEY}"},
            {"X_API_Key": KEY},
        ],
    )
    @pytest.mark.parametrize("number", ["80", "0", "99999999999"])
    def test_without_a_key(
        self, server: ServerProcess, number: str, headers: dict[str, str]
    ) -> None:
        host = f"{number}-{UNKNOWN_ID}.test"
        response = httpx.get(f"{server.url}/?X-API-Key={KEY}", headers={"Host": host, **headers})
        assert_refused(response, 401, "unauthorized")

    @pytest.mark.parametrize(
        ("name", "status", "code"),
        [
            (f"0-{UNKNOWN_ID}", 400, "invalid_request"),
            (f"65536-{UNKNOWN_ID}", 400, "invalid_request"),
            (f"{'9' * 5000}-{UNKNOWN_ID}", 400, "invalid_request"),
            (f"80-{UNKNOWN_ID}0", 400, "invalid_request"),
            ("80-cl-x", 400, "invalid_request"),
            (f"80-{UNKNOWN_ID}", 404, "not_found"),
        ],
    )
    def test_names_of_nothing(
        self, server: ServerProcess, name: str, status: int, code: str
    ) -> None:
        headers = {"Host": f"{name}.test", "X-API-Key": KEY}
        assert_refused(httpx.get(server.url, headers=headers), status, code)

    @pytest.mark.parametrize("name", [f"80-{UNKNOWN_ID}", f"x80-{UNKNOWN_ID}.test", "80-cl-.test"])
    def test_names_of_the_server_itself(self, server: ServerProcess, name: str) -> None:
        response = httpx.get(f"{server.url}/health", headers={"Host": name})
        assert response.json()["status"] == "ok"

    def test_a_sandbox_of_another_team(self, elsewhere: Callable[..., Program]) -> None:
        program = elsewhere(ECHO, key=KEY)
        key = "wrn_" + "a" * 32
        with closing(sqlite3.connect(program.server.data_dir / "sandlot.db")) as database, database:
            now, team, digest = "2026-01-01", "team-" + "z" * 25, hashlib.sha256(key.encode())
            _ = database.execute(
                "INSERT INTO teams (id, name, created_at) VALUES (?, ?, ?)", (team, "Others", now)
            )
            _ = database.execute(
                "INSERT INTO api_keys (id, team_id, name, hash, prefix, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                ("key-" + "z" * 25, team, "A key", digest.hexdigest(), key[:10], now),
            )
        with program.client(headers={"X-API-Key": key}) as client:
            assert_refused(client.get("/"), 404, "not_found")
        with program.client() as client:
            assert client.get("/").status_code == 200

    def test_a_key_that_is_not_for_sandboxes(self, elsewhere: Callable[..., Program]) -> None:
        program = elsewhere(ECHO, key=KEY, api_key_scopes="all")
        wanted = {"name": "of an auditor", "scopes": ["audit"]}
        made = program.box.client.post("/v1/api-keys", json=wanted)
        with program.client(headers={"X-API-Key": made.json()["key"]}) as client:
            assert_refused(client.get("/"), 401, "unauthorized")
        with program.client() as client:
            assert client.get("/").status_code == 200

    def test_sandboxes_that_do_not_run(self, serve: Serve) -> None:
        program = serve(ECHO)
        with program.client() as client:
            assert program.box.post("/pause").status_code == 200
            assert_refused(client.get("/"), 409, "invalid_state")
            assert program.box.post("/resume").status_code == 200
            assert client.get("/").status_code == 200
            assert program.box.client.delete(program.box.url()).status_code == 204
            assert_refused(client.get("/"), 409, "invalid_state")

    def test_websockets(self, server: ServerProcess, serve: Serve) -> None:
        program = serve(WEBSOCKET)
        program.key = "wrong"
        with pytest.raises(InvalidStatus) as caught, program.websocket():
            pass
        response = caught.value.response
        assert response.status_code == 401
        assert response.headers["x-sandlot-proxy"] == "unauthorized"
        assert b'"unauthorized"' in response.body


def assert_refused(response: httpx.Response, status: int, code: str) -> None:
    assert (response.status_code, response.headers["x-sandlot-proxy"]) == (status, code)
    error = response.json()["error"]
    assert error["code"] == code
    assert error["request_id"] == response.headers["x-request-id"]
    assert "date" in response.headers


class TestWithoutKeys:
    """Servers that ask for no key."""

    def test_anybody_may(self, elsewhere: Callable[..., Program]) -> None:
        program = elsewhere(ECHO, auth="none")
        with program.client() as client:
            assert client.get("/").status_code == 200
            seen = client.get("/", headers={"X-API-Key": KEY}).json()["headers"]
        assert KEY not in str(seen)

    def test_pages_of_others_may_not(self, elsewhere: Callable[..., Program]) -> None:
        program = elsewhere(ECHO, auth="none")
        with program.client() as client:
            for origin in ("http://evil.test", "null", f"http://81-{program.host[3:]}"):
                response = client.get("/", headers={"Origin": origin})
                assert_refused(response, 403, "forbidden")
            assert client.get("/", headers={"Origin": f"http://{program.host}"}).status_code == 200


def test_pages_may_use_servers_that_ask_for_a_key(serve: Serve) -> None:
    with serve(ECHO).client(headers={"Origin": "http://elsewhere.test"}) as client:
        assert ["origin", "http://elsewhere.test"] in client.get("/").json()["headers"]


def test_other_boxes_ports_are_out_of_reach(serve: Serve, make: Callable[..., Box]) -> None:
    program = serve(ECHO)
    other = make(template="base-python")
    name = program.host.replace(program.box.id, other.id)
    with program.client(headers={"Host": name}) as client:
        assert_refused(client.get("/"), 502, "port_closed")
