"""Opening files by names below directories that are open, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator

__all__ = ["opened"]


@contextlib.contextmanager
def opened(name: str, flags: int, directory: int | None = None, mode: int = 0) -> Generator[int]:
    """Give the descriptor of a file.

    Args:
        name: What it is called.
        flags: How to open it; see open(2).
        directory: Descriptor of where it is; relative to the working directory if None.
        mode: Its permissions if it is made.
    """
    fd = os.open(name, flags, mode, dir_fd=directory)
    try:
        yield fd
    finally:
        os.close(fd)
