"""The server's side of the zygote: starting or finding it, and asking it for sandboxes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import select
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import sandlot.server.guest
from sandlot.server.engine.base import EngineError
from sandlot.server.guest import rendezvous, wire

from .channel import Channel, socket_pair
from .handover import take

__all__ = ["GUEST_PATH", "Legacy", "Zygote", "version"]

GUEST_PATH = str(Path(sandlot.server.guest.__file__).parent.parent)
"""Directory that a bare interpreter finds the package `guest` in."""

_PROGRAM = (
    "import sys; sys.path.append({path!r}); from guest.zygote import main; main({fd}, {lock})"
)
_ENV = {"LC_ALL": "C.UTF-8"}  # sandboxes can see it: /proc/1/environ is inherited from the zygote
_PATIENCE = 60.0
_MEETING = 10.0


@dataclass(frozen=True, slots=True)
class Legacy:
    """What a zygote has of the last server.

    Attributes:
        version: Which zygote it is, as in its settings.
        state: What the last server wrote down there.
        sandboxes: Names of the sandboxes.
        doomed: Names of those that the last server wanted to be killed.
        generations: Which of their homes those began with that have several in their lives.
        lock: A descriptor for the new one to hold.
    """

    version: str
    state: wire.Message
    sandboxes: Sequence[str]
    doomed: Sequence[str]
    generations: wire.Message
    lock: int


class Zygote:
    """A running zygote.

    Args:
        sock: The channel to it.
        pid: Its process id.
        wait: Waits so many seconds for its end, or raises `subprocess.TimeoutExpired`.
    """

    def __init__(self, sock: socket.socket, pid: int, wait: Callable[[float], object]) -> None:
        self.pid = pid
        self._wait = wait
        self._leaving: dict[str, asyncio.Future[None]] = {}
        self._legacy: asyncio.Future[Legacy] = asyncio.get_running_loop().create_future()
        self._channel = Channel(sock, self._take, self._end)

    @classmethod
    def start(cls, lock: int, settings: wire.Message) -> Zygote:
        """Start one.

        Args:
            lock: A descriptor that it holds for as long as it lives.
            settings: Its configuration; see `configure`.
        """
        mine, theirs = socket_pair()
        with theirs:
            program = subprocess.Popen(
                # -I and -S: neither the environment nor site-packages have a say in what it loads
                [
                    *(sys.executable, "-I", "-S", "-c"),
                    _PROGRAM.format(path=GUEST_PATH, fd=theirs.fileno(), lock=lock),
                ],
                env=_ENV,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), lock],
                start_new_session=True,  # Ctrl-C is for the server; it decides what becomes of this
            )
        zygote = cls(mine, program.pid, program.wait)
        zygote.configure(settings)
        return zygote

    @classmethod
    async def meet(cls, connection: socket.socket) -> tuple[Zygote, Legacy]:
        """Take over one that has lost its server.

        Raises:
            EngineError: It does not want to, or has gone meanwhile.
        """
        pid, uid = rendezvous.peer(connection)
        if uid != os.getuid():
            connection.close()
            raise EngineError("what waits in the data directory is somebody else's")
        try:
            process = os.pidfd_open(pid)
        except OSError as error:
            connection.close()
            raise EngineError("what waits in the data directory has gone") from error
        zygote = cls(connection, pid, partial(_wait_for, process))
        try:
            async with asyncio.timeout(_MEETING):
                return zygote, await take(zygote._legacy, _let_go)
        except BaseException as error:
            zygote.hang_up()
            os.close(process)
            if isinstance(error, (TimeoutError, ConnectionError)):
                text = "what waits in the data directory does not answer"
                raise EngineError(text) from error
            raise

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        return self._channel.closed

    def configure(self, settings: wire.Message) -> None:
        """Tell it what to do at the end.

        Args:
            settings: `cgroups`, `directory` and `ephemeral` are what it removes; `orphan_seconds`
                is how long it waits for another server before; `version` and `state` are what
                that one gets from it.
        """
        self._channel.send({"op": "configure", **settings})

    def create(self, name: str, plan: wire.Message, channel: socket.socket) -> None:
        """Have a sandbox made; its agent will answer on the channel, which is taken over."""
        self._channel.send({"op": "create", "id": name, **plan}, [channel.detach()])

    def renew(self, name: str, plan: wire.Message, channel: socket.socket) -> None:
        """Have a sandbox killed and made anew; its new agent will answer on the channel."""
        self._channel.send({"op": "renew", "id": name, **plan}, [channel.detach()])

    def errand(self, order: wire.Message, channel: socket.socket) -> None:
        """Have a fork do something; it will answer on the channel, which is taken over."""
        self._channel.send({"op": "errand", **order}, [channel.detach()])

    def reattach(self, name: str, channel: socket.socket) -> None:
        """Have the agent of a sandbox answer on another channel, which is taken over."""
        self._channel.send({"op": "reattach", "id": name}, [channel.detach()])

    def destroy(self, name: str) -> Awaitable[None]:
        """Have all processes of a sandbox killed; what is returned can be awaited for the end.

        Raises:
            EngineError: It takes too long.
        """
        future = self._leaving.get(name)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            if self.gone:
                future.set_result(None)
            else:
                self._leaving[name] = future
                self._channel.send({"op": "destroy", "id": name})
        return self._wait_dead(future)

    async def _wait_dead(self, future: asyncio.Future[None]) -> None:
        try:
            await asyncio.wait_for(asyncio.shield(future), _PATIENCE)
        except TimeoutError as error:
            raise EngineError("processes of the sandbox do not die") from error

    async def close(self) -> None:
        """Have it remove everything that it made, and end.

        Raises:
            EngineError: It takes too long.
        """
        self.dismiss()
        try:
            _ = await asyncio.to_thread(self._wait, _PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise EngineError("processes of sandboxes do not die") from error
        finally:
            self._channel.close()

    def dismiss(self) -> None:
        """Have it remove everything that it made, and end; without waiting for that."""
        # Merely hanging up would make it wait for another server.
        self._channel.send({"op": "end"})

    def hang_up(self) -> None:
        """Leave it to the next server."""
        self._channel.close()

    def _take(self, message: wire.Message, fds: list[int]) -> None:
        if "hello" in message and not self._legacy.done():
            try:
                self._legacy.set_result(_legacy(message, fds))
            except wire.WireError:
                wire.close_all(fds)
                raise
            return
        wire.close_all(fds)
        future = self._leaving.pop(wire.text(message, "gone"), None)
        if future is not None and not future.done():
            future.set_result(None)

    def _end(self) -> None:
        if not self._legacy.done():
            self._legacy.set_exception(ConnectionResetError())
            _ = self._legacy.exception()  # most have no need of it
        for future in self._leaving.values():
            if not future.done():
                future.set_result(None)  # what it made dies with it
        self._leaving.clear()


def _legacy(message: wire.Message, fds: list[int]) -> Legacy:
    if len(fds) != 1:
        raise wire.WireError("the lock is missing")
    return Legacy(
        version=wire.text(message, "hello"),
        state=wire.mapping(message, "state"),
        sandboxes=wire.strings(message, "sandboxes"),
        doomed=wire.strings(message, "doomed"),
        generations=wire.mapping(message, "generations"),
        lock=fds[0],
    )


def _let_go(legacy: Legacy) -> None:
    os.close(legacy.lock)


def version() -> str:
    """Return what tells apart zygotes, and agents, that may not understand each other."""
    digest = hashlib.sha256()
    for path in sorted(Path(GUEST_PATH, "guest").glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _wait_for(process: int, patience: float) -> None:
    """Wait for a process that is no child, by a descriptor that stands for it."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    if not poll.poll(patience * 1000):
        raise subprocess.TimeoutExpired("zygote", patience)
    os.close(process)
