"""The conversation in which one command is run.

It begins with `start`. A server that can be returned to answers with a tag, by which the client
goes on after it has lost the connection: it says how much of the output has arrived, is told how
much of its input has, and nothing is lost or comes twice.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from .._operations.commands import Command
from ..errors import CommandError, InvalidArgumentError, UnsupportedError
from .fields import Fields
from .hearing import CONTROL, HEADER, STDIN, Hearing, Message

STDIN_WINDOW = 1 << 20
"""Bytes of stdin that may be on their way, unacknowledged."""
UNREAD = 16 << 20
"""Bytes of output that are kept while stdin is written and nobody takes it."""

RESUME_SEC = 15
"""Seconds that a command waits for its client to come back."""

_STDIN_CLOSE = {"type": "stdin_close"}
_STDIN_PIECE = 64 << 10
_ACKNOWLEDGED = 128 << 10
"""Bytes of output after which the server is told that they have arrived."""


class ExecConversation(Hearing):
    """Knows what has been said and what is to be said; performs no I/O."""

    def __init__(self, *, framed: bool) -> None:
        super().__init__(framed=framed)
        self._outgoing: deque[Message] = deque()
        self._stdin: deque[memoryview] = deque()
        self._stdin_sent = 0
        self._stdin_taken = 0
        self._stdin_ends = False
        self._stdin_ended = False
        self._on_its_way: deque[memoryview] = deque()  # from `_stdin_taken` to `_stdin_sent`
        self._tag: str | None = None
        self._arrived = 0
        self._stopped = False
        self._returning = False

    # What the user wants

    def start(self, command: Command) -> None:
        """Say what to run; its stdin, if it is given, is all that it will read.

        Raises:
            UnsupportedError: This form of the conversation cannot say it.
        """
        if not self.framed:
            if command.timeout_sec:
                raise _unsupported("timeout_sec")
            if command.stdin:
                raise _unsupported("stdin")
            command = command.folded("exec_stream")
        more = {"resume_sec": RESUME_SEC} if self.framed else {}
        self._say({"type": "start", **command.fields(), **more})
        if command.stdin is not None:
            self.write_stdin(command.stdin)
            self.close_stdin()

    def stop(self) -> None:
        """Kill everything that the command started."""
        self._stopped = True
        self._say({"type": "stop"})

    def signal(self, name: str) -> None:
        """Send a signal to everything that the command started."""
        if not self.framed:
            raise _unsupported("signals")
        self._say({"type": "signal", "signal": name})

    def write_stdin(self, data: bytes) -> None:
        """Give the command something to read."""
        if not self.framed and data:
            raise _unsupported("stdin")
        if self._stdin_ends:
            raise InvalidArgumentError("stdin of this command is closed already")
        if data:
            self._stdin.append(memoryview(data))

    def close_stdin(self) -> None:
        """Tell the command that there is no more to read."""
        self._stdin_ends = True

    def outgoing(self) -> Message | None:
        """Take the next message that may be sent now; None if there is none."""
        if self._returning:
            return None
        if self._outgoing:
            return self._outgoing.popleft()
        if self._stdin:
            return self._next_stdin()
        if self._stdin_ends and not self._stdin_ended:
            self._stdin_ended = True
            if self.framed:
                self._say(_STDIN_CLOSE)
                return self._outgoing.popleft()
        return None

    # What becomes of a lost connection

    def can_return(self) -> bool:
        """Tell whether the conversation can go on over another connection."""
        return self._tag is not None and not self.has_ended()

    def come_back(self) -> Message:
        """Return what to say first on another connection."""
        self._returning = True
        fields = {
            "type": "resume",
            "tag": self._tag,
            "stdout": self._stdout.received,
            "stderr": self._stderr.received,
        }
        return self._packed(fields)

    def _begin(self, pid: int, fields: Fields) -> None:
        if not self._returning:
            self._tag = fields.maybe_text("tag")
            super()._begin(pid, fields)
            return
        self._returning = False
        if pid != self.pid:
            raise ValueError("that is another process")
        self._send_again(fields.whole("offset"))
        if self._stopped:
            self._say({"type": "stop"})

    def _send_again(self, received: int) -> None:
        """Send what the server did not receive of stdin; `received` is how much it did."""
        if not self._stdin_taken <= received <= self._stdin_sent:
            raise ValueError(f"{received} bytes of {self._stdin_sent} sent")
        while self._stdin_sent > received:
            data = self._on_its_way.pop()
            size = min(len(data), self._stdin_sent - received)
            self._stdin_sent -= size
            self._stdin.appendleft(data[len(data) - size :])
            if size < len(data):
                self._on_its_way.append(data[: len(data) - size])
        self._stdin_ended = False

    def unsent(self, message: Message) -> None:
        """Take back what could not be sent; stdin and its end are sent again anyway."""
        is_control = isinstance(message, str) or message[0] == CONTROL
        if is_control and message != self._packed(_STDIN_CLOSE):
            self._outgoing.appendleft(message)

    # What the server says

    def has_written(self) -> bool:
        """All that was given for stdin is on its way, or never will be."""
        return not self._stdin or self.has_ended() or self.unread > UNREAD

    def check_written(self) -> None:
        """Raise if what was given for stdin cannot be sent."""
        if not self._stdin:
            return
        self._stdin.clear()
        if self.error is not None:
            raise self.error
        if self.is_over:
            raise CommandError(
                "The command ended before it read all of its stdin",
                stdout=self._stdout.tail(),
                stderr=self._stderr.tail(),
                outcome="finished",
            )
        raise CommandError(
            f"The command wrote {self.unread} bytes that nobody has read, and reads no more of its"
            " stdin until somebody does: iterate over the stream while you write to it, in another"
            " thread or task",
            stdout=self._stdout.tail(),
            stderr=self._stderr.tail(),
        )

    def _say(self, fields: dict[str, Any]) -> None:
        self._outgoing.append(self._packed(fields))

    def _packed(self, fields: dict[str, Any]) -> Message:
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        return HEADER.pack(CONTROL, 0) + text.encode() if self.framed else text

    def _next_stdin(self) -> Message | None:
        window = STDIN_WINDOW - (self._stdin_sent - self._stdin_taken)
        if window <= 0:
            return None
        data = self._stdin[0]
        size = min(window, len(data), _STDIN_PIECE)
        frame = HEADER.pack(STDIN, self._stdin_sent) + data[:size]
        self._stdin_sent += size
        self._on_its_way.append(data[:size])
        if size == len(data):
            _ = self._stdin.popleft()
        else:
            self._stdin[0] = data[size:]
        return frame

    def _receive_other(self, kind: str, fields: Fields) -> None:
        if kind == "ack":
            taken = fields.whole("offset")
            if not self._stdin_taken <= taken <= self._stdin_sent:
                raise ValueError(f"{taken} bytes of {self._stdin_sent} sent")
            self._let_go(taken)

    def _let_go(self, taken: int) -> None:
        """Forget stdin that the server has."""
        while self._stdin_taken < taken:
            data = self._on_its_way.popleft()
            size = min(len(data), taken - self._stdin_taken)
            self._stdin_taken += size
            if size < len(data):
                self._on_its_way.appendleft(data[size:])

    def _receive_output(self, channel: int, data: bytes, offset: int | None = None) -> None:
        super()._receive_output(channel, data, offset)
        self._arrived += len(data)
        if self._tag is not None and self._arrived >= _ACKNOWLEDGED:
            self._arrived = 0
            arrived = {"stdout": self._stdout.received, "stderr": self._stderr.received}
            self._say({"type": "ack", **arrived})


def _unsupported(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"This server does not support {what} for streams: it is an original Wrenn server. Nothing"
        " was sent; exec without on_stdout and on_stderr may do"
    )
