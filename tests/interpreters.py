"""Interpreters that an ordinary user can run, wherever the project and its environment are."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest


def open_to_all() -> str:
    """Return an interpreter of this version, without its packages; skip if there is none."""
    version = ".".join(map(str, sys.version_info[:2]))
    candidates = [sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"]
    for candidate in candidates:
        program = Path(candidate).resolve()
        if program.exists() and all(_is_open(place) for place in (program, *program.parents)):
            return str(program)
    pytest.skip(f"there is no Python {version} that an ordinary user can run")


def _is_open(place: Path) -> bool:
    return bool(place.stat().st_mode & stat.S_IXOTH)
