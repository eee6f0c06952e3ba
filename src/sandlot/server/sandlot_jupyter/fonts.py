"""The list of fonts that matplotlib makes for each user, which takes longer than most plots.

It is made once, when the environment is installed, and copied to where matplotlib looks for it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import sys
from pathlib import Path

__all__ = ["provide"]

_PLACE = Path(sys.prefix, "share", "sandlot", "matplotlib")


def provide() -> None:
    """Let matplotlib find the list."""
    cache = Path.home() / ".cache" / "matplotlib"
    with contextlib.suppress(OSError):  # it makes another one then
        cache.mkdir(parents=True, exist_ok=True)
        for source in _PLACE.iterdir():
            if not (cache / source.name).exists():
                _ = shutil.copyfile(source, cache / source.name)


def _make() -> None:
    _PLACE.mkdir(parents=True)
    os.environ["MPLCONFIGDIR"] = str(_PLACE)
    _ = importlib.import_module("matplotlib.font_manager")


if __name__ == "__main__":
    _make()
