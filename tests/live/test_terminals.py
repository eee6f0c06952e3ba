"""Terminals, in both colours."""

from __future__ import annotations

from typing import Any

import pytest

from sandlot import ConflictError, InvalidArgumentError, NotFoundError, SandboxStateError
from sandlot.errors import CommandTimeoutError
from tests.live.world import Live, eventually, marker, running


async def until(terminal: Any, wanted: bytes) -> bytes:
    seen = b""
    async for data in terminal:
        seen += data
        if wanted in seen:
            return seen
    raise AssertionError(seen)


async def test_a_session(live: Live) -> None:
    mark = marker()
    async with live.box() as box:
        async with box.pty(env={"PS1": "$ "}, cols=90, rows=20, tag="shell") as shell:
            assert (shell.tag, shell.exit_code) == ("shell", None)
            assert shell.pid is not None
            await shell.write("stty size; echo $((40+2))\n")
            assert b"20 90" in await until(shell, b"\n42\r\n")
            await shell.resize(120, 40)
            await shell.write(b"stty size; echo $((40+3))\n")
            assert b"40 120" in await until(shell, b"\n43\r\n")
            await shell.write(f"sleep {mark}\n")
            await eventually(lambda: running(f"sleep\0{mark}"))
            await shell.write("\x03")
            await eventually(lambda: not running(f"sleep\0{mark}"))
            await shell.detach()
            for act in (shell.write("lost"), shell.resize(1, 1), shell.kill()):
                with pytest.raises(SandboxStateError, match="session was left"):
                    await act
        (process,) = await box.processes.list()
        assert (process.tag, process.info.kind) == ("shell", "terminal")
        async with box.connect_pty("shell") as shell:
            assert b"\n42\r\n" in await until(shell, b"\n43\r\n")
            with pytest.raises(CommandTimeoutError):
                await shell.wait(0.1)
            with pytest.raises(ConflictError):
                async with box.pty(tag="shell"):
                    pass
        # Leaving what was there leaves it running.
        async with box.connect_pty("shell") as shell:
            await shell.write("exit 3\n")
            assert await shell.wait() == 3
            assert shell.exit_code == 3
            assert [data async for data in shell] == []
            with pytest.raises(SandboxStateError, match="has ended"):
                await shell.write("lost")
            await shell.kill()
        async with box.pty(["sleep", mark]) as shell:
            await eventually(lambda: running(f"sleep\0{mark}"))
        assert not running(f"sleep\0{mark}")
        with pytest.raises(NotFoundError):
            await until(box.connect_pty("nothing"), b"")
        for options in ({"cols": 0}, {"rows": 65536}, {"cols": True}, {"tag": "7"}, {"args": []}):
            with pytest.raises(InvalidArgumentError):
                box.pty(**options)
