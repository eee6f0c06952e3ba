"""Names of ports, and headers, without anybody to send them to."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from sandlot.server.middleware import RequestMiddleware
from sandlot.server.proxy.addresses import PortAddress, find_address
from sandlot.server.proxy.client import EXTENSION
from sandlot.server.proxy.headers import Origin, answer_headers, request_headers, wants_websocket
from sandlot.server.services.errors import BadGatewayError, InvalidRequestError

ID = "cl-" + "0" * 25
ADDRESS = PortAddress("8888", ID, b"example.test:8080", f"8888-{ID}.example.test:8080".encode())
ORIGIN = Origin("192.0.2.1", "http")


@pytest.mark.parametrize(
    ("host", "number", "sandbox_id", "domain"),
    [
        (f"8888-{ID}.localhost", "8888", ID, b"localhost"),
        (f"8888-{ID}.localhost:8080", "8888", ID, b"localhost:8080"),
        (f"8888-{ID.upper()}.LOCALHOST", "8888", ID, b"LOCALHOST"),
        (f"0-{ID}.a.b.c", "0", ID, b"a.b.c"),
        (f"{'9' * 99}-cl-x.", "9" * 99, "cl-x", b""),
    ],
)
def test_names(host: str, number: str, sandbox_id: str, domain: bytes) -> None:
    found = find_address([(b"x", b"y"), (b"host", host.encode())])
    assert found == PortAddress(number, sandbox_id, domain, host.encode())


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"localhost:8080",
        f"8888-{ID}".encode(),
        f"8888-{ID}:8080".encode(),
        f"-8888-{ID}.x".encode(),
        f"x.8888-{ID}.x".encode(),
        f"8888{ID}.x".encode(),
        b"8888-cl-.x",
        b"8888-cl-a_b.x",
        b"8888-usr-abc.x",
        f"\xc2\xb2-{ID}.x".encode("latin-1"),
        f" 8888-{ID}.x".encode(),
    ],
)
def test_names_of_something_else(host: bytes) -> None:
    assert find_address([(b"host", host)]) is None
    assert find_address([(b"host", b"first"), (b"host", ADDRESS.host)]) is None
    assert find_address([]) is None


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("http://localhost:8888/a?b#c", f"http://8888-{ID}.example.test:8080/a?b#c"),
        ("http://127.0.0.1:8888", f"http://8888-{ID}.example.test:8080"),
        ("HTTP://LOCALHOST:3000/x", f"http://3000-{ID}.example.test:8080/x"),
        ("http://[::1]:8888?x", f"http://8888-{ID}.example.test:8080?x"),
        ("http://[::]:8888/", f"http://8888-{ID}.example.test:8080/"),
        ("//localhost:8888/x", f"http://8888-{ID}.example.test:8080/x"),
        ("http://localhost/", f"http://80-{ID}.example.test:8080/"),
    ],
)
def test_locations_inside(inside: str, outside: str) -> None:
    assert ADDRESS.make_public("http", inside.encode()) == outside.encode()


@pytest.mark.parametrize(
    "location",
    [
        "/path",
        "path",
        "",
        "https://localhost:8888/",
        "http://localhost.evil.test/",
        "http://localhost:8888.evil.test/",
        "http://localhost:8888@evil.test/",
        "http://localhost@evil.test/",
        "http://127.0.0.11/",
        "http://elsewhere.test/http://localhost:8888/",
        "///localhost:8888/",
    ],
)
def test_locations_elsewhere(location: str) -> None:
    assert ADDRESS.make_public("http", location.encode()) == location.encode()


def test_a_server_behind_tls() -> None:
    public = ADDRESS.make_public("https", b"http://localhost:8888/")
    assert public == f"https://8888-{ID}.example.test:8080/".encode()


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ([("connection", "Upgrade"), ("upgrade", "WebSocket")], True),
        ([("connection", "keep-alive, upgrade"), ("upgrade", "websocket")], True),
        ([("connection", "keep-alive"), ("connection", "UPGRADE"), ("upgrade", "websocket")], True),
        ([("upgrade", "websocket")], False),
        ([("connection", "upgrade")], False),
        ([("connection", "upgrade"), ("upgrade", "websocket, h2c")], False),
        ([("connection", "upgrade"), ("upgrade", "h2c"), ("upgrade", "websocket")], False),
        ([("connection", "upgrades"), ("upgrade", "websocket")], False),
    ],
)
def test_websockets(headers: list[tuple[str, str]], wanted: bool) -> None:
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    assert wants_websocket(encoded) == wanted


def passed_on(*headers: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    return request_headers([(b"host", ADDRESS.host), *encoded], ADDRESS, ORIGIN)


def test_what_is_said_of_the_client() -> None:
    assert passed_on() == [
        (b"host", b"localhost:8888"),
        (b"x-forwarded-for", b"192.0.2.1"),
        (b"x-forwarded-host", ADDRESS.host),
        (b"x-forwarded-proto", b"http"),
    ]
    nobody = request_headers([], ADDRESS, Origin(None, "https"))
    assert b"x-forwarded-for" not in dict(nobody)
    assert dict(nobody)[b"x-forwarded-proto"] == b"https"


def test_what_a_connection_header_cannot_drop() -> None:
    """Whoever reads on has to know where the body ends."""
    named = "content-length, transfer-encoding, host, x-forwarded-for, cookie, expect"
    found = dict(passed_on(("connection", named), ("content-length", "5"), ("cookie", "a=b")))
    assert found[b"content-length"] == b"5"
    assert found[b"host"] == b"localhost:8888"
    assert found[b"x-forwarded-for"] == b"192.0.2.1"
    assert b"cookie" not in found
    chunked = dict(passed_on(("connection", named), ("transfer-encoding", "Chunked")))
    assert chunked[b"transfer-encoding"] == b"chunked"


@pytest.mark.parametrize(
    "headers",
    [
        [("host", "second.test")],
        [("transfer-encoding", "gzip, chunked")],
        [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        [("upgrade", "websocket"), ("content-length", "1")],
        [("upgrade", "x"), ("transfer-encoding", "chunked")],
    ],
)
def test_what_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRequestError):
        _ = passed_on(*headers)


def test_an_empty_body_is_no_body() -> None:
    assert dict(passed_on(("upgrade", "x"), ("content-length", "0")))[b"content-length"] == b"0"


def test_expectations() -> None:
    assert dict(passed_on(("expect", "100-Continue"), ("content-length", "5")))[b"expect"]
    assert b"expect" not in dict(passed_on(("expect", "100-continue")))
    assert b"expect" not in dict(passed_on(("expect", "else"), ("content-length", "5")))


def test_answers() -> None:
    headers = [
        (b"Date", b"then"),
        (b"Content-Length", b"5"),
        (b"X-Sandlot-Proxy", b"lie"),
        (b"Connection", b"close, X-Hop"),
        (b"X-Hop", b"1"),
        (b"Location", b"http://localhost:8888/"),
        (b"X-Location", b"http://localhost:8888/"),
    ]
    assert answer_headers(200, headers, ADDRESS, "http") == [
        (b"date", b"then"),
        (b"content-length", b"5"),
        (b"location", f"http://8888-{ID}.example.test:8080/".encode()),
        (b"x-location", b"http://localhost:8888/"),
    ]


def test_lengths_that_are_not_those_of_the_answer() -> None:
    length = (b"content-length", b"5")
    chunked = (b"transfer-encoding", b"chunked")
    for status, headers in ((204, [length]), (304, [length]), (200, [length, chunked])):
        assert b"content-length" not in dict(answer_headers(status, headers, ADDRESS, "http"))


@pytest.mark.parametrize("value", [b"a\rb", b"a\nb", b"a\0b", b"a\x7fb", b"\x1b[0m"])
def test_control_characters(value: bytes) -> None:
    with pytest.raises(BadGatewayError):
        _ = answer_headers(200, [(b"x", value)], ADDRESS, "http")
    assert answer_headers(200, [(b"x", b"a\tb \xff")], ADDRESS, "http")[0] == (b"x", b"a\tb \xff")


@pytest.mark.parametrize("for_port", [False, True])
def test_crashes_of_the_proxy_are_told_from_those_of_programs(for_port: bool) -> None:
    sent: list[Message] = []

    async def crash(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise RuntimeError("a bug")

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "headers": [], "path": "/", "state": {}, "method": "GET"}
    if for_port:
        scope["extensions"] = {EXTENSION: {}}
    asyncio.run(RequestMiddleware(crash)(scope, receive, send))
    assert sent[0]["status"] == 500
    marks = [value for name, value in sent[0]["headers"] if name == b"x-sandlot-proxy"]
    assert marks == ([b"internal_error"] if for_port else [])
