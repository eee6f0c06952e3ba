"""Connections of a sandbox to the outside, against the same from a program of the host.

Both speak to a server on an address of this machine.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

from benchmarks.report import Row
from sandlot import Client
from sandlot.local import EmbeddedServer

SERVER = """
import socket, sys, threading

SIZE, PIECE = 256 << 20, bytes(1 << 20)

def serve(peer):
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = bytearray(1 << 20)
    while word := peer.recv(1):
        if word == b"e":
            peer.sendall(word)
        elif word == b"d":
            for _ in range(SIZE >> 20):
                peer.sendall(PIECE)
        else:
            left = SIZE
            while left:
                left -= peer.recv_into(buffer, min(left, len(buffer)))
            peer.sendall(word)
    peer.close()

listener = socket.create_server((sys.argv[1], 0), backlog=128)
print(listener.getsockname()[1], flush=True)
while True:
    peer, _ = listener.accept()
    threading.Thread(target=serve, args=(peer,), daemon=True).start()
"""

CLIENT = """
import json, socket, statistics, sys, time

SIZE, PIECE = 256 << 20, bytes(1 << 20)
place = sys.argv[1], int(sys.argv[2])

def median(action, rounds):
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000

def rate(action):
    began = time.perf_counter()
    action()
    return SIZE / (time.perf_counter() - began) / 1e6

def echo():
    sock.sendall(b"e")
    assert sock.recv(1) == b"e"

def download():
    sock.sendall(b"d")
    left, buffer = SIZE, bytearray(1 << 18)
    while left:
        left -= sock.recv_into(buffer, min(left, len(buffer)))

def upload():
    sock.sendall(b"u")
    for _ in range(SIZE >> 20):
        sock.sendall(PIECE)
    assert sock.recv(1) == b"u"

sock = socket.create_connection(place)
sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
print(json.dumps({
    "connect": median(lambda: socket.create_connection(place).close(), 300),
    "echo": median(echo, 1000),
    "download": max(rate(download) for _ in range(3)),
    "upload": max(rate(upload) for _ in range(3)),
}))
"""


def _own_address() -> str:
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.connect(("198.51.100.1", 9))  # nothing is sent
        address: str = sock.getsockname()[0]
        return address


def _measure(address: str, port: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return the figures of the sandbox and those of the host."""
    os.environ["SANDLOT_SERVER_OUTBOUND_ALLOW"] = json.dumps([address])
    try:
        server = EmbeddedServer.start()
    finally:
        del os.environ["SANDLOT_SERVER_OUTBOUND_ALLOW"]
    try:
        with (
            Client(server.api_key, base_url=server.base_url) as client,
            client.sandboxes.create("base-python", network="outbound") as sandbox,
        ):
            arguments = ["python3", "-c", CLIENT, address, port]
            inside = sandbox.exec(arguments, timeout_sec=300, check=True).stdout
    finally:
        server.close()
    outside = subprocess.run(
        [sys.executable, "-c", CLIENT, address, port], capture_output=True, check=True
    ).stdout
    return json.loads(inside), json.loads(outside)


def run() -> list[Row]:
    """Compare new connections, round trips and mass transfers."""
    address = _own_address()
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, address], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            inside, outside = _measure(address, server.stdout.readline().strip())
        finally:
            server.kill()
    against = "the same from the host"
    return [
        Row("new connection", inside["connect"], outside["connect"], "ms", against),
        Row("round trip", inside["echo"], outside["echo"], "ms", against),
        *(
            Row(
                f"{name} of 256 MiB",
                inside[name],
                outside[name],
                "MB/s",
                against,
                more_is_better=True,
            )
            for name in ("download", "upload")
        ),
    ]
