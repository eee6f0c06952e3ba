"""Files with secrets."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

__all__ = ["find_or_make", "write_secret"]


def write_secret(path: Path, secret: str) -> None:
    """Write a file that nobody else can read, not even for a moment."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        _ = file.write(f"{secret}\n")


def find_or_make(path: Path, make: Callable[[], str]) -> str:
    """Return the secret in a file, which is made with a new one if it is not there.

    Of several processes that do so at once, all get the same.
    """
    if not path.exists():
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        write_secret(draft, make())
        try:
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        finally:
            draft.unlink()
    return path.read_text().strip()
