"""What sandboxes may connect to in tests: servers on an address of this machine."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_network

from sandlot.server.engine.local.destinations import Network

SOMEWHERE = {socket.AF_INET: "198.51.100.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses that nobody has (RFC 5737, RFC 3849)."""


def own_address(family: int = socket.AF_INET) -> str | None:
    """Return an address of this machine that is not that of its loopback interface."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((SOMEWHERE[socket.AddressFamily(family)], 9))  # nothing is sent
        except OSError:
            return None
        address: str = sock.getsockname()[0]
        return address


def own_networks() -> list[Network]:
    """Return those addresses one by one, to be allowed."""
    found = [own_address(family) for family in SOMEWHERE]
    return [ip_network(address) for address in found if address is not None]


@contextlib.contextmanager
def serving(
    address: str, handle: Callable[[socket.socket], object], port: int = 0
) -> Iterator[int]:
    """Serve each connection in a thread, from this machine; yield the port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, port), family=family, backlog=256) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    threading.Thread(target=run, args=(peer,), daemon=True).start()

        def run(peer: socket.socket) -> None:
            with peer, contextlib.suppress(OSError, EOFError):
                _ = handle(peer)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)  # or accept would go on
        thread.join()


def receive(sock: socket.socket, size: int) -> bytes:
    """Receive exactly so much."""
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise EOFError("the end came too early")
        data += piece
    return data


def until_end(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(1 << 16):
        data += piece
    return data


def question(name: str = "example.test", number: int = 1, flags: int = 0x0100) -> bytes:
    """Return a question for an IPv4 address (RFC 1035)."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack(">6H", number, flags, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def answer(asked: bytes, address: str = "203.0.113.7", *, truncated: bool = False) -> bytes:
    """Return an answer to a question."""
    flags = 0x8180 | (0x0200 if truncated else 0)
    end = 12
    while asked[end]:
        end += 1 + asked[end]
    end += 5
    given = not truncated and asked[end - 3] == 1  # there is no IPv6 address
    head = asked[:2] + struct.pack(">5H", flags, 1, given, 0, 0) + asked[12:end]
    record = struct.pack(">HHHIH", 0xC00C, 1, 1, 60, 4) + socket.inet_aton(address)
    return head + record if given else head


@contextlib.contextmanager
def name_server(reply: Callable[[bytes, bool], bytes | None]) -> Iterator[int]:
    """Answer questions on the loopback interface, by UDP and TCP; yield the port.

    `reply` is given the question and whether it came by TCP.
    """

    def converse(peer: socket.socket) -> None:
        while True:
            asked = receive(peer, int.from_bytes(receive(peer, 2), "big"))
            said = reply(asked, True)
            if said is None:
                return
            peer.sendall(len(said).to_bytes(2, "big") + said)

    with serving("127.0.0.1", converse) as port, socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))

        def listen() -> None:
            while True:
                asked, client = sock.recvfrom(65536)
                if not asked:
                    return
                said = reply(asked, False)
                if said is not None:
                    _ = sock.sendto(said, client)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield port
        finally:
            with socket.socket(type=socket.SOCK_DGRAM) as last:
                _ = last.sendto(b"", ("127.0.0.1", port))
            thread.join()
