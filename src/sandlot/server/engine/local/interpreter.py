"""Which of the host's interpreters sandboxes have, and where they see it."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Interpreter", "find_interpreter", "is_open_to_all", "local_is_hidden"]

_LOCAL = Path("/usr/local")
_OWN_PLACE = "/opt/python"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter of the host.

    Attributes:
        program: Where the host has it.
        inside: Where sandboxes have it.
        hide_local: Whether /usr/local can be hidden from those who use it.
        prefix: Directory to show as /opt/python, if it is not among the programs of the system.
    """

    program: Path
    inside: str
    hide_local: bool
    prefix: Path | None = None


def find_interpreter() -> Interpreter | None:
    """Return the system's interpreter, or else the one that runs this, if sandboxes can use it."""
    hide_local = local_is_hidden()
    for program in (Path("/usr/bin/python3"), _LOCAL / "bin/python3"):
        if os.access(program, os.X_OK):
            hidden = hide_local and not program.resolve().is_relative_to(_LOCAL)
            return Interpreter(program, str(program), hidden)
    prefix = Path(sys.base_prefix)
    program = prefix / "bin/python3"
    if os.access(program, os.X_OK) and is_open_to_all(prefix):
        return Interpreter(program, f"{_OWN_PLACE}/bin/python3", hide_local, prefix)
    return None


def local_is_hidden() -> bool:
    """Whether sandboxes can do without /usr/local."""
    return not Path("/bin/sh").resolve().is_relative_to(_LOCAL)


def is_open_to_all(directory: Path) -> bool:
    """Whether the private user of a sandbox can find a directory, if sandboxes have one."""
    if os.getuid() != 0:
        return True
    needed = stat.S_IXOTH
    return all(place.stat().st_mode & needed for place in (directory, *directory.parents))
