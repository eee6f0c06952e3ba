"""Gathers the output of a command, up to a limit."""

from __future__ import annotations

from .._protocols.hearing import Hearing
from ..errors import CommandError, CommandTimeoutError
from ..events import (
    StreamErrorEvent,
    StreamEvent,
    StreamGapEvent,
    StreamStderrEvent,
    StreamStdoutEvent,
)
from ..results import ExecResult

LIMIT = 10 << 20
"""Bytes kept of each stream unless asked for another number, as `exec` does."""

_REFUSALS = frozenset({"invalid_request", "invalid_state", "not_found", "unsupported"})


class Collector:
    """Turns events into a result."""

    def __init__(self, limit: int | None = None) -> None:
        self._limit = LIMIT if limit is None else limit
        self._stdout = bytearray()
        self._stderr = bytearray()
        self._truncated = False

    def add(self, event: StreamEvent) -> None:
        """Keep the output of an event."""
        match event:
            case StreamStdoutEvent():
                self._keep(self._stdout, event.data_bytes)
            case StreamStderrEvent():
                self._keep(self._stderr, event.data_bytes)
            case StreamGapEvent():
                self._truncated = True
            case _:
                pass

    def result(self, talk: Hearing, seconds: float) -> ExecResult:
        """Return what the command did, with the output that was kept.

        How it ended is the conversation's to say: somebody else may have read that event already.

        Raises:
            CommandError: It could not be run to its end.
        """
        end = talk.last
        assert end is not None
        if isinstance(end, StreamErrorEvent):
            raise self._failure(end, started=talk.pid is not None)
        stdout, stderr = bytes(self._stdout), bytes(self._stderr)
        texts, exact = _decode(stdout, stderr)
        return ExecResult(
            *texts,
            end.exit_code,
            round(seconds * 1000),
            "utf-8" if exact else "base64",
            end.signal,
            end.timed_out,
            self._truncated,
            end.oom,
            end.no_space,
            None if exact else stdout,
            None if exact else stderr,
        )

    def _keep(self, kept: bytearray, data: bytes) -> None:
        room = self._limit - len(kept)
        if len(data) > room:
            self._truncated = True
            data = data[:room]
        kept += data

    def _failure(self, event: StreamErrorEvent, *, started: bool) -> CommandError:
        texts, _ = _decode(bytes(self._stdout), bytes(self._stderr))
        late = "deadline" in event.data.lower() or "timed out" in event.data.lower()
        refused = event.code in _REFUSALS and not started
        kind = CommandTimeoutError if late else CommandError
        return kind(
            f"The command could not be run to its end: {event.data}",
            stdout=texts[0],
            stderr=texts[1],
            code=event.code,
            outcome="not_started" if refused else "unknown",
        )


def _decode(stdout: bytes, stderr: bytes) -> tuple[tuple[str, str], bool]:
    try:
        return (stdout.decode(), stderr.decode()), True
    except UnicodeDecodeError:
        return (stdout.decode(errors="replace"), stderr.decode(errors="replace")), False
