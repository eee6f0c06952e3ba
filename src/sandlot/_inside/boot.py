"""Makes one module of the sources that were sent along, in a kernel.

The others are compiled when they are first needed, as most kernels never need them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType

NAME = "_sandlot_inside"
"""Name of the module in `sys.modules`; user code sees nothing else of it."""


class Package(ModuleType):
    """A module whose attributes are the modules of this package, for `from . import name`."""

    def __init__(self, name: str, sources: Mapping[str, str], version: str) -> None:
        super().__init__(name)
        self.version = version
        self._sources = sources

    def __getattr__(self, name: str) -> ModuleType:
        source = self._sources.get(name)
        if source is None:
            raise AttributeError(name)
        module = ModuleType(f"{self.__name__}.{name}")
        module.__package__ = self.__name__
        exec(compile(source, f"<sandlot {name}>", "exec"), module.__dict__)  # noqa: S102
        setattr(self, name, module)
        return module


def install(sources: Mapping[str, str], version: str) -> None:
    """Make the module, unless it is there already, and let it take part in what is shown."""
    present = sys.modules.get(NAME)
    if getattr(present, "version", None) == version:
        return
    package = Package(NAME, sources, version)
    sys.modules[NAME] = package
    package.display.register()
