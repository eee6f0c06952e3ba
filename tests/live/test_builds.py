"""Making templates from recipes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from sandlot import (
    BuildFailedError,
    BuildTimeoutError,
    ConflictError,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from tests.live.world import Live, eventually, marker, running

ASK = "cat /tmp/up"  # which is not kept: it was written where it is read


async def built(client: Any, name: str, recipe: Any, **options: Any) -> Any:
    build = await client.builds.create(name, recipe, **options)
    return await client.builds.wait(build.id, timeout=60)


async def test_a_template_has_what_its_recipe_says(live: Live, tmp_path: Path) -> None:
    source = tmp_path / "src"
    (source / "pkg").mkdir(parents=True)
    _ = (source / "pkg" / "mod.py").write_text("print('Grüße')\n")
    (source / "run me").symlink_to("pkg/mod.py")
    name = f"full-{live.colour}"
    recipe = """
        # Everything that there is
        ENV GREETING="good day, $USER"
        WORKDIR 'my app'
        COPY . .
        COPY --chmod=755 pkg/mod.py bin/tool
        RUN python3 'run me' && \\
            echo "$GREETING" >&2
        ENV PATH=$HOME/tools:$PATH
        START sleep 0.1; echo up > /tmp/up; exec sleep 1000
        USER user
        """
    pieces: list[Any] = []
    async with live.client() as client:
        build = await client.builds.create(
            name,
            recipe,
            base_template="base-python",
            archive=source,
            memory_mb=256,
            healthcheck=f"--interval=200ms {ASK}",
        )
        assert build.status in ("pending", "running")
        build = await client.builds.wait(build.id, timeout=60, progress=pieces.append)
        assert (build.status, build.error, build.sandbox_id is not None) == ("success", None, True)
        assert build.current_step == build.total_steps == len(build.logs) == 10
        assert build.default_cwd == "/home/user/my app"
        assert build.default_env["GREETING"] == "good day, user"
        run = build.logs[4]
        assert (run.line, run.ok, run.exit) == (7, True, 0)
        assert (run.stdout, run.stderr) == ("Grüße\n", "good day, user\n")
        said = {(piece.step, piece.stream): piece.text for piece in pieces}
        assert said[5, "stdout"] == "Grüße\n"
        assert said[1, "command"].strip() == 'ENV GREETING="good day, $USER"'
        info = await client.snapshots.get(name)
        assert (info.type, info.platform, info.template) == ("base", True, "base-python")
        async with client.sandboxes.create(name, env={"GREETING": "mine"}) as box:
            assert (box.template, box.info.memory_mb) == (name, 256)
            line = f"pwd; echo $GREETING; stat -c %a bin/tool; {ASK}"
            said_there = (await box.exec(line)).stdout.splitlines()
            assert said_there == ["/home/user/my app", "mine", "755", "up"]
            assert (await box.exec("echo $PATH")).stdout.startswith("/home/user/tools:/")
            point = await box.checkpoint()
            await box.rollback(point)
            assert (await box.exec(ASK)).stdout == "up\n"
            (fork,) = await box.fork()
            async with fork:
                assert (await fork.exec(f"echo $GREETING; {ASK}")).stdout == "mine\nup\n"
            _ = await box.snapshot(f"of-{name}")
            async with client.sandboxes.create(f"of-{name}") as other:
                line = f"echo $GREETING; {ASK}"
                assert (await other.exec(line)).stdout == "good day, user\nup\n"
            await client.snapshots.delete(f"of-{name}")
        with pytest.raises(PermissionDeniedError):
            await client.snapshots.delete(name)


async def test_templates_are_built_on_each_other(live: Live) -> None:
    first, second = f"one-{live.colour}", f"two-{live.colour}"
    async with live.client() as client:
        _ = await built(client, first, ["ENV A=1", "RUN echo $A > a"])
        _ = await built(client, second, ["ENV B=${A}2", "RUN cat a >> b"], base_template=first)
        async with client.sandboxes.create(second) as box:
            assert (await box.exec("echo $A $B; cat a b")).stdout == "1 12\n1\n1\n"
            again = await built(client, second, ["RUN echo new > b"], base_template=first)
            assert again.status == "success"
            assert (await box.exec("cat b")).stdout == "1\n"  # who has the old one keeps it
        async with client.sandboxes.create(second) as box:
            assert (await box.exec("cat b; echo $B")).stdout == "new\n\n"


def packed(**files: bytes) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


FAILURES: list[tuple[list[str], dict[str, Any], str, int | None]] = [
    (
        ["RUN true", "# no", "RUN echo out; echo err >&2; exit 3"],
        {},
        "line 3.*exit code 3.*out\nerr",
        3,
    ),
    (["RUN --timeout=200ms sleep 60"], {}, "line 1.*time limit of 0.2 seconds", -1),
    (["RUN kill -9 $$"], {}, "killed by SIGKILL", -1),
    (["COPY a b"], {}, "no archive came", -1),
    (["COPY b c"], {"archive": packed(a=b"")}, "the archive has no 'b'", -1),
    (["ENV UP=..", "COPY $UP/etc b"], {"archive": packed(a=b"")}, "leads out of the archive", -1),
    (["COPY a /tmp/b"], {"archive": packed(a=b"")}, "outside of the home directory", -1),
    (["COPY a /usr/bin/b"], {"archive": packed(a=b"")}, "/usr/bin is outside", -1),
    (["WORKDIR /tmp/x"], {}, "outside of the home directory", -1),
    (["WORKDIR /etc/x"], {}, "exit code 1.*mkdir", 1),
    (["USER root"], {}, "no user 'root'", -1),
    (["START exit 4", "RUN sleep 0.3"], {}, "ended with exit code 4", 1),
    (
        ["START echo why; exit 4"],
        {"healthcheck": "--interval=50ms --retries=3 false"},
        "HEALTHCHECK.*exit code 1.*why",
        1,
    ),
]


async def test_a_step_that_fails_names_itself(live: Live) -> None:
    name = f"bad-{live.colour}"
    async with live.client() as client:

        async def fail(number: int) -> None:
            recipe, options, problem, exit = FAILURES[number]
            with pytest.raises(BuildFailedError, match=f"(?s)Step.*{problem}") as caught:
                _ = await built(client, f"{name}-{number}", recipe, **options)
            build = caught.value.build
            assert build.status == "failed"
            step = caught.value.step
            assert step is not None
            assert step is build.logs[-1]
            assert step.exit == exit
            with pytest.raises(NotFoundError):
                _ = await client.sandboxes.create(f"{name}-{number}")

        # Half of them in one colour, half in the other.
        wanted = range(int(live.colour.is_blocking), len(FAILURES), 2)
        _ = await asyncio.gather(*map(fail, wanted))
        assert not [each async for each in await client.sandboxes.list()]


async def test_what_makes_no_sense_is_refused_at_once(live: Live, tmp_path: Path) -> None:
    async with live.client() as client:
        create = client.builds.create
        with pytest.raises(
            InvalidRequestError, match=r"line 2, column 7: this quote is not closed"
        ):
            _ = await create("x", ["RUN true", "ENV A='b"])
        with pytest.raises(InvalidRequestError, match=r"archive: .*leads out"):
            _ = await create("x", ["COPY . ."], archive=packed(**{"../x": b""}))
        with pytest.raises(InvalidRequestError, match="archive: is damaged"):
            _ = await create("x", ["COPY . ."], archive=b"what")
        with pytest.raises(NotFoundError, match="no template"):
            _ = await create("x", ["RUN true"], base_template="nope")
        with pytest.raises(ConflictError, match="not built"):
            _ = await create("minimal", ["RUN true"])
        with pytest.raises(InvalidArgumentError, match="bytes or a path"):
            _ = await create("x", ["RUN true"], archive=3)
        with pytest.raises(InvalidArgumentError, match="empty"):
            _ = await create("x", ["RUN true"], archive=b"")
        with pytest.raises(FileNotFoundError):
            _ = await create("x", ["RUN true"], archive=tmp_path / "nope")
        async with client.sandboxes.create() as box:
            _ = await box.snapshot("kept")
            with pytest.raises(ConflictError, match="not built"):
                _ = await create("kept", ["RUN true"])
            await client.snapshots.delete("kept")
        with pytest.raises(NotFoundError):
            _ = await client.builds.get("bld-" + "0" * 25)
        with pytest.raises(NotFoundError):
            await client.builds.cancel("bld-" + "0" * 25)


async def test_builds_wait_for_their_turn_and_can_be_cancelled(live: Live) -> None:
    mark = marker()
    pieces: list[Any] = []
    async with live.client() as client:
        recipe = [f"START sleep {mark}", f"RUN sleep {mark}"]
        first, second, third = [
            await client.builds.create(f"{name}-{live.colour}", recipe) for name in "abc"
        ]
        waiting = asyncio.ensure_future(
            as_coroutine(client.builds.wait(first.id, progress=pieces.append))
        )
        # Two programs and their shells each; the third build has none.
        await eventually(lambda: len(running(mark)) >= 6)
        assert (await client.builds.get(third.id)).status == "pending"
        await client.builds.cancel(third.id)
        assert (await client.builds.get(third.id)).status == "cancelled"
        with pytest.raises(BuildTimeoutError, match="goes on"):
            _ = await client.builds.wait(second.id, timeout=0.2)
        sandbox_id = (await client.builds.get(second.id)).sandbox_id
        assert (await client.sandboxes.get(sandbox_id)).status == "running"
        await client.builds.cancel(second.id)
        assert (await client.sandboxes.get(sandbox_id)).status == "stopped"
        await client.builds.cancel(first.id)
        assert running(mark) == []
        with pytest.raises(BuildFailedError, match="cancelled"):
            _ = await waiting
        assert [(piece.step, piece.stream) for piece in pieces] == [(1, "command"), (2, "command")]
        with pytest.raises(InvalidRequestError, match="has ended: cancelled"):
            await client.builds.cancel(first.id)
        listed = await client.builds.list(limit=2)
        assert [build.id for build in listed.items] == [third.id, second.id]
        assert first.id in [build.id async for build in listed]
    assert list((live.server.data_dir / "builds").iterdir()) == []


async def as_coroutine(call: Any) -> Any:
    return await call


async def test_logs_have_bounds(live: Live) -> None:
    line = "RUN head -c 2000000 /dev/zero | tr '\\0' x; echo end; exit 1"
    async with live.client() as client:
        with pytest.raises(BuildFailedError, match="xxxend") as caught:
            _ = await built(client, f"loud-{live.colour}", [line])
        step = caught.value.step
        assert step is not None
        assert step.stdout.endswith("[More was written than the log of a build has room for.]\n")
        assert len(step.stdout) < 300_000
        assert len(str(caught.value)) < 3000


async def test_a_build_can_be_cancelled_at_any_moment(live: Live) -> None:
    name, kept = f"brief-{live.colour}", live.server.data_dir / "snapshots"
    before, ends = len(list(kept.iterdir())), set[str]()
    async with live.client() as client:
        for tenths in (0, 0.5, 1, 1.5, 2, 3, 4):
            build = await client.builds.create(name, ["RUN echo x > f", "START sleep 100"])
            await asyncio.sleep(tenths / 10)  # to come at another moment each time
            with contextlib.suppress(InvalidRequestError):
                await client.builds.cancel(build.id)
            ends.add((await client.builds.get(build.id)).status)
        assert ends <= {"cancelled", "success"}
        found = {info.name for info in await client.snapshots.list()}
        assert (name in found) == ("success" in ends)
        assert not [each async for each in await client.sandboxes.list()]
    assert list((live.server.data_dir / "builds").iterdir()) == []
    assert len(list(kept.iterdir())) == before + ("success" in ends)
