"""Is imported whenever an interpreter of the environment starts, so it must be quick.

The environment is read-only: packages that are installed later go to the home directory, and are
found there.
"""

from __future__ import annotations

import os
import sys

__all__ = ["prepare"]

_NOTICE = "This sandbox has no network: pip finds only what is in the sandbox itself.\n"
_PLACES = ("--prefix", "--root", "--target", "--user", "-t")


def prepare() -> None:
    """Add the packages in the home directory; if this is pip, tell it about the sandbox."""
    prefix = os.path.expanduser("~/.local")
    major, minor = sys.version_info[:2]
    packages = f"{prefix}/lib/python{major}.{minor}/site-packages"
    if packages not in sys.path:
        # Before those of the environment, which may be older.
        places = (n for n, path in enumerate(sys.path) if path.startswith(sys.prefix))
        sys.path.insert(next(places, len(sys.path)), packages)
    if _is_pip(sys.orig_argv) and "install" in sys.orig_argv:
        _prepare_pip(prefix, packages)


def _is_pip(words: list[str]) -> bool:
    return words[1:3] == ["-m", "pip"] or any(
        os.path.basename(word).startswith("pip") for word in words[1:2]
    )


def _prepare_pip(prefix: str, packages: str) -> None:
    os.makedirs(packages, exist_ok=True)
    if not any(word.partition("=")[0] in _PLACES for word in sys.orig_argv):
        _ = os.environ.setdefault("PIP_PREFIX", prefix)
    _ = os.environ.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    _ = os.environ.setdefault("PIP_NO_WARN_SCRIPT_LOCATION", "1")
    if not _has_network():
        _ = os.environ.setdefault("PIP_NO_INDEX", "1")
        _ = sys.stderr.write(_NOTICE)


def _has_network() -> bool:
    import socket  # slow to import

    return any(name != "lo" for _, name in socket.if_nameindex())


prepare()
