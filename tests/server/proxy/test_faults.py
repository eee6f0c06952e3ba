"""Programs and clients that break off, lie, wait or shout."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Callable, Iterator

import httpx
import psutil
import pytest
from harness import KEY, ServerProcess, eventually
from websockets.exceptions import ConnectionClosed

from .conftest import Serve
from .programs import ECHO, WEBSOCKET, Program, read_all, read_until

MIB = 1 << 20
GIB = 1 << 30


def saying(answer: bytes, then: str = "peer.close()") -> str:
    """Return a program that says something to every request, whatever it is."""
    return f"""
def handle(peer):
    head(peer)
    peer.sendall({answer!r})
    {then}
listen(handle)
"""


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0" * 1000,
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 999 What\r\n\r\n",
        b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/9 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        HEAD[:9],
        HEAD + b"Content-Length: 5",
        HEAD + b"Content-Length: 5, 6\r\n\r\nhello",
        HEAD + b"Content-Length: -5\r\n\r\nhello",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"X\0: y\r\n\r\n",
        HEAD + b"X y: z\r\n\r\n",
        HEAD + b"X : z\r\n\r\n",
        HEAD + b": z\r\n\r\n",
        HEAD + b"X: a\0b\r\n\r\n",
        HEAD + b"X: a\x07b\r\n\r\n",
        HEAD + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        HEAD + b"X: y\r\n" * 50_000 + b"\r\n",
        b"HTTP/1.1 103 Soon\r\n\r\n" * 10_000 + HEAD + b"\r\n",
    ],
    ids=lambda answer: answer[:60].decode("latin-1"),
)
def test_answers_that_are_none(serve: Serve, answer: bytes) -> None:
    program = serve(saying(answer, "peer.shutdown(socket.SHUT_WR); peer.recv(1)"))
    with program.client() as client:
        response = client.get("/")
        assert response.status_code == 502
        assert response.headers["x-sandlot-proxy"] == "bad_gateway"
        error = response.json()["error"]
        assert error["code"] == "bad_gateway"
        assert str(program.port) in error["message"] or "control" in error["message"]
        assert client.get("/", headers={"Host": program.server.url[7:]}).status_code == 404


@pytest.mark.parametrize("then", ["peer.close()", "reset(peer)"])
def test_no_answer_to_a_request_with_a_body(serve: Serve, then: str) -> None:
    program = serve(saying(b"", then))
    with program.client() as client:
        response = client.post("/", content=b"x" * MIB)
    assert response.headers["x-sandlot-proxy"] == "bad_gateway"


@pytest.mark.parametrize(
    ("answer", "then"),
    [
        (HEAD + b"Content-Length: 50\r\n\r\nhello", "peer.close()"),
        (HEAD + b"Content-Length: 50\r\n\r\nhello", "reset(peer)"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "peer.close()"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n", "pass"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", "pass"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX y\r\n\r\n", "pass"),
        (HEAD + b"\r\nhello", "reset(peer)"),
    ],
    ids=str,
)
def test_answers_that_break_off(serve: Serve, answer: bytes, then: str) -> None:
    """Never does it look as if they had been complete."""
    program = serve(saying(answer, then))
    text = b""
    requests = program.head() + program.head("GET /next HTTP/1.1")
    with program.raw(requests) as sock, contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            text += piece
    assert text.count(b"HTTP/1.1 ") == 1  # and the next one is never begun
    assert text.endswith((b"hello", b"hello\r\n"))
    assert b"content-length: 50\r\n" in text or b"transfer-encoding: chunked\r\n" in text


def test_answers_that_break_off_and_a_real_client(serve: Serve) -> None:
    program = serve(saying(HEAD + b"Content-Length: 50\r\n\r\nhello"))
    with program.client() as client, pytest.raises(httpx.RemoteProtocolError):
        _ = client.get("/")


def test_more_than_was_announced(serve: Serve) -> None:
    more = b"HTTP/1.1 200 OK\r\n\r\nmore"
    program = serve(saying(HEAD + b"Content-Length: 5\r\n\r\nhello" + more, "peer.recv(1)"))
    with program.client() as client:
        for _ in range(2):
            assert client.get("/").text == "hello"


def test_talk_between_requests(serve: Serve) -> None:
    """An answer that nobody asked for is never taken for that to the next request."""
    program = serve("""
go = threading.Semaphore(0)
def handle(peer):
    while found := head(peer)[0]:
        if found.startswith(b"POST"):
            go.release()
            return peer.sendall(b"HTTP/1.1 204 OK\\r\\nConnection: close\\r\\n\\r\\n")
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nhello")
        go.acquire()
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\n\\r\\nwrong")
        say("talked")
listen(handle)
""")
    with program.client() as client:
        for _ in range(3):
            assert client.get("/").text == "hello"
            assert client.post("/").status_code == 204
            assert program.hear() == "talked"


@pytest.mark.parametrize(
    "when", ["before the answer", "in the answer", "in the request", "in a silent answer"]
)
def test_clients_that_go_away(serve: Serve, when: str) -> None:
    """The program sees it at once."""
    program = serve("""
def handle(peer):
    found, rest = head(peer)
    if b"answer" in found:
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 50\\r\\n\\r\\nhello")
    say("waiting")
    while peer.recv(65536):
        pass
    say("gone")
listen(handle)
""")
    line = "GET /answer HTTP/1.1" if "in the answer" in when else "GET / HTTP/1.1"
    headers = {"Content_Length": "50"} if when == "in the request" else {}
    if when == "in a silent answer":
        line = "GET /answer HTTP/1.1"
    with program.raw(program.head(line, **headers)) as sock:
        if headers:
            sock.sendall(b"hello")
        assert program.hear() == "waiting"
        if "answer" in line:
            _ = read_until(sock, b"hello")
        if when == "in the answer":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert program.hear() == "gone"


def test_a_client_that_does_not_read(serve: Serve) -> None:
    """The program has to wait, and the server holds next to nothing."""
    program = serve("""
def handle(peer):
    head(peer)
    peer.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\n")
    total = 0
    peer.settimeout(2)
    try:
        while True:
            total += peer.send(bytes(65536))
    except TimeoutError:
        say(total)
    peer.close()
listen(handle)
""")
    process = psutil.Process(program.server.process.pid)
    before = process.memory_info().rss
    with program.raw() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(program.head())
        assert int(program.hear()) < 32 * MIB
        assert process.memory_info().rss - before < 8 * MIB


def test_a_program_that_does_not_read(serve: Serve) -> None:
    program = serve("""
forever = threading.Event()
def handle(peer):
    head(peer)
    forever.wait()
listen(handle)
""")
    process = psutil.Process(program.server.process.pid)
    before = process.memory_info().rss
    sent = 0
    with program.raw(program.head("POST / HTTP/1.1", Content_Length=str(1 << 40))) as sock:
        sock.settimeout(2)
        with contextlib.suppress(TimeoutError):
            while sent < GIB:
                sent += sock.send(bytes(65536))
    assert sent < 32 * MIB
    assert process.memory_info().rss - before < 8 * MIB


class Peak:
    """The most memory that a server has had since this was made."""

    def __init__(self, server: ServerProcess) -> None:
        self._pid = server.process.pid
        # proc_pid_clear_refs(5): 5 sets the peak to what is in use now
        with open(f"/proc/{self._pid}/clear_refs", "w") as file:
            _ = file.write("5")
        self._before = psutil.Process(self._pid).memory_info().rss

    def above(self) -> int:
        """Return it, less what there was at first."""
        with open(f"/proc/{self._pid}/status") as file:
            line = next(line for line in file if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 - self._before


MASS = """
class Mass(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        chunked = self.path == "/chunked"
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", 1 << 30)
        self.end_headers()
        piece = bytes(1 << 20)
        for _ in range(1 << 10):
            self.wfile.write(b"100000\\r\\n%s\\r\\n" % piece if chunked else piece)
        if chunked:
            self.wfile.write(b"0\\r\\n\\r\\n")
    def do_POST(self):
        total = 0
        if "content-length" in self.headers:
            while total < int(self.headers["content-length"]):
                total += len(self.rfile.read1(1 << 20))
        else:
            while size := int(self.rfile.readline(), 16):
                left = size
                while left:
                    left -= len(self.rfile.read1(left))
                self.rfile.readline()
                total += size
            self.rfile.readline()
        self.send_response(200)
        self.send_header("Content-Length", len(str(total)))
        self.end_headers()
        self.wfile.write(str(total).encode())
serve_http(Mass)
"""


@pytest.mark.parametrize("framing", ["sized", "chunked"])
def test_a_gib_each_way(serve: Serve, framing: str) -> None:
    program = serve(MASS)
    piece = bytes(1 << 20)

    def pieces() -> Iterator[bytes]:
        for _ in range(GIB // len(piece)):
            yield piece

    headers = {"Content-Length": str(GIB)} if framing == "sized" else {}
    with program.client(timeout=60) as client:
        _ = client.get("/nothing", headers={"Host": "x"})
        peak = Peak(program.server)
        with client.stream("GET", f"/{framing}") as response:
            assert sum(len(data) for data in response.iter_raw()) == GIB
        assert client.post("/", content=pieces(), headers=headers).text == str(GIB)
        assert peak.above() < 16 * MIB


@pytest.mark.alone
def test_a_body_in_the_smallest_of_pieces(serve: Serve) -> None:
    """A program may do that; others are served all the same."""
    program = serve("""
def handle(peer):
    head(peer)
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n")
    for _ in range(100):
        peer.sendall(b"1\\r\\nx\\r\\n" * 2000)
    peer.sendall(b"0\\r\\n\\r\\n")
listen(handle)
""")
    with program.client() as client, client.stream("GET", "/") as response:
        total, slowest = 0, 0.0
        for piece in response.iter_raw():
            total += len(piece)
            if total % 5000 < 64:
                began = time.monotonic()
                _ = httpx.get(f"{program.server.url}/health")
                slowest = max(slowest, time.monotonic() - began)
    assert total == 200_000
    assert slowest < 10


class TestTime:
    """What takes too long."""

    def test_an_answer(self, elsewhere: Callable[..., Program]) -> None:
        program = elsewhere(
            """
def handle(peer):
    found, _ = head(peer)
    if b"/late" in found:
        return say(peer.recv(1))
    peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nok")
    threading.Event().wait(1)
    peer.sendall(b"ay")
listen(handle)
""",
            key=KEY,
            port_answer_timeout="0.5",
        )
        with program.client() as client:
            response = client.get("/late")
            assert response.status_code == 504
            assert response.headers["x-sandlot-proxy"] == "gateway_timeout"
            assert response.json()["error"]["code"] == "gateway_timeout"
            assert program.hear() == "b''"
            assert client.get("/").text == "okay"  # it is only the beginning that has to hurry

    def test_a_request_that_is_still_on_its_way(self, elsewhere: Callable[..., Program]) -> None:
        program = elsewhere(ECHO, key=KEY, port_answer_timeout="0.6")
        with program.raw(program.head("POST / HTTP/1.1", Content_Length="5")) as sock:
            for letter in b"hello":
                time.sleep(0.3)
                sock.sendall(bytes([letter]))
            assert b'"hello"' in read_until(sock, b"peer")

    def test_a_request_that_stands_still(self, elsewhere: Callable[..., Program]) -> None:
        program = elsewhere(ECHO, key=KEY, port_answer_timeout="0.3")
        with program.raw(program.head("POST / HTTP/1.1", Content_Length="5")) as sock:
            sock.sendall(b"hell")
            assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 504 ")

    def test_a_connection(self, elsewhere: Callable[..., Program]) -> None:
        program = elsewhere(
            """
listener = socket.create_server(("127.0.0.1", 0), backlog=0)
full = socket.create_connection(listener.getsockname())
say(listener.getsockname()[1])
threading.Event().wait()
""",
            key=KEY,
            port_connect_timeout="0.3",
        )
        with program.client() as client:
            for method in ("GET", "POST"):
                response = client.request(method, "/")
                assert response.status_code == 504
                assert response.headers["x-sandlot-proxy"] == "gateway_timeout"


class TestSandboxesThatEnd:
    """Sandboxes that are destroyed in the middle of something."""

    def test_before_the_answer(self, serve: Serve) -> None:
        program = serve("""
def handle(peer):
    head(peer)
    say("waiting")
    peer.recv(1)
listen(handle)
""")
        with program.raw(program.head()) as sock:
            assert program.hear() == "waiting"
            assert program.box.client.delete(program.box.url()).status_code == 204
            text = read_until(sock, b"}")
        assert text.startswith(b"HTTP/1.1 502 ")
        assert b"x-sandlot-proxy: agent_error" in text

    def test_in_the_answer(self, serve: Serve) -> None:
        program = serve(saying(HEAD + b"\r\nhello", "peer.recv(1)"))
        with program.raw(program.head()) as sock:
            _ = read_until(sock, b"hello")
            assert program.box.client.delete(program.box.url()).status_code == 204
            assert not read_all(sock).endswith(b"0\r\n\r\n")


class TestServersThatStop:
    """Servers that are told to stop while something goes on."""

    def test_they_stop_at_once(self, elsewhere: Callable[..., Program]) -> None:
        program = elsewhere(
            """
def handle(peer):
    found, _ = head(peer)
    if b"upgrade" in found:
        peer.sendall(b"HTTP/1.1 101 Go\\r\\nupgrade: websocket\\r\\n\\r\\n")
    elif b"/stream" in found:
        peer.sendall(b"HTTP/1.1 200 OK\\r\\n\\r\\nhello")
    say("there")
    peer.recv(1)
listen(handle)
""",
            key=KEY,
        )
        upgrade = program.head(Connection="Upgrade", Upgrade="websocket")
        stream, wait = program.head("GET /stream HTTP/1.1"), program.head()
        with program.raw(upgrade) as tunnel, program.raw(stream) as one, program.raw(wait) as other:
            assert [program.hear() for _ in range(3)] == ["there"] * 3
            _ = read_until(tunnel, b"\r\n\r\n")
            _ = read_until(one, b"hello")
            began = time.monotonic()
            program.server.process.terminate()
            assert read_all(tunnel) == b""
            assert not read_all(one).endswith(b"0\r\n\r\n")
            text = read_all(other)
            assert text.startswith(b"HTTP/1.1 503 ")
            assert b"x-sandlot-proxy: host_unavailable" in text
            assert program.server.wait() == 0
            assert time.monotonic() - began < 5


def test_nothing_is_left_of_anything(serve: Serve) -> None:
    echo = serve(ECHO)
    broken = serve(saying(HEAD + b"Content-Length: 50\r\n\r\nhello"))
    silent = serve(saying(b""))
    process = psutil.Process(echo.server.process.pid)

    def once() -> None:
        with echo.client() as client, broken.client() as other, silent.client() as third:
            assert client.get("/").status_code == 200
            assert client.post("/", content=bytes(100_000)).status_code == 200
            assert third.get("/").status_code == 502
            with pytest.raises(httpx.RemoteProtocolError):
                _ = other.get("/")
        with echo.raw(echo.head("POST / HTTP/1.1", Content_Length="50")):
            pass

    once()
    before = process.num_fds()
    for _ in range(20):
        once()
    eventually(lambda: process.num_fds() <= before, 30)


def test_the_log_tells_of_ports_and_not_of_paths(serve: Serve) -> None:
    program = serve(ECHO)
    with program.client() as client:
        response = client.get("/secret-path?secret=query", headers={"X-Request-Id": "req-of-mine"})
        assert response.headers["x-request-id"] == "req-of-mine"
    line = program.server.wait_for(lambda line: line.get("request_id") == "req-of-mine")
    assert (line["route"], line["port"], line["status"]) == ("port", program.port, 200)
    assert line["sandbox_id"] == program.box.id
    assert "secret" not in str(line)


def test_nothing_is_logged_that_looks_like_a_crash(serve: Serve) -> None:
    program = serve(saying(HEAD + b"Content-Length: 50\r\n\r\nhello"))
    with program.client() as client, pytest.raises(httpx.RemoteProtocolError):
        _ = client.get("/", headers={"X-Request-Id": "req-cut"})
    line = program.server.wait_for(lambda line: line.get("request_id") == "req-cut")
    assert (line["level"], line["outcome"]) == ("info", "cut")


def test_websockets_to_a_program_that_dies(serve: Serve) -> None:
    program = serve(WEBSOCKET)
    with program.websocket() as connection:
        _ = connection.recv(20)
        program.kill()
        with pytest.raises(ConnectionClosed):
            _ = connection.recv(5)
