"""What original servers have nothing for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from sandlot import UnsupportedError
from tests.compat.rows import Fails, Row
from tests.compat.tenants import Tenant


def _lacking(method: str, call: Callable[[Any], Awaitable[Any]]) -> Fails:
    async def play(tenant: Tenant) -> None:
        await call(await tenant.box())

    return Fails(f"sandbox.{method}", "it is not there", play, UnsupportedError, sends=False)


ROWS: list[Row] = [
    _lacking("fork", lambda box: box.fork()),
    _lacking("checkpoint", lambda box: box.checkpoint("a")),
    _lacking("checkpoints", lambda box: box.checkpoints()),
    _lacking("delete_checkpoint", lambda box: box.delete_checkpoint("cp-1")),
    _lacking("rollback", lambda box: box.rollback("cp-1")),
    _lacking("changes", lambda box: box.changes()),
]
