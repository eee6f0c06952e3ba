"""What comes of every public method, where the server is an original one."""

from __future__ import annotations

from tests.compat.rows import Row
from tests.compat.tables import (
    accounts,
    builds,
    channels,
    code,
    commands,
    files,
    history,
    hosts,
    sandboxes,
    servers,
    snapshots,
    teams,
)

ROWS: list[Row] = [
    *accounts.ROWS,
    *builds.ROWS,
    *channels.ROWS,
    *code.ROWS,
    *commands.ROWS,
    *files.ROWS,
    *history.ROWS,
    *hosts.ROWS,
    *sandboxes.ROWS,
    *servers.ROWS,
    *snapshots.ROWS,
    *teams.ROWS,
]
