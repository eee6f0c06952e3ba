"""Is imported whenever an interpreter of the environment starts, so it must be quick.

The environment is read-only: packages that are installed later go to the home directory, and are
found there.
"""

from __future__ import annotations

import os
import sys

__all__ = ["packages", "prepare"]

_NOTICE = "This sandbox has no network: pip finds only what is in the sandbox itself.\n"


def packages() -> str:
    """Return the directory of packages that are installed later."""
    major, minor = sys.version_info[:2]
    return f"{_prefix()}/lib/python{major}.{minor}/site-packages"


def prepare() -> None:
    """Look for packages in the home directory too; if this is pip, tell it about the sandbox."""
    if packages() not in sys.path:
        # Before those of the environment, which may be older.
        places = (n for n, path in enumerate(sys.path) if path.startswith(sys.prefix))
        sys.path.insert(next(places, len(sys.path)), packages())
    if _is_pip(sys.orig_argv[1:]):
        _prepare_pip()


def _prefix() -> str:
    return os.path.expanduser("~/.local")


def _is_pip(words: list[str]) -> bool:
    program = os.path.basename(words[0]) if words else ""
    return words[:2] == ["-m", "pip"] or program.rstrip("0123456789.") == "pip"


def _prepare_pip() -> None:
    # pip takes this for the environment that it works in: what is there can be replaced, what is
    # elsewhere is left alone.
    sys.prefix = sys.exec_prefix = _prefix()
    os.makedirs(packages(), exist_ok=True)
    with open(f"{sys.prefix}/pyvenv.cfg", "w") as file:
        _ = file.write("include-system-site-packages = false\n")
    _ = os.environ.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    _ = os.environ.setdefault("PIP_NO_WARN_SCRIPT_LOCATION", "1")
    if {"install", "download", "wheel"}.intersection(sys.orig_argv) and not _has_network():
        _ = os.environ.setdefault("PIP_NO_INDEX", "1")  # or it would try again and again
        _ = sys.stderr.write(_NOTICE)


def _has_network() -> bool:
    import socket  # slow to import

    return any(name != "lo" for _, name in socket.if_nameindex())


prepare()
