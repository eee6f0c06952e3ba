"""Commands whose clients come back."""

from __future__ import annotations

import asyncio
import socket

from contract import Contract
from harness import Box
from test_streams import SUBPROTOCOL, Talk

from sandlot.server.engine.base import Output
from sandlot.server.services.jobs import Job
from sandlot.server.services.tapes import Piece, Shelf


def test_the_connection_before_takes_nothing_from_the_one_after() -> None:
    async def scenario() -> None:
        job = Job("tag", "command", Shelf().tape())
        before = job.reader
        assert before is not None
        before.acknowledges = True
        job.tape.write(Output("stdout", b"abc"))
        assert await before.read() == Piece("stdout", 0, b"abc")
        job.come_back({"stdout": 1, "stderr": 0})
        job.tape.write(Output("stdout", b"def"))
        assert await before.read() is not None
        assert job.reader is not None
        assert await job.reader.read() == Piece("stdout", 1, b"bcdef")

    asyncio.run(scenario())


def test_only_so_many_ended_commands_are_kept_for_who_may_come_back(
    common: Box, contract: Contract
) -> None:
    tags: list[str] = []
    for _ in range(66):
        with common.stream([SUBPROTOCOL]) as connection:
            talk = Talk(connection, contract)
            talk.tell(type="start", cmd="true", resume_sec=60)
            tags.append(talk.until("start")["tag"])
            while talk.next()[0] != "exit":
                continue
            connection.socket.shutdown(socket.SHUT_RDWR)
    for tag, kind in ((tags[0], "error"), (tags[-1], "start")):
        with common.stream([SUBPROTOCOL]) as connection:
            talk = Talk(connection, contract)
            talk.tell(type="resume", tag=tag, stdout=0, stderr=0)
            assert talk.next()[0] == kind
