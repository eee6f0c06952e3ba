"""Engines: what keeps sandboxes. `base` says what one must do."""

from __future__ import annotations

from pathlib import Path

from .base import Engine, EngineError
from .local import LocalEngine
from .process import ProcessEngine

__all__ = ["make_engine"]


def make_engine(
    name: str, data_dir: Path, *, ephemeral: bool = False, templates_dir: Path | None = None
) -> Engine:
    """Return an engine that is not started yet.

    Args:
        name: `local`; `process`, which isolates nothing; or `auto`, the strongest that this version
            has, which is never one without isolation.
        data_dir: Directory of its own.
        ephemeral: Whether the directory is removed when the engine ends, however that comes about.
        templates_dir: Directory of installed templates to search before the usual ones.

    Raises:
        EngineError: There is no such engine.
    """
    if name in ("auto", "local"):
        return LocalEngine(data_dir, ephemeral=ephemeral, templates_dir=templates_dir)
    if name == "process":
        return ProcessEngine(data_dir, ephemeral=ephemeral)
    raise EngineError(f"there is no engine {name!r}; there are auto, local and process")
