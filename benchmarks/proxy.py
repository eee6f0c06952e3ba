"""Requests and WebSockets to a port of a sandbox, against the same from inside the sandbox."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.report import Row
from sandlot import Client
from sandlot.local import EmbeddedServer
from sandlot.sandbox import Sandbox

SERVER = """
import socket, sys, threading

PIECE = bytes(1 << 20)

def serve(peer):
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while head := peer.recv(65536):
        while b"\\r\\n\\r\\n" not in head:
            head += peer.recv(65536)
        if b"websocket" in head:
            peer.sendall(b"HTTP/1.1 101 Go\\r\\nupgrade: websocket\\r\\n\\r\\n")
            while data := peer.recv(65536):
                peer.sendall(data)
            return
        size = (256 << 20) if b" /mass " in head else 2
        peer.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % size
                     + (b"ok" if size == 2 else b""))
        if size > 2:
            for _ in range(256):
                peer.sendall(PIECE)

listener = socket.create_server(("127.0.0.1", 8000))
while True:
    peer, _ = listener.accept()
    threading.Thread(target=serve, args=(peer,), daemon=True).start()
"""

CLIENT = """
import http.client, json, socket, statistics, sys, time

ROUNDS = 1000
told = json.load(sys.stdin)
place, headers = (told["host"], told["port"]), told["headers"]

def median(action):
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times[ROUNDS // 10:]) * 1000

def ask(connection, method="GET"):
    connection.request(method, "/", headers=headers)
    assert connection.getresponse().read() == b"ok"

def ask_anew():
    connection = http.client.HTTPConnection(*place)
    ask(connection)
    connection.close()

def mass(connection):
    began = time.perf_counter()
    connection.request("GET", "/mass", headers=headers)
    response, total, buffer = connection.getresponse(), 0, bytearray(1 << 18)
    while count := response.readinto(buffer):
        total += count
    return total / (time.perf_counter() - began) / 1e9

kept = http.client.HTTPConnection(*place)
kept.connect()
kept.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
figures = {
    "get": median(lambda: ask(kept)),
    "post": median(lambda: ask(kept, "POST")),
    "anew": median(ask_anew),
    "mass": max(mass(kept) for _ in range(3)),
}
sock = socket.create_connection(place)
sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
lines = ["GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket"]
lines += [f"{name}: {value}" for name, value in headers.items()]
sock.sendall("\\r\\n".join(lines).encode() + b"\\r\\n\\r\\n")
assert b" 101 " in sock.recv(65536)

def echo():
    sock.sendall(b"x" * 64)
    assert len(sock.recv(65536)) == 64

print(json.dumps({**figures, "echo": median(echo)}))
"""


def _inside(sandbox: Sandbox) -> dict[str, float]:
    told = {"host": "127.0.0.1", "port": 8000, "headers": {"Host": "localhost:8000"}}
    result = sandbox.exec(["python3", "client.py"], stdin=json.dumps(told), check=True)
    figures: dict[str, float] = json.loads(result.stdout)
    return figures


def _through(server: EmbeddedServer, sandbox: Sandbox) -> dict[str, float]:
    port = int(server.base_url.rpartition(":")[2])
    headers = {"Host": f"8000-{sandbox.id}.localhost", "X-API-Key": server.api_key}
    told = {"host": "127.0.0.1", "port": port, "headers": headers}
    result = subprocess.run(
        [sys.executable, "-c", CLIENT],
        input=json.dumps(told).encode(),
        capture_output=True,
        check=True,
    )
    figures: dict[str, float] = json.loads(result.stdout)
    return figures


def run() -> list[Row]:
    """Compare round trips and a download."""
    server = EmbeddedServer.start()
    try:
        with (
            Client(server.api_key, base_url=server.base_url) as client,
            client.sandboxes.create("base-python") as sandbox,
        ):
            sandbox.upload("server.py", SERVER.encode())
            sandbox.upload("client.py", CLIENT.encode())
            _ = sandbox.exec(
                "python3 server.py > log 2>&1 & until grep -q 1F40 /proc/net/tcp; do :; done"
            )
            inside, through = _inside(sandbox), _through(server, sandbox)
    finally:
        server.close()
    against = "the same inside the sandbox"
    return [
        *(
            Row(what, through[name], inside[name], "ms", against)
            for name, what in (
                ("get", "GET"),
                ("post", "POST"),
                ("anew", "GET, new connection"),
                ("echo", "WebSocket echo"),
            )
        ),
        Row(
            "download of 256 MiB",
            through["mass"],
            inside["mass"],
            "GB/s",
            against,
            more_is_better=True,
        ),
    ]
