"""The network mode `outbound`: what can be reached, and how like the real thing that is."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import struct
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from ipaddress import ip_network
from pathlib import Path

import pytest

import sandlot
from sandlot.server.engine.base import EngineError, Exit, UnsuitableError
from sandlot.server.engine.local import LocalEngine, names, networks, outbound
from sandlot.server.engine.local import cgroups as local_cgroups
from sandlot.server.engine.local.destinations import Network
from sandlot.server.engine.local.packets import Opening

from .conftest import Box, _places, eventually, read_line, spec
from .outside import (
    SOMEWHERE,
    answer,
    name_server,
    own_address,
    own_networks,
    receive,
    serving,
    until_end,
)
from .test_connect import connect

OWN = own_address()
OWN_V6 = own_address(socket.AF_INET6)
PATHS = {"PYTHONPATH": str(Path(sandlot.__file__).parent.parent)}
HOST_NAMES = Path("/etc/resolv.conf").read_bytes().rstrip()
Open = Callable[..., AbstractAsyncContextManager[Box]]

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the local engine needs Linux"),
    pytest.mark.skipif(OWN is None, reason="this machine has no address to serve on"),
]
everywhere = pytest.mark.parametrize("engine_kind", ["local", "local-bare"])


@pytest.fixture
def open_out(engine_kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Open a sandbox that may reach the internet, and this machine as far as it is allowed."""
    versions = {"local": {1, 2}, "local-bare": set[int]()}[engine_kind]
    monkeypatch.setattr(local_cgroups, "find_places", _places(versions))

    @contextlib.asynccontextmanager
    async def open_out(
        allowed: list[Network] | None = None, network: str = "outbound"
    ) -> AsyncIterator[Box]:
        allowed = own_networks() if allowed is None else allowed
        data_dir = tmp_path / "data"
        before = set(os.listdir("/proc/self/fd"))
        engine = LocalEngine(data_dir, networks=("outbound", "full"), outbound_allow=allowed)
        await engine.start()
        try:
            yield Box(engine, await engine.create(spec(network=network)), data_dir)
        finally:
            await engine.close()
        await eventually(lambda: len(os.listdir("/proc/self/fd")) <= len(before))

    return open_out


def own() -> str:
    assert OWN is not None
    return OWN


REACH = """
import errno, socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as sock:
        print("connected", sock.getpeername()[0])
except OSError as error:
    print(errno.errorcode.get(error.errno, repr(error)))
"""


LATE = 28
FETCH = f"""
import sys, urllib.error, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])) as answer:
        sys.stdout.buffer.write(answer.read())
except urllib.error.URLError as error:
    sys.exit({LATE} if isinstance(error.reason, TimeoutError) else str(error))
"""


async def reach(box: Box, address: str, port: int) -> str:
    """Try to connect; return what happened."""
    result = await box.run("python3", "-c", REACH, address, str(port))
    return result.stdout.decode().strip()


@everywhere
async def test_the_web(open_out: Open) -> None:
    def handle(peer: socket.socket) -> None:
        _ = peer.recv(65536)
        peer.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + peer.getpeername()[0].encode())

    async with open_out() as box:
        assert "outbound" in box.engine.capabilities.network
        with serving(own(), handle) as port:
            result = await box.run("python3", "-c", FETCH, f"http://{OWN}:{port}/", "20")
        assert (result.stdout.decode(), result.stderr) == (OWN, b"")


@pytest.mark.skipif(OWN_V6 is None, reason="this machine has no IPv6 address")
async def test_ipv6(open_out: Open) -> None:
    assert OWN_V6 is not None
    async with open_out() as box:
        with serving(OWN_V6, lambda peer: peer.sendall(b"six")) as port:
            assert await reach(box, OWN_V6, port) == f"connected {OWN_V6}"
        assert await reach(box, OWN_V6, port) == "ECONNREFUSED"
        assert await reach(box, "fd00:ec2::254", 80) == "EACCES"
        assert await reach(box, "fe80::1", 80) == "EINVAL"
        assert await reach(box, "fe80::1%eth0", 80) == "ENETUNREACH"


async def test_without_ipv6_outside_there_is_none_inside(
    open_out: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs then try IPv4 at once, rather than after a timeout."""
    monkeypatch.setattr("sandlot.server.engine.local.networks.has_route", lambda: False)
    async with open_out() as box:
        assert await reach(box, SOMEWHERE[socket.AF_INET6], 80) == "ENETUNREACH"


EXCHANGE = """
import hashlib, socket, sys
down, up = hashlib.sha256(), hashlib.sha256()
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
size = int(sys.argv[3])
piece = bytes(range(256)) * 256
for _ in range(size // len(piece)):
    sock.sendall(piece)
sock.shutdown(socket.SHUT_WR)
while data := sock.recv(1 << 18):
    down.update(data)
print(down.hexdigest())
"""


@everywhere
async def test_much_in_both_directions(open_out: Open) -> None:
    size = 64 << 20
    up: list[str] = []
    piece = bytes(reversed(range(256))) * 256

    def handle(peer: socket.socket) -> None:
        digest = hashlib.sha256()
        while data := peer.recv(1 << 18):
            digest.update(data)
        up.append(digest.hexdigest())
        for _ in range(size // len(piece)):
            peer.sendall(piece)

    async with open_out() as box:
        with serving(own(), handle) as port:
            result = await box.run("python3", "-c", EXCHANGE, own(), str(port), str(size))
    assert up == [hashlib.sha256(bytes(range(256)) * (size // 256)).hexdigest()]
    down = hashlib.sha256(bytes(reversed(range(256))) * (size // 256)).hexdigest()
    assert result.stdout.decode().strip() == down


MANY = """
import socket, sys
socks = [socket.create_connection((sys.argv[1], int(sys.argv[2]))) for _ in range(200)]
for number, sock in enumerate(socks):
    sock.sendall(number.to_bytes(2, "big"))
assert [int.from_bytes(sock.recv(2), "big") for sock in socks] == list(range(200))
print("all")
"""


async def test_many_at_once(open_out: Open) -> None:
    async with open_out() as box:
        with serving(own(), lambda peer: peer.sendall(receive(peer, 2))) as port:
            result = await box.run("python3", "-c", MANY, own(), str(port))
        assert result.stdout == b"all\n", result.stderr


async def test_more_than_may_be_at_once_wait(
    open_out: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "_CONNECTIONS", 4)
    program = """
import select, socket, sys
socks = []
for _ in range(12):
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex((sys.argv[1], int(sys.argv[2])))
    socks.append(sock)
done = 0
while socks:
    print(len(socks), flush=True)
    _, ready, _ = select.select([], socks, [])
    for sock in ready:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        socks.remove(sock)
        sock.close()
"""
    most = 0
    there = 0
    lock = threading.Lock()

    def handle(peer: socket.socket) -> None:
        nonlocal most, there
        with lock:
            there += 1
            most = max(most, there)
        _ = until_end(peer)
        with lock:
            there -= 1

    async with open_out() as box:
        with serving(own(), handle) as port:
            result = await box.run("python3", "-c", program, own(), str(port))
        assert result.exit == Exit(0), result.stderr
    assert 0 < most <= 4


async def test_errors_are_the_real_ones(open_out: Open) -> None:
    """A connection is made inside only once it is made outside."""
    async with open_out() as box:
        with serving(own(), until_end) as port:
            pass
        assert await reach(box, own(), port) == "ECONNREFUSED"


async def test_a_destination_that_does_not_answer(
    open_out: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that waits outside waits inside too, and is given up by who began it."""
    with socket.create_server((own(), 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        full = [stack.enter_context(socket.socket()) for _ in range(8)]
        for sock in full:  # so that nothing more is answered
            sock.setblocking(False)
            _ = sock.connect_ex(listener.getsockname())
        program = REACH.replace("timeout=20", "timeout=2")
        async with open_out() as box:
            port = listener.getsockname()[1]
            result = await box.run("python3", "-c", program, own(), str(port))
            assert result.stdout == b"TimeoutError('timed out')\n"


async def test_half_closed(open_out: Open) -> None:
    program = """
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
assert sock.recv(10) == b"hello" and sock.recv(10) == b""
sock.sendall(b"still here")
sock.close()
"""
    heard: list[bytes] = []

    def handle(peer: socket.socket) -> None:
        peer.sendall(b"hello")
        peer.shutdown(socket.SHUT_WR)
        heard.append(until_end(peer))

    async with open_out() as box:
        with serving(own(), handle) as port:
            result = await box.run("python3", "-c", program, own(), str(port))
            assert result.exit == Exit(0), result.stderr
            await eventually(lambda: heard == [b"still here"])


async def test_resets_are_carried_over(open_out: Open) -> None:
    outward = """
import socket, struct, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
sock.recv(1)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
sock.close()
"""
    inward = """
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
sock.sendall(b"x")
try:
    sock.recv(1)
except ConnectionResetError:
    print("reset")
"""
    ends: list[object] = []

    def expect(peer: socket.socket) -> None:
        peer.sendall(b"x")
        try:
            ends.append(peer.recv(1))
        except OSError as error:
            ends.append(type(error))

    def reset(peer: socket.socket) -> None:
        _ = peer.recv(1)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async with open_out() as box:
        with serving(own(), expect) as port:
            result = await box.run("python3", "-c", outward, own(), str(port))
            assert result.exit == Exit(0), result.stderr
            await eventually(lambda: ends == [ConnectionResetError])
        with serving(own(), reset) as port:
            result = await box.run("python3", "-c", inward, own(), str(port))
            assert result.stdout == b"reset\n", result.stderr


FORBIDDEN = [
    "169.254.169.254",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::ffff:169.254.169.254",
    "2852039166",  # 169.254.169.254 in one number
    "0xa9fea9fe",
]


@everywhere
async def test_what_is_never_reached(open_out: Open) -> None:
    program = f"""
import errno, socket
for address in {FORBIDDEN!r}:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family)
    print(address, errno.errorcode.get(sock.connect_ex((address, 80)), "?"))
"""
    async with open_out([]) as box:
        result = await box.python(program)
        lines = dict(line.split() for line in result.stdout.decode().splitlines())
    allowed = {"EHOSTUNREACH", "ENETUNREACH", "EACCES"}
    assert {address: code for address, code in lines.items() if code not in allowed} == {}
    assert len(lines) == len(FORBIDDEN)


@everywhere
async def test_this_machine_is_not_the_internet(open_out: Open) -> None:
    """Neither its addresses nor its loopback, not even if its network is allowed."""
    reached: list[object] = []
    async with open_out([ip_network("0.0.0.0/0"), ip_network("::/0")]) as box:
        with (
            serving(own(), reached.append) as port,
            serving("127.0.0.1", reached.append, port),
        ):
            assert await reach(box, own(), port) == "EHOSTUNREACH"
            assert await reach(box, f"::ffff:{OWN}", port) == "EHOSTUNREACH"
            for address in ("127.0.0.1", "127.1.2.3", "0.0.0.0", "::1", "localhost", "2130706433"):
                assert await reach(box, address, port) == "ECONNREFUSED"
    assert reached == []


async def test_a_name_that_means_something_else_now(
    open_out: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is checked is what is connected to, whatever a name meant when it was asked for."""
    addresses = iter(["203.0.113.7", "127.0.0.1", "169.254.169.254", own()])
    reached: list[object] = []

    def reply(asked: bytes, _: bool) -> bytes:
        return answer(asked, next(addresses) if asked[-3] == 1 else "")

    with name_server(reply) as names, serving(own(), reached.append) as port:
        monkeypatch.setattr(networks, "find_servers", lambda: [("127.0.0.1", names)])
        async with open_out([]) as box:
            program = """
import socket, sys
socket.gethostbyname("rebound.test")
for _ in range(3):
    sock = socket.socket()
    print(sock.connect_ex((socket.gethostbyname("rebound.test"), int(sys.argv[1]))) != 0)
"""
            result = await box.run("python3", "-c", program, str(port))
            assert result.stdout == b"True\nTrue\nTrue\n", result.stderr
    assert reached == []


async def test_other_sandboxes_are_not_reached(open_out: Open) -> None:
    listen = """
import socket
listener = socket.create_server(("0.0.0.0", 8080))
print("there", flush=True)
listener.accept()
print("reached", flush=True)
"""
    async with open_out() as box:
        process = await box.start_python(listen)
        assert await read_line(process) == b"there\n"
        other = Box(
            box.engine, await box.engine.create(spec("other", network="outbound")), box.data_dir
        )
        for address in ("192.0.0.8", "127.0.0.1", own()):
            assert await reach(other, address, 8080) in ("ECONNREFUSED", "EHOSTUNREACH")
        assert await reach(box, "192.0.0.8", 8080) == "connected 192.0.0.8"
        assert await read_line(process) == b"reached\n"
        await process.close()


@everywhere
async def test_programs_that_listen_are_left_alone(open_out: Open) -> None:
    """A port of the sandbox is its own, even if the same port is connected to elsewhere."""
    listen = """
import socket
listener = socket.create_server(("0.0.0.0", int(input())))
print("there", flush=True)
while True:
    peer, _ = listener.accept()
    peer.sendall(b"inside")
    peer.close()
"""
    ask = """
import socket, sys
for address in ("127.0.0.1", "192.0.0.8", sys.argv[1]):
    print(socket.create_connection((address, int(sys.argv[2]))).recv(10).decode())
"""
    async with open_out() as box:
        with serving(own(), lambda peer: peer.sendall(b"outside")) as port:
            process = await box.start_python(listen, stdin=True)
            await process.write_stdin(b"%d\n" % port)
            assert await read_line(process) == b"there\n"
            result = await box.run("python3", "-c", ask, own(), str(port))
            assert result.stdout == b"inside\ninside\noutside\n", result.stderr
            transport, reader = await connect(box, port)
            await eventually(lambda: reader.data == b"inside")
            transport.abort()
            await process.close()


async def test_reserved_ports_are_not_to_be_had(open_out: Open) -> None:
    """The listener of the agent is reached by nobody but who the server lets in."""
    program = """
import errno, socket
for address, port in ("127.0.0.1", 1), ("127.0.0.1", 53), ("192.0.0.8", 1), ("::1", 1):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        try:
            sock.bind((address, port))
        except PermissionError:
            print("bind")
        if port != 53:
            print(errno.errorcode[sock.connect_ex((address, port))])
with socket.socket() as sock:
    try:
        sock.setsockopt(socket.SOL_SOCKET, 36, 1)  # SO_MARK
    except PermissionError:
        print("mark")
"""
    async with open_out() as box:
        result = await box.python(program)
    words = result.stdout.decode().split()
    assert words == ["bind", "ECONNREFUSED", "bind"] + ["bind", "ECONNREFUSED"] * 2 + ["mark"]


async def test_other_protocols_fail_at_once(open_out: Open) -> None:
    program = f"""
import socket
for address in ("{SOMEWHERE[socket.AF_INET]}", "{OWN}", "224.0.0.251"):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.sendto(b"x", (address, 443))
    except PermissionError:
        print("refused")
"""
    async with open_out() as box:
        result = await box.python(program)
        assert result.stdout == b"refused\n" * 3, result.stderr


@everywhere
async def test_names(open_out: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def reply(asked: bytes, _: bool) -> bytes:
        return answer(asked, own())

    with name_server(reply) as names, serving(own(), lambda p: p.sendall(b"named")) as port:
        monkeypatch.setattr(networks, "find_servers", lambda: [("127.0.0.1", names)])
        async with open_out() as box:
            assert await reach(box, "some.where.test", port) == f"connected {OWN}"
            assert await box.read("/etc/resolv.conf") == b"nameserver 127.0.0.1\n"


async def test_long_answers_by_tcp(open_out: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    ways: list[bool] = []

    def reply(asked: bytes, tcp: bool) -> bytes:
        ways.append(tcp)
        return answer(asked, "203.0.113.7", truncated=not tcp)

    with name_server(reply) as names:
        monkeypatch.setattr(networks, "find_servers", lambda: [("127.0.0.1", names)])
        async with open_out() as box:
            result = await box.run("getent", "ahostsv4", "long.test")
            assert result.stdout.startswith(b"203.0.113.7 "), result
    assert set(ways) == {False, True}


async def test_a_slow_reader_costs_nothing(open_out: Open) -> None:
    """What nobody reads stays with who sends it."""
    program = """
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print("there", flush=True)
input()
total = 0
while data := sock.recv(1 << 20):
    total += len(data)
print(total)
"""
    sent = 0
    size = 256 << 20

    def handle(peer: socket.socket) -> None:
        nonlocal sent
        piece = bytes(1 << 20)
        while sent < size:
            peer.sendall(piece)
            sent += len(piece)

    async with open_out() as box:
        with serving(own(), handle) as port:
            process = await box.start("python3", "-c", program, own(), str(port), stdin=True)
            assert await read_line(process) == b"there\n"
            before = -1
            while sent != before:  # until nothing moves any more
                before = sent
                await asyncio.sleep(0.2)
            assert sent < 64 << 20
            await process.write_stdin(b"\n")
            assert int(await read_line(process)) == size
            await process.close()


async def test_a_flood_is_bounded(open_out: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one sandbox can make the server do in a second is bounded by the kernel."""
    program = """
import socket, time
began = time.monotonic()
while time.monotonic() < began + 2:
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.connect_ex(("10.0.0.1", 53))
again = time.monotonic()
with socket.socket(type=socket.SOCK_DGRAM) as sock:
    while time.monotonic() < again + 2:
        try:
            sock.sendto(b"x" * 20, ("127.0.0.1", 53))
        except OSError:
            pass
print(time.monotonic() - began)
"""
    connections = questions = 0
    parse, check = outbound.parse_opening, names._is_question

    def count_connection(packet: bytes) -> Opening:
        nonlocal connections
        connections += 1
        return parse(packet)

    def count_question(message: bytes) -> bool:
        nonlocal questions
        questions += 1
        return check(message)

    monkeypatch.setattr(outbound, "parse_opening", count_connection)
    monkeypatch.setattr(names, "_is_question", count_question)
    async with open_out() as box:
        result = await box.python(program)
        bound = 1000 * (float(result.stdout) - 1)  # a burst, and two of the four seconds
    assert 1000 < connections <= bound
    assert 1000 < questions <= bound


async def test_destroying_ends_connections(open_out: Open) -> None:
    ended = threading.Event()

    def handle(peer: socket.socket) -> None:
        peer.sendall(b"x")
        with contextlib.suppress(ConnectionError):
            _ = until_end(peer)
        ended.set()

    async with open_out() as box:
        with serving(own(), handle) as port:
            program = f"""
import socket
sock = socket.create_connection(({OWN!r}, {port}))
print(sock.recv(1), flush=True)
input()
"""
            process = await box.start_python(program, stdin=True)
            assert await read_line(process) == b"b'x'\n"
            await box.engine.destroy("box")
            await eventually(ended.is_set)
            await process.close()


async def test_a_paused_sandbox_keeps_its_connections(open_out: Open) -> None:
    program = f"""
import socket
sock = socket.create_connection(({OWN!r}, int(input())))
print(sock.recv(10).decode(), flush=True)
"""
    ready = threading.Event()

    def handle(peer: socket.socket) -> None:
        assert ready.wait(20)
        peer.sendall(b"patience")

    async with open_out() as box:
        with serving(own(), handle) as port:
            process = await box.start_python(program, stdin=True)
            await process.write_stdin(b"%d\n" % port)
            await box.until("grep -q 0100007F:0001 /proc/net/tcp || grep -q ' 01 ' /proc/net/tcp")
            await box.sandbox.pause()
            ready.set()
            await box.sandbox.resume()
            assert await read_line(process) == b"patience\n"
            await process.close()


async def test_none_has_no_way_out(open_out: Open) -> None:
    async with open_out(network="none") as box:
        with serving(own(), until_end) as port:
            assert await reach(box, own(), port) == "ENETUNREACH"


@everywhere
async def test_full_is_the_network_of_the_host(open_out: Open) -> None:
    async with open_out(network="full") as box:
        assert list(box.engine.capabilities.network) == ["none", "outbound", "full"]
        with serving("127.0.0.1", lambda peer: peer.sendall(b"loop")) as port:
            assert await reach(box, "127.0.0.1", port) == "connected 127.0.0.1"
        assert (await box.read("/etc/resolv.conf")).rstrip() == HOST_NAMES
        assert b"127.0.0.1 sandbox\n" in await box.read("/etc/hosts")


async def test_full_is_not_for_templates_that_listen(open_out: Open) -> None:
    """Every program of the host could use what listens, and it asks for no password."""
    async with open_out() as box:
        if "python-jupyter" not in box.engine.capabilities.templates:
            pytest.skip("the template is not installed")
        with pytest.raises(UnsuitableError, match="full"):
            _ = await box.engine.create(spec("other", template="python-jupyter", network="full"))


async def test_modes_that_are_not_offered(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path / "data", networks=())
    await engine.start()
    try:
        assert engine.capabilities.network == ["none"]
        for mode in ("outbound", "full"):
            with pytest.raises(UnsuitableError):
                _ = await engine.create(spec(network=mode))
    finally:
        await engine.close()


async def test_a_kernel_that_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not work is not offered, and capabilities say why."""

    async def fail(*_: object) -> None:
        raise EngineError("packet filter: Operation not supported")

    monkeypatch.setattr(outbound.Outbound, "open", fail)
    engine = LocalEngine(tmp_path / "data")
    await engine.start()
    try:
        assert engine.capabilities.network == ["none"]
        assert "packet filter: Operation not supported" in str(engine.capabilities.reason)
        assert os.listdir(tmp_path / "data/sandboxes") == []
    finally:
        await engine.close()


KILLED = """
import asyncio, os, sys
from pathlib import Path
from sandlot.server.engine.base import SandboxSpec
from sandlot.server.engine.local import LocalEngine

async def main():
    engine = LocalEngine(Path(sys.argv[1]), orphan_timeout=60)
    await engine.start()
    await engine.create(SandboxSpec("box", "minimal", 1, 64, 8, network="outbound"))
    os._exit(0)

asyncio.run(main())
"""


@pytest.mark.parametrize("offered", [True, False])
async def test_the_next_server_takes_over(tmp_path: Path, offered: bool) -> None:
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(tmp_path / "data"), env={**os.environ, **PATHS}
    )
    assert await killed.wait() == 0
    engine = LocalEngine(
        tmp_path / "data",
        networks=["outbound"] if offered else [],
        outbound_allow=own_networks(),
        orphan_timeout=60,
    )
    await engine.start()
    try:
        (sandbox,) = await engine.adopt()
        box = Box(engine, sandbox, tmp_path)

        def handle(peer: socket.socket) -> None:
            with contextlib.suppress(ConnectionError):  # it is not offered any more
                while not peer.recv(4096).endswith(b"\r\n\r\n"):
                    pass  # closed with something unread, a connection is reset
                peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nagain")

        with serving(own(), handle) as port:
            patience = "20" if offered else "1"
            result = await box.run("python3", "-c", FETCH, f"http://{OWN}:{port}/", patience)
        assert result.stdout == (b"again" if offered else b""), result.stderr
        assert result.exit == Exit(0 if offered else LATE)
    finally:
        await engine.close()
