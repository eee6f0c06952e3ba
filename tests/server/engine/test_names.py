"""The name service of sandboxes."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandlot.server.engine.local import names
from sandlot.server.engine.local.names import NameService, find_servers

from .conftest import eventually
from .outside import answer, name_server, question, receive
from .test_relay import pair

Server = tuple[str, int]


@asynccontextmanager
async def service(*servers: Server) -> AsyncIterator[tuple[NameService, socket.socket]]:
    """A name service, and a client of it."""
    sock, client = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    with client:
        client.connect(sock.getsockname())
        client.settimeout(20)
        made = NameService(sock, lambda: servers)
        yield made, client
        made.close()
        await eventually(lambda: len(asyncio.all_tasks()) == 1)


async def ask(client: socket.socket, message: bytes) -> bytes:
    client.sendall(message)
    return await asyncio.to_thread(client.recv, 65536)


async def test_an_answer() -> None:
    asked: list[bytes] = []

    def reply(message: bytes, _: bool) -> bytes:
        asked.append(message)
        return answer(message)

    with name_server(reply) as port:
        async with service(("127.0.0.1", port)) as (_, client):
            assert await ask(client, question()) == answer(question())
    assert asked[0][2:] == question()[2:]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"x",
        question()[:11],
        question(flags=0x8180),  # an answer
        question(flags=0x2800),  # UPDATE, RFC 2136
        question(flags=0x2000),  # NOTIFY, RFC 1996
        question()[:4] + b"\0\2" + question()[6:],  # two questions
        question()[:6] + b"\0\1" + question()[8:],  # with an answer
        question()[:8] + b"\0\1" + question()[10:],
        question() + bytes(4096),
    ],
)
async def test_what_is_no_question_goes_nowhere(message: bytes) -> None:
    heard: list[bytes] = []

    def reply(asked: bytes, _: bool) -> bytes:
        heard.append(asked)
        return answer(asked)

    with name_server(reply) as port:
        async with service(("127.0.0.1", port)) as (_, client):
            _ = client.send(message)
            assert (await ask(client, question(number=7)))[:2] == b"\0\7"
    assert len(heard) == 1


async def test_answers_to_something_else_are_not_taken() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        async with service(server.getsockname()) as (_, client):
            client.sendall(question())
            asked, asker = await asyncio.to_thread(server.recvfrom, 65536)
            false = answer(asked, "203.0.113.66")
            _ = server.sendto(bytes([false[0] ^ 1]) + false[1:], asker)
            _ = server.sendto(asked, asker)  # the question itself
            _ = server.sendto(false[:3], asker)
            with socket.socket(type=socket.SOCK_DGRAM) as stranger:
                _ = stranger.sendto(false, asker)
            _ = server.sendto(answer(asked), asker)
            assert await asyncio.to_thread(client.recv, 65536) == answer(question())


async def test_the_next_server_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_PATIENCE", 0.5)
    with (
        socket.socket(type=socket.SOCK_DGRAM) as silent,
        name_server(lambda asked, _: answer(asked)) as port,
    ):
        silent.bind(("127.0.0.1", 0))
        with socket.socket(type=socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            gone: Server = closed.getsockname()
        async with service(gone, silent.getsockname(), ("127.0.0.1", port)) as (_, client):
            assert await ask(client, question()) == answer(question())


async def test_no_server_answers() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        gone: Server = closed.getsockname()
    async with service(gone) as (_, client):
        said = await ask(client, question())
    assert said[:2] == question()[:2]
    assert said[2:4] == b"\x81\x82"  # SERVFAIL
    assert said[4:] == question()[4:]


async def test_a_flood_of_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more are passed on at once than agreed, and those that wait cost nothing."""
    most = 0
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        async with service(silent.getsockname()) as (_, client):
            for number in range(3000):
                _ = client.send(question(number=number))
                await asyncio.sleep(0)
                most = max(most, len(asyncio.all_tasks()))
    assert most == names._AT_ONCE + 1


async def test_tcp() -> None:
    with name_server(lambda asked, tcp: answer(asked) if tcp else None) as port:
        async with service(("127.0.0.1", port)) as (made, _):
            mine, theirs = pair()
            with mine:
                made.serve(theirs)
                for number in (1, 2):
                    asked = question(number=number)
                    mine.sendall(len(asked).to_bytes(2, "big") + asked)
                    length = int.from_bytes(await asyncio.to_thread(receive, mine, 2), "big")
                    assert await asyncio.to_thread(receive, mine, length) == answer(asked)
                mine.sendall(b"\0\1x")
                with pytest.raises((ConnectionResetError, EOFError)):
                    _ = await asyncio.to_thread(receive, mine, 1)


async def test_tcp_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_QUIET", 0.05)
    async with service() as (made, _):
        mine, theirs = pair()
        with mine:
            made.serve(theirs)
            with pytest.raises((ConnectionResetError, EOFError)):
                _ = await asyncio.to_thread(receive, mine, 1)


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        (None, ["127.0.0.1"]),
        ("", ["127.0.0.1"]),
        ("search test\nnameserver 10.0.0.1\n", ["10.0.0.1"]),
        ("nameserver 10.0.0.1 # one\n#nameserver 10.0.0.2", ["10.0.0.1"]),
        ("nameserver 10.0.0.1\nnameserver fd00::1", ["10.0.0.1", "fd00::1"]),
        ("nameserver some.where\nnameserver\nnameserver 1.1.1.1\n", ["1.1.1.1"]),
        ("nameserver 1.1.1.1\n" * 5, ["1.1.1.1"] * 3),
    ],
)
def test_name_servers_of_this_machine(
    tmp_path: Path, text: str | None, servers: Sequence[str]
) -> None:
    path = tmp_path / "resolv.conf"
    if text is not None:
        _ = path.write_text(text)
    assert [address for address, _ in find_servers(path)] == servers
    assert {port for _, port in find_servers(path)} == {53}
    assert sys.platform != "linux" or find_servers()
