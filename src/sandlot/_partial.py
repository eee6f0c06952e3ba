"""What an error that broke something off knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .executions import Execution

__all__ = ["Partial"]


class Partial:
    """Part of an error that can end a stream in the middle.

    Attributes:
        stdout: Standard output received until then; of a long one, the end.
        stderr: Standard error received until then; of a long one, the end.
        execution: What code did until then, if it was code that ran.
    """

    stdout: str = ""
    stderr: str = ""
    execution: Execution | None = None
