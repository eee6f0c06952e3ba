"""The conversation in which somebody follows a process that runs anyway."""

from __future__ import annotations

from .fields import Fields
from .hearing import Hearing, Message


class Following(Hearing):
    """Listens, and can go on listening over another connection; performs no I/O.

    Args:
        past: Whether it begins with the first output. If not, the server says where it begins.
    """

    def __init__(self, *, past: bool) -> None:
        super().__init__(framed=True)
        self._returning = False
        self._unplaced = set[str]() if past else {"stdout", "stderr"}

    @property
    def offsets(self) -> tuple[int, int] | None:
        """Where to go on in standard output and standard error; None if that is not known yet."""
        return None if self._unplaced else (self._stdout.received, self._stderr.received)

    def outgoing(self) -> Message | None:
        """Return None: there is nothing to say."""
        return None

    def unsent(self, message: Message) -> None:
        """Take back what could not be sent: there is no such thing."""

    def can_return(self) -> bool:
        """Tell whether the conversation can go on over another connection."""
        return self.framed and self.pid is not None and not self.has_ended()

    def come_back(self) -> Message | None:
        """Return what to say first on another connection: nothing."""
        self._returning = True
        return None

    def _begin(self, pid: int, fields: Fields) -> None:
        if self._returning:
            self._returning = False
            if pid != self.pid:
                raise ValueError("that is another process")
            return
        super()._begin(pid, fields)

    def _skip(self, stream: str, offset: int) -> None:
        super()._skip(stream, offset)
        if stream in self._unplaced:  # nothing is missing: this is where it begins
            self._unplaced.remove(stream)
            _ = self.events.pop()

    def _where(self) -> str:
        return "while the process was followed; it may run on"
