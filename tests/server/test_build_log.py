"""The log of a build: places in it, and how much it keeps."""

from __future__ import annotations

import asyncio

from sandlot.server.services.build_log import BuildLog


def texts(log: BuildLog, offset: int = 0, limit: int = 1 << 20) -> list[tuple[int, str, str]]:
    return [(piece.step, piece.stream, piece.text) for piece in log.read(offset, limit)]


def test_what_was_read_stays_as_it_was() -> None:
    log = BuildLog()
    assert log.begin("recipe", 1, "RUN a") == 1
    log.write("stdout", b"one")
    first = texts(log)
    assert first == [(1, "command", "RUN a"), (1, "stdout", "one")]
    log.write("stdout", b" two")
    log.write("stderr", b"three")
    assert texts(log, 8) == [(1, "stdout", " two"), (1, "stderr", "three")]
    assert texts(log, 9, 4) == [(1, "stdout", "two"), (1, "stderr", "t")]
    assert texts(log, 17) == texts(log, 99) == texts(log, 0, 0) == []
    assert log.size == 17


def test_characters_may_come_in_parts() -> None:
    log = BuildLog()
    _ = log.begin("recipe", 1, "x")
    for byte in "ü€\U0001f600".encode():
        log.write("stdout", bytes([byte]))
    log.write("stderr", b"\xc3")
    log.end(0, ok=True, elapsed_ms=1)
    assert log.outputs()[1, "stdout"] == "ü€\U0001f600"
    assert log.outputs()[1, "stderr"] == "\ufffd"


def test_a_log_outlives_its_server() -> None:
    log = BuildLog()
    _ = log.begin("recipe", 3, "RUN a")
    log.write("stdout", b"out")
    log.end(2, ok=False, elapsed_ms=7)
    assert log.changed
    again = BuildLog(log.dump())
    assert not log.changed
    assert (again.steps, texts(again), again.size) == (log.steps, texts(log), log.size)
    step = again.steps[0]
    assert (step.line, step.exit, step.ok, step.elapsed_ms) == (3, 2, False, 7)


def test_there_is_room_for_so_much() -> None:
    log = BuildLog()
    for number in range(6):
        _ = log.begin("recipe", number + 1, "RUN")
        for _ in range(40):
            log.write("stdout", b"x" * 10_000)
        log.write("stderr", b"the end")
        assert log.tail.endswith("xthe end")
        log.end(0, ok=True, elapsed_ms=1)
    found = log.outputs()
    assert all(found[step, "stdout"].endswith("has room for.]\n") for step in (1, 2, 3, 4))
    assert len(found[1, "stdout"]) < 300_000
    assert log.size < 1_100_000


def test_many_small_pieces_are_too_many() -> None:
    log = BuildLog()
    _ = log.begin("recipe", 1, "RUN")
    for _ in range(30_000):
        log.write("stdout", b"a")
        log.write("stderr", b"b")
    assert len(log.read(0, 1 << 20)) <= 20_001
    assert "More was written" in texts(log)[-1][2]


def test_waiting_for_more() -> None:
    async def scenario() -> None:
        log = BuildLog()
        await log.wait(0, 0.01)
        waiting = asyncio.create_task(log.wait(0, 45))
        await asyncio.sleep(0)
        _ = log.begin("recipe", 1, "RUN")
        await waiting
        waiting = asyncio.create_task(log.wait(log.size, 45))
        await asyncio.sleep(0)
        log.close()
        await waiting

    asyncio.run(scenario())
