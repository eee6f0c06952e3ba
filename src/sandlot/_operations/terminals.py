"""Operations on terminals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._flow import Flow, Server
from ..errors import InvalidArgumentError
from . import arguments, meta, sandboxes
from .commands import require_upgrade
from .processes import tag

_MOST = 65535


@dataclass(frozen=True, slots=True)
class Terminal:
    """A terminal as the user wants it, checked; without a size it is one that is there."""

    argv: Sequence[str] = ()
    size: tuple[int, int] | None = None
    cwd: str | None = None
    env: Mapping[str, str] | None = None
    tag: str | None = None


def new(
    cmd: str | Sequence[str] | None,
    args: Sequence[str] | None,
    cols: int,
    rows: int,
    *,
    cwd: str | None,
    env: Mapping[str, str] | None,
    wanted_tag: str | None,
) -> Terminal:
    """Check what a user wants to run in which terminal."""
    if cmd is None and args is not None:
        raise InvalidArgumentError("args without a cmd that they are for")
    return Terminal(
        () if cmd is None else arguments.argv(cmd, args),
        size(cols, rows),
        arguments.optional_text(cwd, "cwd"),
        arguments.environment(env),
        None if wanted_tag is None else tag(wanted_tag),
    )


def existing(wanted_tag: Any) -> Terminal:
    """Check which terminal a user means."""
    return Terminal(tag=tag(wanted_tag))


def size(cols: Any, rows: Any) -> tuple[int, int]:
    """Check the size of a terminal."""
    for name, value in (("cols", cols), ("rows", rows)):
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
            raise InvalidArgumentError(f"{name} must be an int of 1 to {_MOST}, not {value!r:.100}")
    return cols, rows


def open_terminal(server: Server, sandbox_id: str) -> Flow[None]:
    """Open the conversation with a terminal."""
    where = sandboxes.at(sandbox_id, "pty")
    yield from meta.require(server, "terminals", "terminals")
    yield from require_upgrade(where)
