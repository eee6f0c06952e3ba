"""Ordinary requests to ports of sandboxes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from harness import KEY, Box, ServerProcess

from .conftest import Serve
from .programs import ECHO, Program, read_all, read_until


def headers_of(response: httpx.Response) -> dict[str, list[str]]:
    """Return the headers that an echo has seen."""
    assert response.status_code == 200, response.text
    found: dict[str, list[str]] = {}
    for name, value in response.json()["headers"]:
        found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/a//b/../c/./d",
        "/%2F%2e%2e/%zz?x=%20&y&&z=a+b?",
        "/?",
        "//host/path",
        "/path/;p=1#fragment",
        "*",
    ],
)
def test_what_is_asked_for_arrives_byte_for_byte(serve: Serve, target: str) -> None:
    program = serve(
        """
    def handle(peer):
        request, _ = head(peer)
        say(request.split(b"\\r\\n")[0].decode())
        peer.sendall(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
    listen(handle)
    """.replace("\n    ", "\n")
    )
    method = "OPTIONS" if target == "*" else "GET"
    with program.raw(program.head(f"{method} {target} HTTP/1.1", Connection="close")) as sock:
        assert read_all(sock).startswith(b"HTTP/1.1 204 ")
    assert program.hear() == f"{method} {target} HTTP/1.1"


def test_a_target_with_the_servers_name(serve: Serve) -> None:
    program = serve(ECHO)
    head = program.head("GET http://elsewhere.test/a?b HTTP/1.1", Connection="close")
    with program.raw(head) as sock:
        assert b'"GET /a?b HTTP/1.1"' in read_all(sock)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_methods_and_bodies(serve: Serve, method: str) -> None:
    with serve(ECHO).client() as client:
        for content in (None, b"", b"hello", iter([b"hel", b"lo"])):
            echo = client.request(method, "/x", content=content).json()
            assert echo["line"] == f"{method} /x HTTP/1.1"
            assert echo["body"] == ("" if not content else "hello")


def test_headers_of_requests(serve: Serve) -> None:
    program = serve(ECHO)
    with program.client() as client:
        seen = headers_of(
            client.get(
                "/",
                headers=[
                    ("X-Twice", "1"),
                    ("X-Twice", "2"),
                    ("X-Odd", "gr\u00fc\u00df".encode()),
                    ("Authorization", "Bearer of-the-application"),
                    ("Cookie", "a=b; c=d"),
                    ("Connection", "X-Hop, keep-alive"),
                    ("X-Hop", "for the proxy only"),
                    ("Keep-Alive", "timeout=5"),
                    ("Proxy-Authorization", "Basic eA=="),
                    ("TE", "trailers"),
                    ("Upgrade", "h2c"),
                    ("X-Forwarded-For", "203.0.113.9"),
                    ("X-Forwarded-Proto", "gopher"),
                    ("X-Forwarded-Host", "elsewhere.test"),
                ],
            )
        )
    assert seen["x-twice"] == ["1", "2"]
    assert seen["x-odd"] == ["gr\u00fc\u00df".encode().decode("latin-1")]
    assert seen["authorization"] == ["Bearer of-the-application"]
    assert seen["cookie"] == ["a=b; c=d"]
    assert seen["host"] == [f"localhost:{program.port}"]
    assert seen["x-forwarded-host"] == [program.host]
    assert seen["x-forwarded-proto"] == ["http"]
    assert seen["x-forwarded-for"][0].startswith("203.0.113.9, ")
    gone = {"x-hop", "connection", "keep-alive", "proxy-authorization", "te", "upgrade"}
    assert not gone & set(seen)


def answering(*lines: str, body: str = "") -> str:
    """Return a program that gives one answer to everything."""
    text = "\r\n".join(lines) + "\r\n\r\n" + body
    return f"""
def handle(peer):
    while head(peer)[0]:
        peer.sendall({text.encode("latin-1")!r})
listen(handle)
"""


def test_headers_of_answers(serve: Serve) -> None:
    program = serve(
        answering(
            "HTTP/1.1 200 Fine",
            "Content-Length: 2",
            "Date: Sat, 01 Jan 2000 00:00:00 GMT",
            "Set-Cookie: a=1",
            "Set-Cookie: b=2",
            "X-Odd: gr\u00fc\u00df",
            "X-Request-Id: of-the-application",
            "X-Sandlot-Proxy: port_closed",
            "X-Hop: 1",
            "Connection: X-Hop, keep-alive",
            "Keep-Alive: timeout=5",
            "Proxy-Authenticate: Basic",
            body="ok",
        )
    )
    with program.client() as client:
        response = client.get("/")
    assert response.text == "ok"
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert dict(response.headers.raw)[b"x-odd"] == "gr\u00fc\u00df".encode("latin-1")
    assert response.headers["date"] == "Sat, 01 Jan 2000 00:00:00 GMT"
    assert response.headers["x-request-id"] == "of-the-application"
    for name in ("x-sandlot-proxy", "x-hop", "keep-alive", "proxy-authenticate"):
        assert name not in response.headers


def test_an_answer_without_a_date_or_an_id_gets_one(serve: Serve) -> None:
    with serve(answering("HTTP/1.1 200 OK", "Content-Length: 0")).client() as client:
        response = client.get("/")
    assert response.headers["date"].endswith("GMT")
    assert response.headers["x-request-id"].startswith("req-")


@pytest.mark.parametrize(
    ("lines", "method", "status", "length"),
    [
        (["HTTP/1.1 200 OK", "Content-Length: 1000"], "HEAD", 200, "1000"),
        (["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"], "HEAD", 200, None),
        (["HTTP/1.1 204 No Content"], "GET", 204, None),
        (["HTTP/1.1 204 No Content", "Content-Length: 5"], "GET", 204, None),
        (["HTTP/1.1 304 Not Modified", "Content-Length: 5"], "GET", 304, None),
        (["HTTP/1.1 404 Nowhere", "Content-Length: 0"], "GET", 404, "0"),
        (["HTTP/1.1 599", "Content-Length: 0"], "GET", 599, "0"),
    ],
)
def test_answers_without_a_body(
    serve: Serve, lines: list[str], method: str, status: int, length: str | None
) -> None:
    with serve(answering(*lines)).client() as client:
        for _ in range(2):  # the connection is fit for another
            response = client.request(method, "/")
            assert (response.status_code, response.content) == (status, b"")
            assert response.headers.get("content-length") == length


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5", "hello"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
         "2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nT: t\r\n\r\n"),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
         "HTTP/1.1 200 OK\r\nContent-Length: 5", "hello"),
    ],
)  # fmt: skip
def test_framings_of_answers(serve: Serve, head: str, body: str) -> None:
    with serve(answering(head, body=body)).client() as client:
        for _ in range(2):
            assert client.get("/").text == "hello"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_answer_that_ends_with_the_connection(serve: Serve, version: str) -> None:
    program = serve(f"""
def handle(peer):
    head(peer)
    peer.sendall(b"HTTP/{version} 200 OK\\r\\n\\r\\nhello")
    peer.close()
listen(handle)
""")
    with program.client() as client:
        for _ in range(2):
            assert client.get("/").text == "hello"


@pytest.mark.parametrize("where", ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"])
def test_redirects_to_itself_lead_back(serve: Serve, where: str) -> None:
    program = serve(f"""
class Redirect(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302 if self.path == "/" else 200)
        self.send_header("Location", f"http://{where}:{{self.server.server_address[1]}}/there?a=b")
        self.send_header("Content-Length", "0")
        self.end_headers()
serve_http(Redirect)
""")
    with program.client() as client:
        response = client.get("/")
    assert response.headers["location"] == f"http://{program.host}/there?a=b"


def test_events_arrive_when_they_are_sent(serve: Serve) -> None:
    """Each event is only sent when the client has got the one before."""
    program = serve("""
go = threading.Semaphore(0)
class Events(BaseHTTPRequestHandler):
    def do_POST(self):
        go.release()
        self.send_response(204)
        self.end_headers()
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for number in range(5):
            self.wfile.write(b"data: %d\\n\\n" % number)
            go.acquire()
        self.close_connection = True
serve_http(Events)
""")
    with program.client() as client, client.stream("GET", "/") as response:
        for number, text in enumerate(response.iter_text()):
            assert text == f"data: {number}\n\n"
            assert client.post("/").status_code == 204


def test_both_directions_at_once(serve: Serve) -> None:
    """An answer may begin before its request has ended, and say what has come so far."""
    program = serve("""
def handle(peer):
    _, data = head(peer)
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
    while True:
        if data:
            text = data.upper()
            peer.sendall(b"%x\\r\\n%s\\r\\n" % (len(text), text))
            if b"0\\r\\n\\r\\n" in data:
                break
        data = peer.recv(65536)
    peer.sendall(b"0\\r\\n\\r\\n")
listen(handle)
""")
    with program.raw(program.head("POST / HTTP/1.1", Transfer_Encoding="chunked")) as sock:
        _ = read_until(sock, b"\r\n\r\n")
        for word in (b"one", b"two", b"three"):
            sock.sendall(b"%x\r\n%s\r\n" % (len(word), word))
            _ = read_until(sock, word.upper())
        sock.sendall(b"0\r\n\r\n")
        assert read_until(sock, b"\r\n0\r\n\r\n")


def test_two_hundred_at_once(serve: Serve) -> None:
    """All are in the program at the same time before any is answered."""
    program = serve("""
everybody = threading.Barrier(200)
def handle(peer):
    while True:
        found, _ = head(peer)
        if not found:
            return
        everybody.wait(30)
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
listen(handle)
""")
    # Kept connections that another thread finds closed may be closed under one that takes them.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    with program.client(limits=limits, timeout=60) as client, ThreadPoolExecutor(200) as pool:
        for _ in range(2):
            responses = list(pool.map(lambda _: client.get("/"), range(200)))
            assert [response.text for response in responses] == ["ok"] * 200


@pytest.mark.alone
def test_programs_that_write_twice(serve: Serve) -> None:
    """A head and then a body: the second write does not wait for an acknowledgement (40 ms)."""
    program = serve("""
def handle(peer):
    while head(peer)[0]:
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n")
        peer.sendall(b"ok")
listen(handle)
""")
    times: list[float] = []
    with program.client() as client:
        for _ in range(30):
            began = time.monotonic()
            assert client.get("/").text == "ok"
            times.append(time.monotonic() - began)
    assert min(times[20:]) < 0.03


def test_the_program_may_listen_anywhere(serve: Serve) -> None:
    for host in ("0.0.0.0", "127.0.0.1"):
        program = serve(
            answering("HTTP/1.1 200 OK", "Content-Length: 2", body="ok").replace(
                "listen(handle)", f"listen(handle, {host!r})"
            )
        )
        with program.client() as client:
            assert client.get("/").text == "ok"


def test_a_path_of_the_api_is_the_programs_own(serve: Serve) -> None:
    program = serve(ECHO)
    with program.client() as client:
        assert client.get("/v1/sandboxes").json()["line"] == "GET /v1/sandboxes HTTP/1.1"
        assert client.get("/health/").json()["line"] == "GET /health/ HTTP/1.1"
    # and by the name of the server it is the API's
    assert httpx.get(f"{program.server.url}/health").json()["status"] == "ok"


@pytest.mark.parametrize("upper", [False, True])
def test_names_of_hosts_have_no_case(serve: Serve, upper: bool) -> None:
    program = serve(ECHO)
    host = program.host.upper() if upper else program.host
    with program.client(headers={"Host": host}) as client:
        assert client.get("/").status_code == 200


def test_one_connection_serves_the_api_and_ports_in_turn(
    server: ServerProcess, serve: Serve, make: Callable[..., Box]
) -> None:
    other = make(template="base-python")
    programs = [serve(ECHO), serve(ECHO), serve(ECHO, box=other)]
    limits = httpx.Limits(max_connections=1)
    with httpx.Client(
        base_url=server.url, headers={"X-API-Key": KEY}, limits=limits, timeout=20
    ) as client:
        for _ in range(3):
            for program in programs:
                echo = client.get("/", headers={"Host": program.host}).json()
                assert ["host", f"localhost:{program.port}"] in echo["headers"]
            assert client.get("/v1/sandboxes").status_code == 200


def test_pipelined_requests(serve: Serve) -> None:
    program = serve(ECHO)
    requests = [program.head(f"GET /{number} HTTP/1.1") for number in range(3)]
    last = program.head("GET /3 HTTP/1.1", Connection="close")
    with program.raw(b"".join(requests) + last) as sock:
        text = read_all(sock)
    places = [text.index(f"GET /{number} ".encode()) for number in range(4)]
    assert places == sorted(places)


class TestConnections:
    """Which connections requests take."""

    def test_safe_requests_share_one(self, serve: Serve) -> None:
        with serve(ECHO).client() as client:
            peers = {client.get("/").json()["peer"] for _ in range(5)}
        assert len(peers) == 1

    def test_others_take_a_new_one_each(self, serve: Serve) -> None:
        """Nobody could tell whether a request has had an effect if it crossed with the end."""
        with serve(ECHO).client() as client:
            peers = {client.post("/", content=b"x").json()["peer"] for _ in range(5)}
        assert len(peers) == 5

    def test_they_do_not_rest_for_long(self, serve: Serve) -> None:
        program = serve("""
def handle(peer):
    while head(peer)[0]:
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    say("closed")
listen(handle)
""")
        with program.client() as client:
            assert client.get("/").status_code == 200
        assert program.hear() == "closed"

    FICKLE = """
def handle(peer):
    while True:
        found, _ = head(peer)
        if not found:
            return
        say(found.split()[0].decode())
        if MARK in marks:
            return peer.close()
        marks.add(MARK)
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
marks = set()
listen(handle)
"""

    def test_a_connection_that_turns_out_dead(self, serve: Serve) -> None:
        """The program closes when it gets a second request, as if it had just been about to."""
        program = serve(self.FICKLE.replace("MARK", "peer.getpeername()[1]"))
        with program.client() as client:
            for _ in range(3):
                assert client.get("/").status_code == 200
        assert [program.hear() for _ in range(5)] == ["GET"] * 5

    def test_a_program_that_answers_nothing_more(self, serve: Serve) -> None:
        program = serve(self.FICKLE.replace("MARK", "0"))
        with program.client() as client:
            assert client.get("/").status_code == 200
            response = client.get("/")
        assert response.headers["x-sandlot-proxy"] == "bad_gateway"
        assert [program.hear() for _ in range(3)] == ["GET"] * 3  # sent twice, and no more

    def test_a_program_that_has_ended(self, serve: Serve) -> None:
        """There is nothing of the connection that rested."""
        program = serve(ECHO)
        with program.client() as client:
            assert client.get("/").status_code == 200
            program.kill()
            wait_gone(program)
            for method in ("GET", "POST"):
                response = client.request(method, "/")
                assert response.status_code == 502
                assert response.headers["x-sandlot-proxy"] == "port_closed"


def wait_gone(program: Program) -> None:
    line = f"while grep -q ' 0100007F:{program.port:04X} .* 0A ' /proc/net/tcp; do :; done"
    assert program.box.sh(line)["exit_code"] == 0


class TestAsking:
    """Clients that ask whether to send a body (Expect: 100-continue)."""

    def ask(self, program: Program) -> socket.socket:
        head = program.head("POST / HTTP/1.1", Content_Length="5", Expect="100-continue")
        return program.raw(head)

    def test_yes(self, serve: Serve) -> None:
        program = serve("""
def handle(peer):
    found, rest = head(peer)
    say(b"expect: 100-continue" in found, rest)
    peer.sendall(b"HTTP/1.1 100 Continue\\r\\n\\r\\n")
    say(peer.recv(100))
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
listen(handle)
""")
        with self.ask(program) as sock:
            assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(b"hello")
            assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        assert [program.hear(), program.hear()] == ["True b''", "b'hello'"]

    def test_no(self, serve: Serve) -> None:
        """The client never sends the body, and cannot use the connection for anything else."""
        program = serve(answering("HTTP/1.1 417 No", "Content-Length: 5", body="never"))
        with self.ask(program) as sock:
            text = read_all(sock)
        assert text.startswith(b"HTTP/1.1 417 ")
        assert b"\r\nconnection: close\r\n" in text
        assert text.endswith(b"never")

    def test_no_from_the_proxy(self, serve: Serve) -> None:
        program = serve(ECHO)
        program.port = 1
        with self.ask(program) as sock:
            text = read_all(sock)
        assert text.startswith(b"HTTP/1.1 502 ")
        assert b"\r\nconnection: close\r\n" in text

    def test_silence(self, serve: Serve) -> None:
        """A program that does not know the question waits for the body."""
        program = serve("""
def handle(peer):
    _, rest = head(peer)
    while len(rest) < 5:
        rest += peer.recv(100)
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\n" + rest)
listen(handle)
""")
        with self.ask(program) as sock:
            assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(b"hello")
            assert read_until(sock, b"hello").startswith(b"HTTP/1.1 200 ")


class TestEarlyAnswers:
    """Programs that answer before they have read the request."""

    def upload(self, program: Program) -> httpx.Response:
        def pieces() -> Any:
            for _ in range(1024):
                yield bytes(1 << 16)

        with program.client() as client:
            response = client.post("/", content=pieces())
            assert client.get("/after").status_code == 200
        return response

    @pytest.mark.parametrize("then", ["forever.wait()", "peer.close()", "reset(peer)"])
    def test_too_large(self, serve: Serve, then: str) -> None:
        if then == "reset(peer)":
            # what was said before a reset may be lost on its way, whoever reads it
            then = "peer.shutdown(socket.SHUT_WR); peer.recv(1 << 20); peer.close()"
        program = serve(f"""
forever = threading.Event()
def handle(peer):
    found, _ = head(peer)
    if found.startswith(b"GET"):
        return peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    peer.sendall(b"HTTP/1.1 413 Too Large\\r\\nContent-Length: 9\\r\\n\\r\\ntoo large")
    {then}
listen(handle)
""")
        response = self.upload(program)
        assert (response.status_code, response.text) == (413, "too large")


def test_concurrent_use_by_many_threads_of_one_client(serve: Serve) -> None:
    program = serve(ECHO)
    problems: list[BaseException] = []

    def work(client: httpx.Client, name: str) -> None:
        try:
            for number in range(20):
                body = f"{name}-{number}" * 100
                assert client.post("/", content=body.encode()).json()["body"] == body
                assert (
                    client.get(f"/{name}-{number}").json()["line"].split()[1] == f"/{name}-{number}"
                )
        except BaseException as error:
            problems.append(error)

    with program.client() as client:
        threads = [threading.Thread(target=work, args=(client, f"t{n}")) for n in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not problems
