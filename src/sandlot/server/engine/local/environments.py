"""Environments of templates on this machine: where they are, and which of them are whole.

Each combination of recipe and interpreter has a directory of its own, so that a new environment
never takes the place of one in use. Whoever uses one holds a lock on it; whoever clears away looks
for those that nobody has held for long.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .interpreter import Interpreter, is_open_to_all
from .recipes import Recipe

__all__ = [
    "MARKER",
    "environment_path",
    "find_environment",
    "hold",
    "is_disused",
    "is_whole",
    "own_place",
]

MARKER = "sandlot-template.json"
"""File of an environment that is whole; written last."""

_SYSTEM_PLACE = Path("/var/lib/sandlot/templates")
_LONG = 14 * 86400


def own_place() -> Path:
    """Return the directory that this user installs templates into, unless another is chosen."""
    if os.getuid() == 0:
        return _SYSTEM_PLACE
    try:
        home = Path.home()
    except RuntimeError:  # a user that the machine knows by number only
        return _SYSTEM_PLACE
    return home / ".local" / "share" / "sandlot" / "templates"


def environment_path(place: Path, recipe: Recipe, interpreter: Interpreter) -> Path:
    """Return where an environment is, or would be."""
    return place / f"{recipe.name}-{recipe.digest(interpreter)}"


def is_whole(path: Path) -> bool:
    """Whether an environment was completed, and still has what it was completed with."""
    try:
        files: list[str] = json.loads((path / MARKER).read_bytes())["files"]
        return all(os.path.lexists(path / name) for name in files)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def find_environment(recipe: Recipe, interpreter: Interpreter, chosen: Path | None) -> Path | None:
    """Return the environment of a recipe that sandboxes can use, if there is one.

    Args:
        recipe: What it consists of.
        interpreter: What it was made for.
        chosen: Directory of templates to search before the usual ones.
    """
    for place in _places(chosen):
        path = environment_path(place, recipe, interpreter)
        if is_whole(path) and is_open_to_all(path):
            return path
    return None


def hold(path: Path) -> int | None:
    """Keep an environment from being removed; return the descriptor that does it.

    None if somebody has removed it, or is about to.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    with suppress(OSError):  # it may be somebody else's
        os.utime(path / MARKER)
    return descriptor


def is_disused(path: Path) -> bool:
    """Whether nobody holds an environment, or has held it in the last weeks."""
    try:
        if (path / MARKER).stat().st_mtime > time.time() - _LONG:
            return False
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _places(chosen: Path | None) -> Sequence[Path]:
    first = [] if chosen is None else [chosen.absolute()]
    return list(dict.fromkeys([*first, own_place(), _SYSTEM_PLACE]))
