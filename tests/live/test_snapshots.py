"""Keeping, forking, putting back and comparing the files of sandboxes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sandlot import (
    AgentError,
    ConflictError,
    InvalidArgumentError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    SandboxDestroyedError,
    UnsupportedByServerError,
)
from tests.live.world import Live, eventually, marker, running


async def text(box: Any, path: str) -> str:
    content: bytes = await box.download(path)
    return content.decode()


async def told(box: Any, since: Any = None, **options: Any) -> dict[str, str]:
    """Return what the sandbox's changes are, by path."""
    changes = await box.changes(since, **options)
    assert changes.sandbox_id == box.id
    return {change.path: change.kind for change in changes.changes}


async def test_a_sandbox_begins_with_the_files_of_a_snapshot(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create("base-python") as box:
        _ = await box.exec("mkdir -p src && echo one > src/a && ln -s a src/b && chmod 750 src")
        kept = await box.snapshot("begin")
        try:
            assert (kept.name, kept.type, kept.template) == ("begin", "snapshot", "base-python")
            assert kept.size_bytes > 0
            await box.upload("src/a", b"two\n")
            async with client.sandboxes.create(template="begin") as other:
                assert (other.template, other.info.snapshot) == ("begin", "begin")
                assert await text(other, "src/b") == "one\n"
                listed = await other.exec("stat -c %a src && python3 -c 'print(1)'")
                assert listed.stdout == "750\n1\n"
                await other.upload("src/a", b"three\n")
                assert await text(box, "src/a") == "two\n"
            async with client.sandboxes.create(snapshot="begin") as third:
                assert await text(third, "src/a") == "one\n"
        finally:
            await client.snapshots.delete("begin")


async def test_what_runs_goes_on_while_files_are_kept(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create() as box:
        counting = "i=0; while :; do i=$((i+1)); echo $i > m; mv m n; echo $i; done"
        async with box.exec_stream(counting) as stream:
            seen = [await stream.__anext__() for _ in range(5)]
            assert len(seen) == 5
            _ = await box.snapshot("counted")
            try:
                before = int(await text(box, "n"))
                assert [await stream.__anext__() for _ in range(5)]
                await eventually(lambda: _grows(box, before))
                async with client.sandboxes.create("counted") as other:
                    assert 0 < int(await text(other, "n")) <= before
            finally:
                await client.snapshots.delete("counted")


async def _grows(box: Any, before: int) -> bool:
    return int(await text(box, "n")) > before


async def test_a_paused_sandbox_is_kept_and_stays_paused(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create() as box:
        await box.upload("a", b"1")
        _ = await box.pause()
        _ = await box.snapshot("frozen")
        try:
            assert (await box.refresh()).status == "paused"
            (copy,) = await box.fork()
            async with copy:
                assert await copy.download("a") == b"1"
            _ = await box.resume()
            assert await box.download("a") == b"1"
        finally:
            await client.snapshots.delete("frozen")


async def test_a_deleted_snapshot_stays_with_those_who_use_it(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create() as box:
        await box.upload("a", b"x" * 100_000)
        _ = await box.snapshot("brief")
        async with client.sandboxes.create("brief") as other:
            await client.snapshots.delete("brief")
            with pytest.raises(NotFoundError):
                await client.snapshots.get("brief")
            with pytest.raises(NotFoundError):
                _ = await client.sandboxes.create("brief")
            assert await other.download("a") == b"x" * 100_000
            (copy,) = await other.fork()
            async with copy:
                assert await copy.download("a") == b"x" * 100_000


async def test_overwriting_replaces_at_once(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create() as box:
        await box.upload("a", b"old")
        _ = await box.snapshot("same")
        try:
            with pytest.raises(ConflictError, match="same") as caught:
                _ = await box.snapshot("same")
            assert caught.value.code == "already_exists"
            async with client.sandboxes.create("same") as before:
                await box.upload("a", b"new")
                _ = await client.snapshots.create(box.id, "same", overwrite=True)
                assert await before.download("a") == b"old"
                async with client.sandboxes.create("same") as after:
                    assert await after.download("a") == b"new"
            names = [each.name for each in await client.snapshots.list("snapshot")]
            assert names.count("same") == 1
        finally:
            await client.snapshots.delete("same")


async def test_templates_are_listed_and_looked_up(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create() as box:
        kept = await box.snapshot()
        try:
            assert kept.name.startswith("template-")
            assert await client.snapshots.get(kept.name) == kept
            listed = await client.snapshots.list()
            assert listed[0] == kept
            assert {"base-python", "minimal"} <= {each.name for each in listed if each.platform}
            assert all(each.platform for each in await client.snapshots.list("base"))
            assert await client.snapshots.list("something else") == []
            assert (await client.snapshots.get("minimal")).type == "base"
        finally:
            await client.snapshots.delete(kept.name)
        with pytest.raises(NotFoundError):
            await client.snapshots.delete(kept.name)
        with pytest.raises(PermissionDeniedError):
            await client.snapshots.delete("minimal")
        with pytest.raises(ConflictError, match="template of this server"):
            _ = await box.snapshot("base-python")


async def test_limits_are_those_of_the_snapshot_unless_given(live: Live) -> None:
    async with live.client() as client:
        async with client.sandboxes.create(vcpus=2, memory_mb=300) as box:
            _ = await box.snapshot("large")
        try:
            async with client.sandboxes.create("large") as same:
                assert (same.info.vcpus, same.info.memory_mb) == (2, 300)
            async with client.sandboxes.create("large", memory_mb=200) as other:
                assert (other.info.vcpus, other.info.memory_mb) == (2, 200)
            with pytest.raises(InvalidRequestError, match="minimal"):
                _ = await client.sandboxes.create("base-python", snapshot="large")
        finally:
            await client.snapshots.delete("large")


async def test_forks_begin_alike_and_part(live: Live) -> None:
    async with (
        live.client() as client,
        client.sandboxes.create(env={"COLOUR": "red"}, metadata={"job": "7"}, name="root") as box,
    ):
        await box.upload("a", b"same")
        forks = await box.fork(3)
        try:
            assert len({box.id, *(fork.id for fork in forks)}) == 4
            assert all(fork.status == "running" and fork.name is None for fork in forks)
            assert all(dict(fork.metadata) == {"job": "7"} for fork in forks)
            for number, fork in enumerate(forks):
                assert await fork.download("a") == b"same"
                await fork.upload("a", str(number).encode())
            assert [await fork.download("a") for fork in forks] == [b"0", b"1", b"2"]
            assert await box.download("a") == b"same"
            assert (await forks[0].exec("echo $COLOUR")).stdout == "red\n"
        finally:
            await asyncio.gather(*(fork.destroy() for fork in forks))


async def test_blocks_destroy_forks(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create() as box:
        (fork,) = await box.fork()
        async with fork:
            pass
        assert (await client.sandboxes.get(fork.id)).status == "stopped"
        assert (await box.refresh()).status == "running"


async def test_going_back(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create("base-python") as box:
        await box.upload("a", b"first")
        point = await box.checkpoint("the beginning")
        assert (point.sandbox_id, point.name) == (box.id, "the beginning")
        mark = marker()
        _ = await box.exec(f"sleep {mark} >/dev/null 2>&1 & rm a; mkdir d; touch d/new /tmp/t")
        assert running(mark)
        later = await box.checkpoint()
        assert [each.id for each in await box.checkpoints()] == [later.id, point.id]
        info = await box.rollback(point)
        assert (info.id, info.status) == (box.id, "running")
        assert running(mark) == []
        assert await box.download("a") == b"first"
        assert (await box.exec("ls -A ~ /tmp")).stdout == "/home/user:\na\n\n/tmp:\n"
        _ = await box.rollback(later.id)
        assert (await box.exec("ls -A")).stdout == "d\n"
        await box.delete_checkpoint(point)
        with pytest.raises(NotFoundError):
            _ = await box.rollback(point)
        assert (await box.exec("ls -A")).stdout == "d\n"


async def test_a_paused_sandbox_runs_after_going_back(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create() as box:
        point = await box.checkpoint()
        await box.upload("a", b"1")
        _ = await box.pause()
        assert (await box.rollback(point)).status == "running"
        assert (await box.exec("ls -A")).stdout == ""


async def test_commands_that_run_end_when_a_sandbox_goes_back(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create() as box:
        point = await box.checkpoint()
        mark = marker()
        waiting = asyncio.ensure_future(box.exec(f"sleep {mark}", timeout_sec=60))
        await eventually(lambda: running(mark))
        _ = await box.rollback(point)
        with pytest.raises(AgentError) as caught:
            _ = await waiting
        assert caught.value.outcome != "not_started"
        assert (await box.exec("echo on")).stdout == "on\n"


async def test_checkpoints_go_with_their_sandbox(live: Live) -> None:
    async with live.client() as client:
        async with client.sandboxes.create() as box, client.sandboxes.create() as other:
            point = await box.checkpoint()
            with pytest.raises(InvalidArgumentError, match="another sandbox"):
                _ = await other.rollback(point)
            with pytest.raises(NotFoundError):
                _ = await other.rollback(point.id)
        with pytest.raises(SandboxDestroyedError):
            _ = await box.rollback(point)
        gone = await client.sandboxes.get(box.id)
        assert await gone.checkpoints() == []
        with pytest.raises(ConflictError, match="stopped"):
            _ = await gone.checkpoint()


async def test_what_has_changed_is_told(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create() as box:
        await box.upload("kept", b"1\n")
        await box.upload("edited", b"one\ntwo\nthree\n")
        await box.upload("removed", b"gone\n")
        await box.upload("data", bytes(range(256)))
        assert set((await told(box)).values()) == {"added"}
        point = await box.checkpoint()
        assert await told(box, point) == {}
        _ = await box.exec(
            "sed -i s/two/2/ edited && rm removed && mkdir new && echo hi > new/file"
            " && head -c 9 data > d2 && mv d2 data && touch kept && ln -s kept link"
        )
        changes = {each.path: each for each in (await box.changes(point)).changes}
        assert {path: each.kind for path, each in changes.items()} == {
            "data": "modified",
            "edited": "modified",
            "link": "added",
            "new": "added",
            "new/file": "added",
            "removed": "deleted",
        }
        assert list(changes) == sorted(changes)
        assert changes["edited"].diff == (
            "--- a/edited\n+++ b/edited\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"
        )
        assert changes["removed"].diff == ("--- a/removed\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n")
        assert changes["new/file"].diff == "--- /dev/null\n+++ b/new/file\n@@ -0,0 +1 @@\n+hi\n"
        assert changes["data"].diff is None
        assert (changes["link"].type, changes["new"].type) == ("symlink", "directory")
        assert changes["new/file"].size == 3
        bare = (await box.changes(point, diff=False)).changes
        assert [each.path for each in bare] == list(changes)
        assert all(each.diff is None for each in bare)
        _ = await box.pause()
        assert await told(box, point) == {path: each.kind for path, each in changes.items()}


async def test_changes_are_told_since_the_snapshot_it_began_with(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create() as box:
        await box.upload("a", b"1\n")
        _ = await box.snapshot("origin")
        try:
            async with client.sandboxes.create("origin") as other:
                assert await told(other) == {}
                await other.upload("a", b"2\n")
                (change,) = (await other.changes()).changes
                assert change.diff == "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-1\n+2\n"
        finally:
            await client.snapshots.delete("origin")


async def test_hostile_files_are_told_of_and_not_followed(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create("base-python") as box:
        point = await box.checkpoint()
        script = (
            "import os\n"
            "os.symlink('/etc/passwd', 'link'); os.mkfifo('fifo')\n"
            "open(b'\\xff\\n\\x1b[31m', 'w').close()\n"
            "os.mkdir('closed'); open('closed/in', 'w').close(); os.chmod('closed', 0)\n"
            "open('unreadable', 'w').close(); os.chmod('unreadable', 0)\n"
            "path = '.'\n"
            "for _ in range(300):\n"
            "    os.mkdir('d'); os.chdir('d')\n"
        )
        _ = await box.exec(["python3", "-c", script], check=True)
        changes = (await box.changes(point)).changes
        found = {each.path: each for each in changes}
        assert found["fifo"].type == "other"
        assert found["link"].type == "symlink"
        assert found["link"].diff is None
        assert "\ufffd\n\x1b[31m" in found
        assert "d/d/d" in found
        _ = await box.snapshot("hostile")
        try:
            async with client.sandboxes.create("hostile") as other:
                assert (await other.exec("readlink link")).stdout == "/etc/passwd\n"
                assert (await other.exec("stat -c %a closed unreadable")).stdout == "0\n0\n"
        finally:
            await client.snapshots.delete("hostile")


async def test_isolation_is_told_of_each_sandbox_and_can_be_required(live: Live) -> None:
    async with live.client() as client:
        enforced = (await client.capabilities()).isolation.enforced
        assert {"full", "seccomp", "user", "pid", "net", "mount"} <= set(enforced)
        async with client.sandboxes.create(require_isolation=enforced) as box:
            assert box.isolation.network == ["none"]
            assert box.isolation.enforced == enforced
        with pytest.raises(UnsupportedByServerError, match="virtual-machine") as caught:
            _ = await client.sandboxes.create(require_isolation=["seccomp", "virtual-machine"])
        assert caught.value.outcome == "not_started"
        with pytest.raises(InvalidArgumentError):
            _ = await client.sandboxes.create(require_isolation="seccomp")


async def test_code_begins_anew_when_a_sandbox_goes_back(live: Live) -> None:
    async with live.client() as client, client.sandboxes.create("python-jupyter") as box:
        _ = await box.run_code("x = 1; open('kept', 'w').write('1')")
        point = await box.checkpoint()
        assert (await box.run_code("open('more', 'w').write('2'); x + 1")).text == "2"
        _ = await box.rollback(point)
        execution = await box.run_code("import glob; glob.glob('*'), 'x' in globals()")
        assert execution.text == "(['kept'], False)"
        (copy,) = await box.fork()
        async with copy:
            assert (await copy.run_code("open('kept').read()")).text == "'1'"
