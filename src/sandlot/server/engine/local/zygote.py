"""The server's side of the zygote: starting it, and asking it for sandboxes."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path

import sandlot.server.guest
from sandlot.server.engine.base import EngineError
from sandlot.server.guest import wire

from .channel import Channel, socket_pair

__all__ = ["GUEST_PATH", "Zygote"]

GUEST_PATH = str(Path(sandlot.server.guest.__file__).parent.parent)
"""Directory that a bare interpreter finds the package `guest` in."""

_PROGRAM = "import sys; sys.path.append({path!r}); from guest.zygote import main; main({fd})"
_ENV = {"LC_ALL": "C.UTF-8"}  # sandboxes can see it: /proc/1/environ is inherited from the zygote
_PATIENCE = 60.0


class Zygote:
    """A running zygote.

    Args:
        keep: Descriptors that it holds for as long as it lives.
        settings: Its configuration: `cgroups`, `directory` and `ephemeral` are what it removes at
            its end.
    """

    def __init__(self, keep: Sequence[int], settings: wire.Message) -> None:
        self._leaving: dict[str, asyncio.Future[None]] = {}
        mine, theirs = socket_pair()
        with theirs:
            program = _PROGRAM.format(path=GUEST_PATH, fd=theirs.fileno())
            self._program = subprocess.Popen(
                # -I and -S: neither the environment nor site-packages have a say in what it loads
                [sys.executable, "-I", "-S", "-c", program],
                env=_ENV,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *keep],
                start_new_session=True,  # Ctrl-C is for the server; it decides what becomes of this
            )
        self._channel = Channel(mine, self._take, self._end)
        self._channel.send({"op": "configure", **settings})

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        return self._channel.closed

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._program.pid

    def create(self, name: str, plan: wire.Message, channel: socket.socket) -> None:
        """Have a sandbox made; its agent will answer on the channel, which is taken over."""
        self._channel.send({"op": "create", "id": name, **plan}, [channel.detach()])

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
        self._channel.close()
        try:
            _ = await asyncio.to_thread(self._program.wait, _PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise EngineError("processes of sandboxes do not die") from error

    def _take(self, message: wire.Message, fds: list[int]) -> None:
        wire.close_all(fds)
        future = self._leaving.pop(wire.text(message, "gone"), None)
        if future is not None and not future.done():
            future.set_result(None)

    def _end(self) -> None:
        for future in self._leaving.values():
            if not future.done():
                future.set_result(None)  # what it made dies with it
        self._leaving.clear()
