"""Files: what only an engine with walls can hold."""

from __future__ import annotations

import pytest

from sandlot.server.engine.base import Exit, FileAccessError

from .conftest import OpenBox
from .test_files import problem_of_reading, problem_of_writing


async def test_no_permission(open_box: OpenBox) -> None:
    async with open_box() as box:
        script = (
            "echo x > secret; mkdir closed; touch fixed; chmod 0 secret closed; chmod 444 fixed"
        )
        assert (await box.shell(script)).exit == Exit(0)
        assert await problem_of_reading(box, "secret") == "forbidden"
        assert await problem_of_reading(box, "closed/file") == "forbidden"
        assert await problem_of_writing(box, "closed/file") == "forbidden"
        assert await problem_of_writing(box, "fixed") == "forbidden"
        assert await problem_of_writing(box, "/usr/bin/new") == "forbidden"
        assert await problem_of_writing(box, "/new") == "forbidden"
        assert await problem_of_writing(box, "/etc/passwd") == "forbidden"


async def test_links_lead_nowhere_outside(
    open_box: OpenBox, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("host") / "secret"
    _ = secret.write_text("host")
    async with open_box() as box:
        depth = "../" * 40
        script = f"ln -s {secret} a; ln -s {depth}{secret} b; ln -s /etc/shadow c; ln -s /root d"
        assert (await box.shell(script)).exit == Exit(0)
        for path in ("a", "b", "c", "d/.bashrc", f"{depth}{secret}", "/proc/1/root/etc/shadow"):
            assert await problem_of_reading(box, path) in ("not_found", "forbidden")
        await box.write("e", b"x")
        assert await problem_of_writing(box, "/proc/1/environ") in ("forbidden", "not_found")
    assert secret.read_text() == "host"


async def test_largest_size(open_box: OpenBox) -> None:
    async with open_box(disk_mb=2) as box:
        await box.write("fits", bytes(2 << 20))
        assert await problem_of_writing(box, "big", bytes((2 << 20) + 1)) == "no_space"
        result = await box.shell("head -c 3000000 /dev/zero > big2")
        assert result.exit != Exit(0)
        assert (await box.run("stat", "-c", "%s", "big2")).stdout == b"2097152\n"


async def test_full_memory_file_system(open_box: OpenBox) -> None:
    async with open_box(memory_mb=64) as box:
        assert await problem_of_writing(box, "/tmp/big", bytes(33 << 20)) == "no_space"
        # The writer was not aborted; its file is gone with the sandbox.
        writer = await box.sandbox.open_writer("/dev/shm/big")
        with pytest.raises(FileAccessError):
            await writer.write(bytes(17 << 20))
        await writer.abort()
        await box.write("/dev/shm/small", b"x")
        assert await box.read("/dev/shm/small") == b"x"


async def test_workspace_is_the_home(open_box: OpenBox) -> None:
    async with open_box() as box:
        await box.write("/workspace/file", b"x")
        assert await box.read("/home/user/file") == b"x"
        assert (await box.run("cat", "/workspace/file")).stdout == b"x"
