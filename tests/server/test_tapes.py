"""Output that is kept for those who read it later, without any process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from sandlot.server.engine.base import Output, Stream
from sandlot.server.services.tapes import Gap, Piece, Reader, Shelf, Tape

KIB = 1 << 10
START: dict[Stream, int] = {"stdout": 0, "stderr": 0}


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(bounded())


def write(tape: Tape, data: bytes, stream: Stream = "stdout") -> None:
    tape.write(Output(stream, data))


async def rest(reader: Reader) -> list[Piece | Gap]:
    """Read to the end of a tape that is finished."""
    found: list[Piece | Gap] = []
    while (piece := await reader.read()) is not None:
        found.append(piece)
    return found


def joined(found: list[Piece | Gap], stream: Stream = "stdout") -> bytes:
    return b"".join(
        piece.data for piece in found if isinstance(piece, Piece) and piece.stream == stream
    )


def test_from_the_beginning_from_the_middle_and_from_now_on() -> None:
    async def scenario() -> None:
        tape = Shelf().tape()
        write(tape, b"12")
        write(tape, b"34")
        write(tape, b"e", "stderr")
        write(tape, b"5")
        now = tape.reader()
        write(tape, b"6")
        tape.finish()
        assert tape.ends == {"stdout": 6, "stderr": 1}
        assert await rest(tape.reader(START)) == [
            Piece("stdout", 0, b"1234"),
            Piece("stderr", 0, b"e"),
            Piece("stdout", 4, b"56"),
        ]
        assert await rest(tape.reader({"stdout": 3, "stderr": 1})) == [
            Piece("stdout", 3, b"4"),
            Piece("stdout", 4, b"56"),
        ]
        assert await rest(now) == [Piece("stdout", 5, b"6")]
        assert await rest(tape.reader()) == []

    run(scenario)


def test_readers_wait_for_more_and_for_the_end() -> None:
    async def scenario() -> None:
        tape = Shelf().tape()
        reader = tape.reader(START)
        for data in (b"1", b"23", b"4"):
            task = asyncio.create_task(reader.read())
            await asyncio.sleep(0)
            assert not task.done()
            write(tape, data)
            piece = await task
            assert isinstance(piece, Piece)
            assert piece.data == data
        task = asyncio.create_task(reader.read())
        await asyncio.sleep(0)
        tape.finish()
        assert await task is None
        assert await reader.read() is None

    run(scenario)


def test_the_latest_is_kept_and_what_is_missing_is_said() -> None:
    async def scenario() -> None:
        shelf = Shelf(limit=256 * KIB)
        tape = shelf.tape()
        data = random.Random(1).randbytes(1 << 20)
        early = tape.reader(START)
        write(tape, data[:1000])
        assert await early.read() == Piece("stdout", 0, data[:1000])
        for start in range(1000, len(data), 10_000):
            write(tape, data[start : start + 10_000])
            assert tape.used <= 256 * KIB
        tape.finish()
        for reader in (early, tape.reader(START), tape.reader({"stdout": 7, "stderr": 0})):
            gap, *pieces = await rest(reader)
            assert isinstance(gap, Gap)
            kept = joined(list(pieces))
            assert 128 * KIB < len(kept) <= 256 * KIB
            assert data.endswith(kept)
            assert gap.offset == len(data) - len(kept)
        assert shelf.used == tape.used

    run(scenario)


def test_all_that_is_missing_at_the_end_is_said_too() -> None:
    async def scenario() -> None:
        shelf = Shelf(limit=64 * KIB)
        tape = shelf.tape()
        write(tape, b"e" * 100, "stderr")
        write(tape, b"x" * 200 * KIB)
        tape.finish()
        found = await rest(tape.reader(START))
        gaps = {each.stream: each.offset for each in found if isinstance(each, Gap)}
        assert gaps["stderr"] == 100
        assert gaps["stdout"] + len(joined(found)) == 200 * KIB

    run(scenario)


@pytest.mark.parametrize("size", [1, 100])
def test_small_pieces_cost_more_than_their_bytes(size: int) -> None:
    async def scenario() -> None:
        tape = Shelf(limit=64 * KIB).tape()
        for number in range(2000):  # they take turns, so that none is joined with the one before
            write(tape, b"x" * size, "stderr" if number % 2 else "stdout")
        assert tape.used <= 64 * KIB
        tape.finish()
        kept = [each for each in await rest(tape.reader(START)) if isinstance(each, Piece)]
        assert 100 < len(kept) <= 64 * KIB // 256

    run(scenario)


def test_all_tapes_together_are_bounded_at_the_cost_of_the_longest() -> None:
    async def scenario() -> None:
        shelf = Shelf(limit=256 * KIB, total=512 * KIB)
        small = shelf.tape()
        write(small, b"s" * 1000)
        tapes = [shelf.tape() for _ in range(8)]
        for _ in range(30):
            for tape in tapes:
                write(tape, b"x" * 10_000)
                assert shelf.used <= 512 * KIB
        assert shelf.used == small.used + sum(tape.used for tape in tapes)
        small.finish()
        assert joined(await rest(small.reader(START))) == b"s" * 1000
        for tape in tapes:
            shelf.remove(tape)
            shelf.remove(tape)
            write(tape, b"late")  # of one that has been given back
        assert shelf.used == small.used

    run(scenario)


def test_who_holds_a_tape_misses_nothing_and_is_waited_for() -> None:
    async def scenario() -> None:
        tape = Shelf(limit=128 * KIB, total=128 * KIB).tape()
        reader = tape.reader(START, hold=True)
        data = random.Random(2).randbytes(1 << 20)

        async def produce() -> None:
            for start in range(0, len(data), 10_000):
                write(tape, data[start : start + 10_000])
                assert tape.used < 192 * KIB  # the oldest piece may be half read
                await tape.room()
            tape.finish()

        found, _ = await asyncio.gather(rest(reader), produce())
        assert not any(isinstance(each, Gap) for each in found)
        assert joined(found) == data

    run(scenario)


@pytest.mark.parametrize("how", ["leave", "release"])
def test_who_holds_a_tape_no_more_is_not_waited_for(how: str) -> None:
    async def scenario() -> None:
        tape = Shelf(limit=64 * KIB).tape()
        reader = tape.reader(START, hold=True)
        write(tape, b"x" * 100_000)
        assert tape.used > 64 * KIB
        task = asyncio.create_task(tape.room())
        await asyncio.sleep(0)
        assert not task.done()
        if how == "leave":
            tape.leave(reader)
            tape.leave(reader)
        else:
            reader.release()
        await task
        write(tape, b"x")
        assert tape.used <= 64 * KIB

    run(scenario)


def test_what_was_not_acknowledged_is_kept() -> None:
    async def scenario() -> None:
        tape = Shelf(limit=64 * KIB).tape()
        reader = tape.reader(START, hold=True)
        reader.acknowledges = True
        write(tape, b"x" * 60 * KIB)
        assert await reader.read() is not None
        task = asyncio.create_task(tape.room())
        await asyncio.sleep(0)
        assert not task.done()
        reader.acknowledge({"stdout": 1 << 40, "stderr": 5})  # what was never sent cannot arrive
        assert reader.done == {"stdout": 60 * KIB, "stderr": 0}
        reader.acknowledge({"stdout": 3, "stderr": 0})  # nor can it depart again
        assert reader.done == {"stdout": 60 * KIB, "stderr": 0}
        await task

    run(scenario)
