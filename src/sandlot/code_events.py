"""What running code tells, piece by piece.

Users match on these::

    for event in sandbox.run_code_stream("..."):
        match event:
            case CodeStdoutEvent(text=text):
                print(text, end="")
            case CodeEndEvent(execution=execution):
                print(execution.text)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from .executions import CodeError, Execution, Result

__all__ = [
    "CodeClearEvent",
    "CodeEndEvent",
    "CodeErrorEvent",
    "CodeEvent",
    "CodeResultEvent",
    "CodeStderrEvent",
    "CodeStdoutEvent",
    "CodeUpdateEvent",
]


@dataclass(frozen=True, slots=True)
class CodeStdoutEvent:
    """Code printed to standard output."""

    text: str
    """What it printed."""


@dataclass(frozen=True, slots=True)
class CodeStderrEvent:
    """Code printed to standard error."""

    text: str
    """What it printed."""


@dataclass(frozen=True, slots=True)
class CodeResultEvent:
    """Code showed something: its value, a picture, a table."""

    result: Result
    """What it showed."""


@dataclass(frozen=True, slots=True)
class CodeUpdateEvent:
    """Code changed something that it, or earlier code, had shown under a `display_id`."""

    result: Result
    """What it is now."""


@dataclass(frozen=True, slots=True)
class CodeClearEvent:
    """Code cleared what it had printed and shown so far."""

    wait: bool
    """Only when the next output comes, so that nothing flickers."""


@dataclass(frozen=True, slots=True)
class CodeErrorEvent:
    """Code raised."""

    error: CodeError
    """What it raised."""


@dataclass(frozen=True, slots=True)
class CodeEndEvent:
    """Code ended. Nothing follows."""

    execution: Execution
    """All that it did."""


CodeEvent: TypeAlias = (
    CodeStdoutEvent
    | CodeStderrEvent
    | CodeResultEvent
    | CodeUpdateEvent
    | CodeClearEvent
    | CodeErrorEvent
    | CodeEndEvent
)
"""Any of them."""
