"""What original servers have nothing for."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from tempfile import TemporaryDirectory
from typing import Any

from sandlot import UnsupportedError
from tests.compat.rows import Fails, Row
from tests.compat.tenants import Tenant


def _lacking(method: str, call: Callable[[Any], Awaitable[Any]]) -> Fails:
    async def play(tenant: Tenant) -> None:
        await call(await tenant.box())

    name = method if "." in method else f"sandbox.{method}"
    return Fails(name, "it is not there", play, UnsupportedError, sends=False)


async def _send_directory(box: Any) -> None:
    with TemporaryDirectory() as place:
        await box.upload_dir("a", place)


async def _fetch_directory(box: Any) -> None:
    with TemporaryDirectory() as place:
        try:
            await box.download_dir("a", f"{place}/target")
        finally:
            assert os.listdir(place) == []


ROWS: list[Row] = [
    _lacking("fork", lambda box: box.fork()),
    _lacking("checkpoint", lambda box: box.checkpoint("a")),
    _lacking("checkpoints", lambda box: box.checkpoints()),
    _lacking("delete_checkpoint", lambda box: box.delete_checkpoint("cp-1")),
    _lacking("rollback", lambda box: box.rollback("cp-1")),
    _lacking("changes", lambda box: box.changes()),
    _lacking("upload_dir", _send_directory),
    _lacking("download_dir", _fetch_directory),
    _lacking("files.list", lambda box: box.files.list()),
    _lacking("files.stat", lambda box: box.files.stat("a")),
    _lacking("files.exists", lambda box: box.files.exists("a")),
    _lacking("files.mkdir", lambda box: box.files.mkdir("a")),
    _lacking("files.remove", lambda box: box.files.remove("a")),
    _lacking("files.move", lambda box: box.files.move("a", "b")),
    _lacking("files.copy", lambda box: box.files.copy("a", "b")),
    _lacking("files.chmod", lambda box: box.files.chmod("a", 0o600)),
]
