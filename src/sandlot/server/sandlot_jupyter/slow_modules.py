"""Modules that take long to import and that the server does without."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["hide"]

_SLOW = frozenset({"rfc3987_syntax"})
"""It compiles a grammar for a second. Only jsonschema looks for it, to validate IRIs."""


class _Hidden:
    """Finds nothing where there would be something."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Say that there is no such module, if it is a slow one."""
        if name in _SLOW:
            raise ModuleNotFoundError(f"{name} is hidden", name=name)
        return None


def hide() -> None:
    """Let those modules appear not to be installed."""
    sys.meta_path.insert(0, _Hidden())
