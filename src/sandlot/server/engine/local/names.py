"""The name service of a sandbox: its questions are asked of the name servers of this machine.

Only questions pass, one at a time, and only what answers them. Nothing is decided by what names
mean: where a sandbox may connect to is decided by address, when it connects.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from ipaddress import ip_address
from pathlib import Path

__all__ = ["NameService", "find_servers"]

_PORT = 53
# RFC 1035, 4.1.1
_HEADER = 12
_IS_ANSWER = 0x80
_OPERATION = 0x7800
_RECURSION_AVAILABLE = 0x80
_SERVER_FAILURE = 2

_LONGEST_QUESTION = 4096
_LONGEST_ANSWER = 65535
_AT_ONCE = 64
_BURST = 16
_PATIENCE = 5.0
_ROUNDS = 2
_QUIET = 10.0
"""Seconds that may pass between questions on a connection, and until an answer is taken."""
_MOST_SERVERS = 3  # resolv.conf(5), MAXNS

Server = tuple[str, int]


def find_servers(path: Path = Path("/etc/resolv.conf")) -> Sequence[Server]:
    """Return the name servers of this machine; see resolv.conf(5)."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    found: list[Server] = []
    for line in lines:
        match line.split():
            case ["nameserver", address, *_]:
                with contextlib.suppress(ValueError):
                    found.append((str(ip_address(address)), _PORT))
            case _:
                continue
    return found[:_MOST_SERVERS] or [("127.0.0.1", _PORT)]


class NameService:
    """Answers the questions of one sandbox.

    Args:
        sock: Where questions come by UDP; taken over. Others may have it too and make it block.
        servers: Tells which name servers to ask, in this order.
    """

    def __init__(self, sock: socket.socket, servers: Callable[[], Sequence[Server]]) -> None:
        self._sock = sock
        self._servers = servers
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock.fileno(), self._hear)

    def close(self) -> None:
        """Answer nothing more; may be repeated."""
        if self._sock.fileno() >= 0:
            _ = self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
        for task in self._tasks:
            _ = task.cancel()

    def serve(self, connection: socket.socket) -> None:
        """Answer questions that come by TCP; the connection is taken over."""
        self._start(self._converse(connection), connection.close)

    def _start(self, work: Coroutine[None, None, None], clean_up: Callable[[], None]) -> None:
        """Do something, unless there is too much to do; it may be cancelled before it begins."""
        if len(self._tasks) >= _AT_ONCE or self._sock.fileno() < 0:
            work.close()
            clean_up()
            return
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: clean_up())

    def _hear(self) -> None:
        for _ in range(_BURST):
            try:
                question, client = self._sock.recvfrom(_LONGEST_QUESTION + 1, socket.MSG_DONTWAIT)
            except OSError:
                return
            if _is_question(question):
                self._start(self._answer(question, client), _do_nothing)

    async def _answer(self, question: bytes, client: Server) -> None:
        answer = await self._ask(question, _ask_by_udp, _ROUNDS)
        with contextlib.suppress(OSError):
            _ = self._sock.sendto(answer, socket.MSG_DONTWAIT, client)

    async def _converse(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        try:
            async with asyncio.timeout(None) as patience:
                while True:
                    patience.reschedule(self._loop.time() + _QUIET)
                    question = await _read(reader, _LONGEST_QUESTION)
                    if not _is_question(question):
                        return
                    patience.reschedule(None)
                    answer = await self._ask(question, _ask_by_tcp, 1)
                    patience.reschedule(self._loop.time() + _QUIET)
                    _write(writer, answer)
                    await writer.drain()
        except (OSError, EOFError):
            return
        finally:
            writer.transport.abort()

    async def _ask(
        self, question: bytes, ask: Callable[[Server, bytes], Awaitable[bytes]], rounds: int
    ) -> bytes:
        """Return the first answer, or that there is none (SERVFAIL)."""
        for server in [*self._servers()] * rounds:
            number = secrets.token_bytes(2)
            with contextlib.suppress(OSError, EOFError):
                async with asyncio.timeout(_PATIENCE):
                    answer = await ask(server, number + question[2:])
                    return question[:2] + answer[2:]
        flags = bytes([question[2] | _IS_ANSWER, _RECURSION_AVAILABLE | _SERVER_FAILURE])
        return question[:2] + flags + question[4:]


def _do_nothing() -> None:
    """Leave it at that: a question that is not answered is asked again."""


def _is_question(message: bytes) -> bool:
    """Whether this asks one thing, and does nothing else."""
    if not _HEADER <= len(message) <= _LONGEST_QUESTION:
        return False
    _, flags, questions, answers, authorities, _ = struct.unpack_from(">6H", message)
    standard = flags & (_IS_ANSWER << 8 | _OPERATION) == 0
    return standard and (questions, answers, authorities) == (1, 0, 0)


def _is_answer(message: bytes, question: bytes) -> bool:
    same = message[:2] == question[:2]
    return same and len(message) >= _HEADER and message[2] & _IS_ANSWER != 0


async def _ask_by_udp(server: Server, question: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.connect(server)
        await loop.sock_sendall(sock, question)
        while True:
            answer = await loop.sock_recv(sock, _LONGEST_ANSWER)
            if _is_answer(answer, question):
                return answer


async def _ask_by_tcp(server: Server, question: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        _write(writer, question)
        answer = await _read(reader, _LONGEST_ANSWER)
    finally:
        writer.transport.abort()
    if not _is_answer(answer, question):
        raise EOFError("this answers something else")
    return answer


async def _read(reader: asyncio.StreamReader, longest: int) -> bytes:
    """Read a message behind its length (RFC 1035, 4.2.2)."""
    length = int.from_bytes(await reader.readexactly(2), "big")
    if length > longest:
        raise EOFError("the message is too long")
    return await reader.readexactly(length)


def _write(writer: asyncio.StreamWriter, message: bytes) -> None:
    writer.write(len(message).to_bytes(2, "big") + message)
