"""Errands: what forks of the zygote do about files, asked for and waited for."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from sandlot.server.engine.base import EngineError
from sandlot.server.guest import wire

from .channel import Channel, socket_pair

__all__ = ["ErrandError", "Errands"]

_MOST = 100_000  # messages


class ErrandError(EngineError):
    """An errand failed.

    Attributes:
        call: The step that failed.
    """

    def __init__(self, call: str, text: str) -> None:
        super().__init__(f"{call}: {text}" if call else text)
        self.call = call


class Errands:
    """Sends forks of the zygote out.

    Args:
        send: Tells the zygote; it has the socket to answer on.
    """

    def __init__(self, send: Callable[[wire.Message, socket.socket], Awaitable[None]]) -> None:
        self._send = send

    async def run(self, errand: str, order: wire.Message) -> tuple[list[wire.Message], list[int]]:
        """Have something done; return the answers and their descriptors, which are the caller's.

        Raises:
            ErrandError: It met an error.
            EngineError: It did not come back.
        """
        mine, theirs = socket_pair()
        answers: list[wire.Message] = []
        fds: list[int] = []
        ended = asyncio.Event()

        def take(message: wire.Message, more: list[int]) -> None:
            fds.extend(more)
            answers.append(message)
            if len(answers) > _MOST:
                raise wire.WireError("an errand does not come to an end")

        channel = Channel(mine, take, ended.set)
        try:
            with theirs:
                await self._send({"errand": errand, **order}, theirs)
            _ = await ended.wait()
            if not answers:
                raise EngineError("the work on the files of the sandbox broke off")
            if "error" in answers[-1]:
                text = wire.text(answers[-1], "text")
                raise ErrandError(wire.text(answers[-1], "call"), text)
        except BaseException:
            channel.close()
            wire.close_all(fds)
            raise
        return answers, fds
