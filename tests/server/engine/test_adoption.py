"""Sandboxes that outlive their engine: the next one takes them over, or nothing of them stays.

Where an engine is released here, it does what the kernel does for one that is killed: it hangs up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandlot.server.engine.base import (
    Command,
    DirectoryUnavailableError,
    EngineError,
    Exit,
    SandboxGoneError,
)
from sandlot.server.engine.local import LocalEngine, keeper, territory
from sandlot.server.engine.local import cgroups as local_cgroups
from sandlot.server.engine.local.process import LocalProcess
from sandlot.server.guest.rendezvous import NAME, Rendezvous
from tests.interpreters import open_to_all
from tests.orphans import orphans

from .conftest import LOCAL, Box, eventually, read_line, spec
from .conftest import _places as places
from .test_death import children_of
from .test_ordinary_user import USER

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the local engine needs Linux")

COUNT = "i=0; while :; do i=$((i+1)); echo $i > count; sleep 0.01; done"


@dataclass
class Lives:
    """Engines one after the other, on the same directory."""

    data_dir: Path
    engines: list[LocalEngine] = field(default_factory=list[LocalEngine])
    zygotes: list[Callable[[float], object]] = field(default_factory=list[Any])

    async def begin(self, orphan_timeout: float = 60.0, **options: Any) -> LocalEngine:
        engine = LocalEngine(self.data_dir, orphan_timeout=orphan_timeout, **options)
        await engine.start()
        self.engines.append(engine)
        zygote = engine._keeper._zygote
        assert zygote is not None
        self.zygotes.append(zygote._wait)
        return engine

    @property
    def zygote(self) -> int:
        """Process id of the present one."""
        zygote = self.engines[-1]._keeper._zygote
        assert zygote is not None
        return zygote.pid

    async def create(self, **changes: Any) -> Box:
        engine = self.engines[-1]
        return Box(engine, await engine.create(spec(**changes)), self.data_dir)

    async def lose(self) -> None:
        """Do what the death of a server does."""
        await self.engines[-1].release()

    async def adopt(self, **options: Any) -> dict[str, Box]:
        """Begin another life and return what it takes over."""
        engine = await self.begin(**options)
        return {each.id: Box(engine, each, self.data_dir) for each in await engine.adopt()}

    async def next(self, **options: Any) -> dict[str, Box]:
        await self.lose()
        return await self.adopt(**options)


@pytest.fixture
def engine_kind() -> str:
    return "local"


@pytest.fixture
def lives(
    engine_kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., contextlib.AbstractAsyncContextManager[Lives]]:
    """Open a line of engines."""
    versions = {"": {1, 2}, "v1": {1}, "v2": {2}, "bare": set[int]()}
    wanted = versions[engine_kind.partition("-")[2]]
    monkeypatch.setattr(local_cgroups, "find_places", places(wanted))

    @asynccontextmanager
    async def open_lives(name: str = "data") -> AsyncIterator[Lives]:
        lives = Lives(tmp_path / name)
        try:
            yield lives
        finally:
            for engine in lives.engines:
                await engine.close()
            for wait in lives.zygotes:
                with contextlib.suppress(OSError):  # it was waited for
                    _ = await asyncio.to_thread(wait, 10.0)

    return open_lives


OpenLives = Callable[..., contextlib.AbstractAsyncContextManager[Lives]]


async def pids(box: Box, pattern: str) -> list[str]:
    """Return the processes in a sandbox whose command line begins like this."""
    script = "for p in /proc/[0-9]*; do echo ${p#/proc/} $(tr '\\0' ' ' < $p/cmdline); done"
    lines = (await box.shell(f"({script}) 2>/dev/null")).stdout.decode().splitlines()
    return [
        pid
        for pid, _, rest in (line.partition(" ") for line in lines)
        if rest[: len(pattern)] == pattern
    ]


@pytest.mark.parametrize("engine_kind", LOCAL)
async def test_running_ones_run_on(lives: OpenLives) -> None:
    async with lives() as line:
        _ = await line.begin()
        box = await line.create()
        await box.write("file", b"kept")
        assert (await box.shell("setsid sleep 1000.5 >/dev/null 2>&1 & echo")).exit == Exit(0)
        async with asyncio.timeout(10):
            while not (before := await pids(box, "sleep 1000.5")):
                continue  # it is setsid still
        with pytest.raises(SandboxGoneError):
            await asyncio.gather(line.lose(), box.run("sleep", "1000.6"))
        for _ in range(3):
            found = await line.next()
            assert list(found) == ["box"]
            box = found["box"]
            assert await pids(box, "sleep 1000.5") == before
            assert await box.read("file") == b"kept"
            assert (await box.sandbox.usage()).memory_bytes > 0
            await box.sandbox.pause()
            await box.sandbox.resume()
            assert (await box.shell("echo again")).stdout == b"again\n"
        await line.engines[-1].destroy("box")
        assert os.listdir(line.data_dir / "sandboxes") == []
        assert (await (await line.create()).shell("ls")).stdout == b""


@pytest.mark.parametrize("engine_kind", LOCAL)
async def test_paused_ones_stay_paused(lives: OpenLives) -> None:
    async with lives() as line:
        _ = await line.begin()
        box = await line.create()
        _ = await box.shell(f"({COUNT}) >/dev/null 2>&1 &")
        waiting = await box.start("sleep", "1000")
        await box.until("[ -s count ]")
        await box.sandbox.pause()
        home = line.data_dir / "sandboxes/box/home/count"
        for _ in range(3):
            box = (await line.next())["box"]
            if box.sandbox._freezer is None:  # then the agent stops it, and can be asked
                _ = await box.sandbox.usage()
            seen = home.read_bytes()
            used = (await box.sandbox.usage()).cpu_seconds
            await asyncio.sleep(0.1)  # time for something to happen that must not
            assert home.read_bytes() == seen
            if box.sandbox._freezer is not None:
                assert (await box.sandbox.usage()).cpu_seconds == used
            await box.sandbox.pause()
        await box.sandbox.resume()
        await eventually(lambda: int(home.read_bytes() or 0) > int(seen or 0) + 3)
        assert await pids(box, "sleep 1000") == []  # the dead engine was waiting for it
        await waiting.close()


async def test_one_that_was_being_frozen_or_thawed(lives: OpenLives) -> None:
    """Whatever an engine was in the middle of: `pause` and `resume` make it so."""
    async with lives() as line:
        _ = await line.begin()
        frozen, running = await line.create(name="frozen"), await line.create(name="running")
        await frozen.sandbox.pause()
        await running.sandbox.resume()
        found = await line.next()
        await found["frozen"].sandbox.resume()
        assert (await found["frozen"].shell("echo x")).stdout == b"x\n"
        await found["running"].sandbox.pause()
        await found["running"].sandbox.pause()
        await found["running"].sandbox.resume()
        assert (await found["running"].shell("echo x")).stdout == b"x\n"


async def test_commands_of_the_dead_are_killed_with_all_they_started(lives: OpenLives) -> None:
    async with lives() as line:
        _ = await line.begin()
        box = await line.create()
        script = "trap '' HUP TERM PIPE; (setsid setsid sleep 1000.7 &) ; echo ready; sleep 1000.7"
        process = await box.start_shell(script)
        assert await read_line(process) == b"ready\n"
        ending = await box.start_shell("trap '' TERM; echo ready; while :; do sleep 0.01; done")
        assert await read_line(ending) == b"ready\n"
        asking = asyncio.create_task(ending.kill(grace=1000))
        await asyncio.sleep(0)
        box = (await line.next())["box"]
        assert await pids(box, "sleep") == []
        assert await pids(box, "/bin/sh -c trap") == []
        with pytest.raises(SandboxGoneError):
            await asking
        await process.close()
        await ending.close()


async def test_new_commands_are_not_taken_for_old_ones(lives: OpenLives) -> None:
    async with lives() as line:
        _ = await line.begin()
        box = await line.create()
        for _ in range(5):
            assert (await box.shell("sleep 1000.8 >/dev/null 2>&1 & echo")).exit == Exit(0)
        box = (await line.next())["box"]
        for _ in range(10):
            process = await box.start("sleep", "1000.9")
            await process.kill()
            await process.close()
        assert len(await pids(box, "sleep 1000.8")) == 5


async def test_a_lasting_program_is_found_again(lives: OpenLives) -> None:
    async with lives() as line:
        engine = await line.begin()
        box = await line.create()
        command = Command(["/bin/sh", "-c", "while :; do echo x; sleep 0.01; done"])

        agent = engine._keeper.records[0].agent
        owner = engine._keeper.records[0].uid
        prepared = await LocalProcess.start(agent, command, {}, owner, "prepared")
        await prepared.discard()
        early = await LocalProcess.start(agent, command, {}, owner, "early")
        _ = await box.shell("true")  # all that was asked before has been done
        pid = prepared.pid
        box = (await line.next())["box"]
        agent = line.engines[-1]._keeper.records[0].agent
        await agent.wait_ready()
        assert agent.lasting("early") is None
        assert await pids(box, "/bin/sh -c while") == [str(pid)]
        found = LocalProcess.outlasted(agent, "prepared")
        assert found is not None
        assert found.pid == pid
        await found.kill()
        assert await found.wait() == Exit(-1, signal.SIGKILL)
        for process in (prepared, early, found):
            await process.close()


async def test_unfinished_files_are_removed(lives: OpenLives) -> None:
    async with lives() as line:
        _ = await line.begin()
        box = await line.create()
        await box.write("file", b"old")
        writer = await box.sandbox.open_writer("file")
        await writer.write(b"new")
        box = (await line.next())["box"]
        assert (await box.shell("ls -A")).stdout == b"file\n"
        assert await box.read("file") == b"old"
        with pytest.raises(EngineError):
            await writer.commit()


async def test_a_prepared_one_is_known_by_the_id_it_was_given(lives: OpenLives) -> None:
    async with lives() as line:
        _ = await line.begin(warm=[spec()])
        warm = line.engines[-1]._warm
        assert warm is not None
        await eventually(lambda: warm.ready == 1)
        box = await line.create(name="given")
        await box.write("file", b"x")
        name = line.engines[-1]._keeper.records[0].name
        assert name.startswith("warm-")
        found = await line.next()
        assert found["given"].sandbox.id == "given"
        assert await found["given"].read("file") == b"x"
        await line.engines[-1].destroy("given")
        assert name not in os.listdir(line.data_dir / "sandboxes")


async def test_limits_hold_on(lives: OpenLives) -> None:
    async with lives() as line:
        _ = await line.begin()
        _ = await line.create()
        box = (await line.next())["box"]
        hog = await box.python("x = b'x' * (500 << 20)")
        assert hog.exit != Exit(0)


async def test_what_is_dead_or_unknown_is_removed(lives: OpenLives) -> None:
    async with lives() as line:
        _ = await line.begin()
        names = ["whole", "dead", "unknown", "mad", "elsewhere"]
        boxes = {name: await line.create(name=name) for name in names}
        place = line.data_dir / "sandboxes"
        await boxes["mad"].sandbox.pause()
        groups = [
            path
            for record in line.engines[-1]._keeper.records
            if record.group is not None
            for path in record.group.directories
        ]
        for path in (place / "unknown/record.json",):
            path.unlink()
        _ = (place / "mad/record.json").write_text("{}")
        content = json.loads((place / "elsewhere/record.json").read_text())
        content["spec"]["id"] = "../whole"
        _ = (place / "elsewhere/record.json").write_text(json.dumps(content))
        agent = await boxes["dead"].start_shell("exec sleep 1000")
        zygote = line.zygote
        dead = child_with(zygote, "dead")
        await line.lose()
        os.kill(dead, signal.SIGKILL)
        await eventually(lambda: dead not in children_of(zygote))
        (place / "stray").mkdir()
        found = await line.adopt()
        assert list(found) == ["whole"]
        assert os.listdir(place) == ["whole"]
        left = {path.name for path in await asyncio.to_thread(existing, groups)}
        assert left == ({"whole"} if groups else set())
        assert (await found["whole"].shell("echo x")).stdout == b"x\n"
        await agent.close()


def existing(paths: list[str]) -> list[Path]:
    return [path for path in map(Path, paths) if path.exists()]


def child_with(zygote: int, name: str) -> int:
    """Return the agent of a sandbox."""
    for child in children_of(zygote):
        if f"/sandboxes/{name}/" in Path(f"/proc/{child}/mountinfo").read_text():
            return child
    raise LookupError(name)


async def test_one_that_was_being_destroyed(lives: OpenLives) -> None:
    async with lives() as line:
        engine = await line.begin()
        for number in range(5):
            _ = await line.create(name=f"box-{number}")
        kept = await line.create(name="kept")
        going = [asyncio.create_task(engine.destroy(f"box-{number}")) for number in range(5)]
        await asyncio.sleep(0)
        await line.lose()
        _ = await asyncio.gather(*going, return_exceptions=True)
        found = await line.adopt()
        assert set(os.listdir(line.data_dir / "sandboxes")) == set(found)
        assert "kept" in found
        assert (await found["kept"].shell("echo x")).stdout == b"x\n"
        assert kept.sandbox.gone


async def test_one_server_at_a_time(lives: OpenLives, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(territory, "_PATIENCE", 0.5)
    async with lives() as line:
        _ = await line.begin()
        _ = await line.create()
        await line.lose()
        results = await asyncio.gather(*(line.begin() for _ in range(4)), return_exceptions=True)
        failures = [each for each in results if isinstance(each, BaseException)]
        assert [type(each) for each in failures] == [DirectoryUnavailableError] * 3
        (engine,) = line.engines[1:]
        (handle,) = await engine.adopt()
        assert (await Box(engine, handle, line.data_dir).shell("echo x")).stdout == b"x\n"
        assert NAME not in os.listdir(line.data_dir)


async def test_adoption_that_is_broken_off(
    lives: OpenLives, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lives() as line:
        _ = await line.begin()
        box = await line.create()
        await box.write("file", b"x")

        async def fail(*_: object) -> None:
            raise EngineError("broken off")

        with monkeypatch.context() as patch:
            patch.setattr(keeper, "adopt", fail)
            await line.lose()
            for _ in range(3):
                with pytest.raises(EngineError, match="broken off"):
                    _ = await line.adopt()
        assert await (await line.adopt())["box"].read("file") == b"x"


async def test_a_start_that_fails_loses_nothing(
    lives: OpenLives, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lives() as line:
        _ = await line.begin()
        box = await line.create()
        await box.write("file", b"x")
        await line.lose()

        async def fail(_: LocalEngine) -> None:
            raise EngineError("no memory")

        with monkeypatch.context() as patch:
            patch.setattr(LocalEngine, "_probe", fail)
            with pytest.raises(EngineError, match="no memory"):
                _ = await line.adopt()
        assert await (await line.adopt())["box"].read("file") == b"x"


async def test_another_version_begins_anew(
    lives: OpenLives, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with lives() as line:
        _ = await line.begin()
        _ = await line.create()
        zygote = line.zygote
        await line.lose()
        monkeypatch.setattr(keeper, "version", lambda: "another")
        assert await line.adopt() == {}
        assert "another version" in caplog.text
        assert line.zygote != zygote
        assert os.listdir(line.data_dir / "sandboxes") == []
        assert (await (await line.create()).shell("echo x")).stdout == b"x\n"


@pytest.mark.parametrize("state", ["running", "paused"])
async def test_without_another_server_all_goes(lives: OpenLives, state: str) -> None:
    async with lives() as line:
        _ = await line.begin(orphan_timeout=2)
        box = await line.create()
        _ = await box.shell("sleep 1000 >/dev/null 2>&1 &")
        if state == "paused":
            await box.sandbox.pause()
        await line.lose()
        assert any(each.startswith("process") for each in orphans(line.data_dir))
        await eventually(lambda: not orphans(line.data_dir))
        assert sorted(os.listdir(line.data_dir)) == ["cgroups", "layers", "lock", "snapshots"]


async def test_time_does_not_begin_anew_with_each_visitor(lives: OpenLives) -> None:
    async with lives() as line:
        _ = await line.begin(orphan_timeout=8)  # a busy disk may take seconds to make a socket
        _ = await line.create()
        await line.lose()
        visits = 0

        def visit() -> bool:
            nonlocal visits
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as visitor:
                visitor.settimeout(1)
                visitor.connect(str(line.data_dir / NAME))
                visits += len(visitor.recv(1))  # it was taken for the next server
            return not orphans(line.data_dir)

        await eventually(visit)
        assert visits > 1


async def test_an_engine_without_sandboxes_leaves_nothing(lives: OpenLives) -> None:
    async with lives() as line:
        _ = await line.begin()
        await line.lose()
        await eventually(lambda: not orphans(line.data_dir))


async def test_the_last_one_to_die_ends_the_waiting(lives: OpenLives) -> None:
    async with lives() as line:
        _ = await line.begin()
        _ = await line.create()
        agent = child_with(line.zygote, "box")
        await line.lose()
        os.kill(agent, signal.SIGKILL)
        await eventually(lambda: not orphans(line.data_dir))


async def test_zygote_killed_while_it_waits(lives: OpenLives) -> None:
    async with lives() as line:
        _ = await line.begin()
        box = await line.create()
        await box.sandbox.pause()
        zygote = line.zygote
        await line.lose()
        await eventually((line.data_dir / NAME).exists)
        os.kill(zygote, signal.SIGKILL)
        assert await line.adopt() == {}
        assert os.listdir(line.data_dir / "sandboxes") == []
        _ = await line.create()
        assert list(await line.next()) == ["box"]


async def test_zygote_killed_after_adoption(lives: OpenLives) -> None:
    async with lives() as line:
        _ = await line.begin()
        _ = await line.create()
        box = (await line.next())["box"]
        os.kill(line.zygote, signal.SIGKILL)
        await box.sandbox.wait_gone()
        await line.engines[-1].destroy("box")
        assert (await (await line.create()).shell("echo x")).stdout == b"x\n"


async def test_a_path_that_is_too_long_for_a_socket(lives: OpenLives) -> None:
    async with lives("d" * 200) as line:
        _ = await line.begin()
        _ = await line.create()
        assert list(await line.next()) == ["box"]


async def test_the_next_one_may_let_it_end(lives: OpenLives) -> None:
    async with lives() as line:
        _ = await line.begin()
        _ = await line.create()
        assert list(await line.next(orphan_timeout=0.0)) == ["box"]
        await line.lose()
        assert orphans(line.data_dir) == []


async def test_sandboxes_cannot_reach_who_waits(lives: OpenLives) -> None:
    program = """
import glob, os, socket, sys, time
names = sys.argv[1:] + ["/proc/1/cwd/zygote.sock", "/proc/1/root/zygote.sock"]
count = 0
while True:
    found = glob.glob("/proc/*/fd/*") + names
    for line in open("/proc/net/unix").read().splitlines()[1:]:
        found += line.split()[7:]
    for name in found:
        with socket.socket(socket.AF_UNIX) as each:
            try:
                each.connect(chr(0) + name[1:] if name.startswith("@") else name)
            except OSError:
                continue
            open("connected", "a").write(name + chr(10))
    count += 1
    open("new", "w").write(str(count))
    os.rename("new", "count")
    time.sleep(0.01)
"""
    async with lives() as line:
        _ = await line.begin()
        box = await line.create()
        path = line.data_dir / NAME
        await box.write("program", program.encode())
        _ = await box.shell(f"python3 program {path} >/dev/null 2>log &")
        await box.until("[ -s count ]")
        home = line.data_dir / "sandboxes/box/home"
        await line.lose()
        await eventually(path.exists)
        assert path.stat().st_mode & 0o777 == 0o600
        assert line.data_dir.stat().st_mode & 0o777 == 0o700
        begun = int((home / "count").read_text())
        await eventually(lambda: int((home / "count").read_text()) > begun + 5)
        box = (await line.adopt())["box"]
        assert (await box.shell("cat log; ls connected")).stdout == b""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_another_user_is_not_listened_to(tmp_path: Path) -> None:
    """Not even where the rights of the directory and the socket would let them."""
    place = tmp_path / "place"
    place.mkdir()
    for each in (place, *place.parents[: len(place.parts) - 3]):
        each.chmod(0o755)
    rendezvous = Rendezvous(str(place))
    try:
        (place / NAME).chmod(0o666)
        program = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
            "print(flush=True); s.recv(1)"
        )
        for user in (USER, 0):
            with visitor(program, str(place / NAME), user) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == b"\n"
                connection = rendezvous.accept()
                accepted = connection is not None
                if connection is not None:
                    connection.close()
            assert accepted == (user == 0)
    finally:
        rendezvous.close()
    assert os.listdir(place) == []


@contextlib.contextmanager
def visitor(program: str, path: str, user: int) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [open_to_all(), "-c", program, path],
        stdout=subprocess.PIPE,
        cwd="/",
        user=user,
        group=user,
        extra_groups=[],
    ) as process:
        yield process


async def test_owned_engines_leave_nothing(lives: OpenLives) -> None:
    async with lives() as line:
        engine = await line.begin(orphan_timeout=0.0)
        assert not engine.capabilities.reattach
        _ = await line.create()
        await engine.release()
        assert orphans(line.data_dir) == []


@pytest.mark.parametrize("engine_kind", ["local-bare"])
async def test_pausing_what_forks_all_the_time(lives: OpenLives) -> None:
    """Shells use vfork: stopping the child before its parent must not leave the parent waiting."""
    async with lives() as line:
        _ = await line.begin()
        box = await line.create()
        _ = await box.shell("(while :; do echo >> lines; /bin/true; done) >/dev/null 2>&1 &")
        for _ in range(40):
            await box.sandbox.pause()
            await box.sandbox.resume()
        await box.until("[ -s lines ]")
