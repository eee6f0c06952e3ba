"""Templates: which of the host's programs a sandbox has."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Template", "find_templates"]

_LOCAL = Path("/usr/local")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LINKS_DIRECTORY = "/opt/bin"


@dataclass(frozen=True, slots=True)
class Template:
    """What sandboxes made from it see of the host.

    Attributes:
        hide_local: Whether /usr/local is empty inside.
        python: Directory of an interpreter to show as /opt/python.
        links: Programs of /opt/bin, which comes last on the search path, and what they are.
    """

    hide_local: bool
    python: Path | None = None
    links: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def search_path(self) -> str:
        """`PATH` inside."""
        return f"{_PATH}:{_LINKS_DIRECTORY}" if self.links else _PATH


def find_templates() -> Mapping[str, Template]:
    """Return the templates that can be provided on this machine."""
    hide_local = not Path("/bin/sh").resolve().is_relative_to(_LOCAL)
    templates = {"minimal": Template(hide_local)}
    python = _find_python(hide_local)
    if python is not None:
        templates["base-python"] = python
    return templates


def _find_python(hide_local: bool) -> Template | None:
    for program in (Path("/usr/bin/python3"), _LOCAL / "bin/python3"):
        if os.access(program, os.X_OK):
            hidden = hide_local and not program.resolve().is_relative_to(_LOCAL)
            return Template(hidden, links=_links(str(program)))
    prefix = Path(sys.base_prefix)
    if os.access(prefix / "bin/python3", os.X_OK) and _is_open_to_all(prefix):
        return Template(hide_local, prefix, _links("/opt/python/bin/python3"))
    return None


def _links(program: str) -> Mapping[str, str]:
    return {"python": program, "python3": program}


def _is_open_to_all(directory: Path) -> bool:
    """Whether the private user of a sandbox can find a directory, if sandboxes have one."""
    if os.getuid() != 0:
        return True
    needed = stat.S_IXOTH
    return all(place.stat().st_mode & needed for place in (directory, *directory.parents))
