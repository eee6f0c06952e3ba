"""WebSockets to ports of sandboxes: tunnels, that is."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator

import psutil
import pytest
from harness import KEY, eventually
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from .conftest import Serve
from .programs import WEBSOCKET, Program, read_all, read_until

MIB = 1 << 20

SWITCH = """
def switch(peer, extra=b""):
    found, rest = head(peer)
    peer.sendall(b"HTTP/1.1 101 Go\\r\\nupgrade: WebSocket\\r\\n\\r\\n" + extra)
    return rest
"""
"""Answers a handshake; what follows need be no WebSocket, as nobody reads it on the way."""


@contextlib.contextmanager
def switched(program: Program) -> Iterator[socket.socket]:
    """Give a connection that has become a tunnel."""
    with program.raw(program.head(Connection="Upgrade", Upgrade="websocket")) as sock:
        assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        yield sock


def test_a_conversation(serve: Serve) -> None:
    program = serve(WEBSOCKET)
    with program.websocket("/some/path?a=b") as connection:
        headers = dict(json.loads(connection.recv(20)))
        assert headers["host"] == f"localhost:{program.port}"
        assert headers["x-forwarded-host"] == program.host
        assert KEY not in str(headers)
        for message in ("text", b"bytes", "gr\u00fc\u00df", b"", "x" * 100_000):
            connection.send(message)
            assert connection.recv(20) == message
        pong = connection.ping(b"are you there?")
        assert pong.wait(20)
    assert connection.close_code == 1000
    assert program.hear() == "closed 1000"


def test_messages_of_64_mib(serve: Serve) -> None:
    """They are larger than anything the server takes itself, and it holds none of them."""
    program = serve(WEBSOCKET)
    message = os.urandom(64 * MIB)
    process = psutil.Process(program.server.process.pid)
    with program.websocket() as connection:
        _ = connection.recv(20)
        connection.send(b"warm")
        _ = connection.recv(20)
        before = process.memory_info().rss
        for _ in range(2):
            connection.send(message)
            assert connection.recv(60) == message
        assert process.memory_info().rss - before < 16 * MIB


def test_subprotocols_are_between_the_two(serve: Serve) -> None:
    offer = 'compression=None, subprotocols=["one", "two"]'
    program = serve(WEBSOCKET.replace("compression=None", offer))
    with program.websocket(subprotocols=["two"]) as connection:
        assert connection.subprotocol == "two"


def test_a_program_that_closes(serve: Serve) -> None:
    program = serve(
        WEBSOCKET.replace("talk(connection)\n", 'connection.close(4001, "enough")\n').replace(
            "serve(talk", "serve(quick"
        )
    )
    with program.websocket() as connection:
        with pytest.raises(ConnectionClosedError):
            _ = connection.recv(20)
        assert (connection.close_code, connection.close_reason) == (4001, "enough")


@pytest.mark.parametrize("status", ["403 No", "200 OK"])
def test_a_program_that_refuses(serve: Serve, status: str) -> None:
    program = serve(f"""
def handle(peer):
    head(peer)
    peer.sendall(b"HTTP/1.1 {status}\\r\\nContent-Length: 6\\r\\nX-Why: so\\r\\n\\r\\nbecause"[:-1])
listen(handle)
""")
    with pytest.raises(InvalidStatus) as caught, program.websocket():
        pass
    response = caught.value.response
    assert response.status_code == int(status.split()[0])
    assert (response.headers["x-why"], response.body) == ("so", b"becaus")
    assert "x-sandlot-proxy" not in response.headers


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 X\r\n\r\n",
        b"HTTP/1.1 101 X\r\nupgrade: websocket\r\nupgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 X\r\nupgrade: websocket\r\nx: a\x01b\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"",
    ],
)
def test_handshakes_that_are_none(serve: Serve, answer: bytes) -> None:
    program = serve(f"""
def handle(peer):
    head(peer)
    peer.sendall({answer!r})
    peer.close()
listen(handle)
""")
    with pytest.raises(InvalidStatus) as caught, program.websocket():
        pass
    assert caught.value.response.status_code == 502
    assert caught.value.response.headers["x-sandlot-proxy"] == "bad_gateway"


def test_a_closed_port(serve: Serve) -> None:
    program = serve(WEBSOCKET)
    program.port = 1
    with pytest.raises(InvalidStatus) as caught, program.websocket():
        pass
    assert caught.value.response.headers["x-sandlot-proxy"] == "port_closed"


def test_what_comes_with_the_handshake(serve: Serve) -> None:
    program = serve(
        SWITCH
        + """
def handle(peer):
    switch(peer, b"at once")
    peer.close()
listen(handle)
"""
    )
    for _ in range(20):
        with program.raw(program.head(Connection="Upgrade", Upgrade="websocket")) as sock:
            assert read_all(sock).endswith(b"\r\n\r\nat once")


def test_the_client_has_said_all(serve: Serve) -> None:
    """One direction ends, the other goes on."""
    program = serve(
        SWITCH
        + """
def handle(peer):
    data = switch(peer)
    while piece := peer.recv(65536):
        data += piece
    peer.sendall(data.upper())
    peer.close()
listen(handle)
"""
    )
    with switched(program) as sock:
        sock.sendall(b"all of it")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"ALL OF IT"


def test_the_program_has_said_all(serve: Serve) -> None:
    program = serve(
        SWITCH
        + """
def handle(peer):
    switch(peer)
    data = peer.recv(1)
    peer.sendall(b"all of it")
    peer.shutdown(socket.SHUT_WR)
    while piece := peer.recv(65536):
        data += piece
    say(data.decode())
listen(handle)
"""
    )
    with switched(program) as sock:
        sock.sendall(b"?")
        assert read_all(sock) == b"all of it"
        sock.sendall(b"more")
        sock.shutdown(socket.SHUT_WR)
        assert program.hear() == "?more"


def test_a_program_that_resets(serve: Serve) -> None:
    program = serve(
        SWITCH
        + """
def handle(peer):
    switch(peer)
    peer.recv(1)
    reset(peer)
listen(handle)
"""
    )
    with switched(program) as sock:
        sock.sendall(b"x")
        assert read_all(sock) == b""


def test_a_client_that_resets(serve: Serve) -> None:
    program = serve(
        SWITCH
        + """
def handle(peer):
    switch(peer)
    try:
        say("end", peer.recv(1))
    except OSError as error:
        say("error", error.errno)
listen(handle)
"""
    )
    with switched(program) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert program.hear().split()[0] in ("end", "error")


FLOOD = (
    SWITCH
    + """
def handle(peer):
    switch(peer)
    total = 0
    peer.settimeout(2)
    try:
        while True:
            total += peer.send(bytes(65536))
    except TimeoutError:
        say(total)
    peer.settimeout(None)
    peer.sendall(b"x")
    peer.close()
listen(handle)
"""
)


def test_a_client_that_does_not_read(serve: Serve) -> None:
    """The program has to wait, and the server holds next to nothing."""
    program = serve(FLOOD)
    process = psutil.Process(program.server.process.pid)
    before = process.memory_info().rss
    with program.raw() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.sendall(program.head(Connection="Upgrade", Upgrade="websocket"))
        assert read_until(sock, b"\r\n\r\n")
        sent = int(program.hear())
        assert sent < 32 * MIB
        assert process.memory_info().rss - before < 8 * MIB
        rest = 0
        while piece := sock.recv(1 << 20):
            rest += len(piece)
        assert rest + 65536 >= sent


def test_a_program_that_does_not_read(serve: Serve) -> None:
    program = serve(
        SWITCH
        + """
go = threading.Event()
def handle(peer):
    found, _ = head(peer)
    if b"/go" in found:
        go.set()
        return peer.sendall(b"HTTP/1.1 204 OK\\r\\n\\r\\n")
    peer.sendall(b"HTTP/1.1 101 Go\\r\\nconnection: upgrade\\r\\nupgrade: websocket\\r\\n\\r\\n")
    go.wait(30)
    total = 0
    while piece := peer.recv(1 << 20):
        total += len(piece)
    say(total)
listen(handle)
"""
    )
    process = psutil.Process(program.server.process.pid)
    before = process.memory_info().rss
    sent = 0
    with switched(program) as sock, program.client() as client:
        sock.settimeout(2)
        with contextlib.suppress(TimeoutError):
            while True:
                sent += sock.send(bytes(65536))
        assert sent < 32 * MIB
        assert process.memory_info().rss - before < 8 * MIB
        assert client.get("/go").status_code == 204
        sock.shutdown(socket.SHUT_WR)
        assert int(program.hear()) == sent


class TestSandboxesThatChange:
    """What becomes of tunnels when their sandboxes pause, wake and go."""

    def test_destroyed(self, serve: Serve) -> None:
        program = serve(WEBSOCKET)
        with program.websocket() as connection:
            _ = connection.recv(20)
            assert program.box.client.delete(program.box.url()).status_code == 204
            with pytest.raises(ConnectionClosed):
                _ = connection.recv(5)

    def test_destroyed_while_paused(self, serve: Serve) -> None:
        program = serve(WEBSOCKET)
        with program.websocket() as connection:
            _ = connection.recv(20)
            assert program.box.post("/pause").status_code == 200
            assert program.box.client.delete(program.box.url()).status_code == 204
            with pytest.raises(ConnectionClosed):
                _ = connection.recv(5)

    def test_paused_and_resumed(self, serve: Serve) -> None:
        program = serve(WEBSOCKET)
        with program.websocket() as connection:
            _ = connection.recv(20)
            assert program.box.post("/pause").status_code == 200
            connection.send("while it is paused")
            with pytest.raises(TimeoutError):
                _ = connection.recv(0.3)
            assert program.box.get()["status"] == "paused"
            assert program.box.post("/resume").status_code == 200
            assert connection.recv(20) == "while it is paused"


def test_other_upgrades_are_not_passed_on(serve: Serve) -> None:
    program = serve("""
def handle(peer):
    while found := head(peer)[0]:
        say(b"upgrade" in found.lower())
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
listen(handle)
""")
    for headers in (
        {"Connection": "Upgrade", "Upgrade": "h2c"},
        {"Connection": "Upgrade", "Upgrade": "websocket, h2c"},
        {"Upgrade": "websocket"},
    ):
        with program.client(headers=headers) as client:
            assert client.get("/").text == "ok"
        assert program.hear() == "False"
    with program.client(headers={"Connection": "Upgrade", "Upgrade": "websocket"}) as client:
        assert client.delete("/").text == "ok"
    assert program.hear() == "False"


def test_many_at_once(serve: Serve) -> None:
    program = serve(WEBSOCKET)
    problems: list[BaseException] = []

    def talk(name: str) -> None:
        try:
            with program.websocket() as connection:
                _ = connection.recv(30)
                for number in range(20):
                    connection.send(f"{name} {number}")
                    assert connection.recv(30) == f"{name} {number}"
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=talk, args=(f"t{number}",)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems


def test_nothing_is_left_of_them(serve: Serve) -> None:
    polite = serve(WEBSOCKET)
    rude = serve(
        SWITCH
        + """
def handle(peer):
    switch(peer)
    peer.recv(1)
    reset(peer)
listen(handle)
"""
    )
    process = psutil.Process(polite.server.process.pid)

    def once() -> None:
        with polite.websocket() as connection:
            _ = connection.recv(20)
        with switched(rude) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with switched(rude) as sock:
            sock.sendall(b"x")
            assert read_all(sock) == b""

    once()  # so that what is opened once is open
    before = process.num_fds()
    for _ in range(20):
        once()
    eventually(lambda: process.num_fds() <= before)
