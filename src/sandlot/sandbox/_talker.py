"""What both colours of a stream remember."""

from __future__ import annotations

import time

from .._operations.commands import Command
from .._protocols.exec import ExecConversation


class Talker:
    """One side of the conversation in which a command is run."""

    def __init__(self, sandbox_id: str, command: Command) -> None:
        self._sandbox_id = sandbox_id
        self._command = command
        self._talk = ExecConversation(framed=True)
        self._started_at = 0.0
        self._ended_at: float | None = None

    @property
    def pid(self) -> int | None:
        """Id of the process, as the sandbox sees it; None before the start event."""
        return self._talk.pid

    def _begin(self, framed: bool, *, keep_stdin: bool) -> ExecConversation:
        """Say what to run."""
        self._talk = ExecConversation(framed=framed)
        self._talk.start(self._command)
        if not keep_stdin:
            self._talk.close_stdin()
        self._started_at = time.monotonic()
        return self._talk

    def _seconds(self) -> float:
        ended_at = time.monotonic() if self._ended_at is None else self._ended_at
        return ended_at - self._started_at

    def __repr__(self) -> str:
        what = " ".join(self._command.argv)
        return f"<{type(self).__name__} of {what!r:.60} in {self._sandbox_id}>"
