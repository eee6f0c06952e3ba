"""What a running command tells, piece by piece.

Users match on these::

    for event in sandbox.exec_stream("make"):
        match event:
            case StreamStdoutEvent(data=text):
                print(text, end="")
            case StreamExitEvent(exit_code=code):
                print("exit code", code)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "StreamErrorEvent",
    "StreamEvent",
    "StreamExitEvent",
    "StreamGapEvent",
    "StreamStartEvent",
    "StreamStderrEvent",
    "StreamStdoutEvent",
]


@dataclass(frozen=True, slots=True)
class StreamStartEvent:
    """The command runs."""

    pid: int
    """Id of its process, as the sandbox sees it."""


@dataclass(frozen=True, slots=True, repr=False, match_args=False)
class _Output:
    __match_args__ = ("data",)

    data_bytes: bytes
    """Exactly what was written. A piece never ends inside a character."""

    @property
    def data(self) -> str:
        """What was written, as text; bytes that are not UTF-8 become U+FFFD."""
        return self.data_bytes.decode(errors="replace")

    def __repr__(self) -> str:
        more = "..." if len(self.data_bytes) > 60 else ""
        return f"{type(self).__name__}({self.data_bytes[:60]!r}{more})"


class StreamStdoutEvent(_Output):
    """The command wrote to its standard output."""

    __slots__ = ()


class StreamStderrEvent(_Output):
    """The command wrote to its standard error."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class StreamGapEvent:
    """Output of a background process is missing here: the server had no room to keep it."""

    stream: str
    """`stdout` or `stderr`."""
    missing: int
    """How many bytes of it."""


@dataclass(frozen=True, slots=True)
class StreamExitEvent:
    """The command ended. Nothing follows."""

    exit_code: int
    """Exit code; -1 if a signal ended it."""
    signal: str | None = None
    """Name of that signal, such as `SIGKILL`."""
    timed_out: bool = False
    """It was killed after its time limit."""
    oom: bool = False
    """Something of it was killed because the sandbox ran out of memory."""
    no_space: bool = False
    """Something of it was killed because the sandbox went over `disk_mb`."""


@dataclass(frozen=True, slots=True)
class StreamErrorEvent:
    """The command could not be run to its end. Nothing follows."""

    data: str
    """Reason for people."""
    code: str | None = None
    """Reason for programs, if the server gave one."""


StreamEvent: TypeAlias = (
    StreamStartEvent
    | StreamStdoutEvent
    | StreamStderrEvent
    | StreamGapEvent
    | StreamExitEvent
    | StreamErrorEvent
)
"""Any of them."""
