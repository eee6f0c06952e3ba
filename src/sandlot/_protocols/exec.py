"""The conversation in which one command is run.

It begins with `start`; the server then tells what happens until exactly one `exit` or `error`.
There are two forms of it (`internal/api/openapi.yaml`, `streamCommand`): with the subprotocol
`sandlot.exec.v1`, frames of one byte channel, eight bytes offset and the payload; without it, JSON
texts, all that an original Wrenn server knows.
"""

from __future__ import annotations

import json
import struct
from collections import deque
from typing import Any, TypeAlias

from .._operations.commands import Command
from ..errors import (
    CommandError,
    InvalidArgumentError,
    SandlotError,
    StreamClosedError,
    UnexpectedResponseError,
    UnsupportedError,
)
from ..events import (
    StreamErrorEvent,
    StreamEvent,
    StreamExitEvent,
    StreamStartEvent,
    StreamStderrEvent,
    StreamStdoutEvent,
)

SUBPROTOCOL = "sandlot.exec.v1"
STDIN_WINDOW = 1 << 20
"""Bytes of stdin that may be on their way, unacknowledged."""
UNREAD = 16 << 20
"""Bytes of output that are kept while stdin is written and nobody takes it."""
TAIL = 64 << 10
"""Bytes of each stream that are remembered for the error that may come."""

_STDIN_PIECE = 64 << 10
_CONTROL, _STDOUT, _STDERR, _STDIN = range(4)
_HEADER = struct.Struct(">BQ")

Message: TypeAlias = str | bytes


class ExecConversation:
    """Knows what has been said and what is to be said; performs no I/O.

    Attributes:
        events: What has been received and not yet taken.
        unread: Bytes of output in there.
        pid: Id of the process, once it runs.
        is_over: `exit` or `error` has come; nothing follows.
        last: That event.
        error: What is to be raised once the events are taken.
    """

    def __init__(self, *, framed: bool) -> None:
        self.events: deque[StreamEvent] = deque()
        self.unread = 0
        self.pid: int | None = None
        self.is_over = False
        self.last: StreamExitEvent | StreamErrorEvent | None = None
        self.error: SandlotError | None = None
        self._framed = framed
        self._stdout = _Output()
        self._stderr = _Output()
        self._outgoing: deque[Message] = deque()
        self._stdin: deque[memoryview] = deque()
        self._stdin_sent = 0
        self._stdin_taken = 0
        self._stdin_ends = False
        self._stdin_ended = False

    # What the user wants

    def start(self, command: Command) -> None:
        """Say what to run; its stdin, if it is given, is all that it will read.

        Raises:
            UnsupportedError: This form of the conversation cannot say it.
        """
        if not self._framed:
            if command.timeout_sec:
                raise _unsupported("timeout_sec")
            if command.stdin:
                raise _unsupported("stdin")
            command = command.folded("exec_stream")
        self._say({"type": "start", **command.fields()})
        if command.stdin is not None:
            self.write_stdin(command.stdin)
            self.close_stdin()

    def stop(self) -> None:
        """Kill everything that the command started."""
        self._say({"type": "stop"})

    def signal(self, name: str) -> None:
        """Send a signal to everything that the command started."""
        if not self._framed:
            raise _unsupported("signals")
        self._say({"type": "signal", "signal": name})

    def write_stdin(self, data: bytes) -> None:
        """Give the command something to read."""
        if not self._framed and data:
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
        if self._outgoing:
            return self._outgoing.popleft()
        if self._stdin:
            return self._next_stdin()
        if self._stdin_ends and not self._stdin_ended:
            self._stdin_ended = True
            if self._framed:
                self._say({"type": "stdin_close"})
                return self._outgoing.popleft()
        return None

    # What the server says

    def receive(self, message: Message) -> None:
        """Read a message; what it means is in `events` or `error` afterwards."""
        try:
            if self._framed and isinstance(message, bytes):
                self._receive_frame(message)
            else:
                self._receive_json(message)
        except UnexpectedResponseError as exc:
            self.error = exc

    def lose(self, reason: str) -> None:
        """Take note that the connection has ended; before the command did, that is an error."""
        if self.is_over or self.error is not None:
            return
        if self.pid is None:
            state = "before the command is known to have started; it may have run"
        else:
            state = f"while the command ran (pid {self.pid}); it may have run to its end"
        self.error = StreamClosedError(
            f"The stream ended {state}; what was received is in .stdout and .stderr: {reason}",
            stdout=self._stdout.tail(),
            stderr=self._stderr.tail(),
        )

    # What can be done now

    def has_news(self) -> bool:
        """There is something to take, or there never will be."""
        return bool(self.events) or self.is_over or self.error is not None

    def has_ended(self) -> bool:
        """Nothing more will be received."""
        return self.is_over or self.error is not None

    def is_told(self) -> bool:
        """All events are taken, and no more will come."""
        return not self.events and self.has_ended()

    def has_written(self) -> bool:
        """All that was given for stdin is on its way, or never will be."""
        return not self._stdin or self.has_ended() or self.unread > UNREAD

    def take(self) -> StreamEvent | None:
        """Take the next event; None after the last one."""
        if self.events:
            event = self.events.popleft()
            if isinstance(event, StreamStdoutEvent | StreamStderrEvent):
                self.unread -= len(event.data_bytes)
            return event
        if self.error is not None:
            raise self.error
        return None

    def discard(self) -> None:
        """Forget the output that nobody has taken."""
        outputs = (StreamStdoutEvent, StreamStderrEvent)
        self.events = deque(event for event in self.events if not isinstance(event, outputs))
        self.unread = 0

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
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
        framed = _HEADER.pack(_CONTROL, 0) + text.encode() if self._framed else text
        self._outgoing.append(framed)

    def _next_stdin(self) -> Message | None:
        window = STDIN_WINDOW - (self._stdin_sent - self._stdin_taken)
        if window <= 0:
            return None
        data = self._stdin[0]
        size = min(window, len(data), _STDIN_PIECE)
        frame = _HEADER.pack(_STDIN, self._stdin_sent) + data[:size]
        self._stdin_sent += size
        if size == len(data):
            _ = self._stdin.popleft()
        else:
            self._stdin[0] = data[size:]
        return frame

    def _receive_frame(self, frame: bytes) -> None:
        if len(frame) < _HEADER.size:
            raise UnexpectedResponseError(
                f"exec stream: a frame of {len(frame)} bytes", outcome="unknown"
            )
        channel, offset = _HEADER.unpack_from(frame)
        if channel == _CONTROL:
            self._receive_json(frame[_HEADER.size :])
        elif channel in (_STDOUT, _STDERR):
            self._receive_output(channel, frame[_HEADER.size :], offset)
        # Other channels are for later versions.

    def _receive_json(self, message: Message) -> None:
        try:
            fields = _Fields(json.loads(message))
            match fields.text("type"):
                case "start":
                    self.pid = fields.whole("pid")
                    self.events.append(StreamStartEvent(self.pid))
                # Original servers leave out `data` when it is empty (wrenn: omitempty).
                case "stdout":
                    self._receive_output(_STDOUT, (fields.maybe_text("data") or "").encode())
                case "stderr":
                    self._receive_output(_STDERR, (fields.maybe_text("data") or "").encode())
                case "exit":
                    how = [fields.flag(name) for name in ("timed_out", "oom", "no_space")]
                    code = fields.whole("exit_code")
                    self._end(StreamExitEvent(code, fields.maybe_text("signal"), *how))
                case "error":
                    reason = fields.maybe_text("data") or "the server gave no reason"
                    self._end(StreamErrorEvent(reason, fields.maybe_text("code")))
                case "ack":
                    self._acknowledge(fields.whole("offset"))
                case _:
                    pass  # of a later version
        except ValueError as exc:
            raise UnexpectedResponseError(
                f"exec stream: malformed message {message[:200]!r}: {exc}", outcome="unknown"
            ) from exc

    def _receive_output(self, channel: int, data: bytes, offset: int | None = None) -> None:
        output = self._stdout if channel == _STDOUT else self._stderr
        if offset is not None and offset != output.received:
            raise UnexpectedResponseError(
                f"exec stream: output is at byte {offset} where {output.received} was due",
                outcome="unknown",
            )
        self._pass_on(channel, output.take(data))

    def _pass_on(self, channel: int, data: bytes) -> None:
        if data:
            self.unread += len(data)
            event = StreamStdoutEvent(data) if channel == _STDOUT else StreamStderrEvent(data)
            self.events.append(event)

    def _acknowledge(self, taken: int) -> None:
        if not self._stdin_taken <= taken <= self._stdin_sent:
            raise ValueError(f"{taken} bytes of {self._stdin_sent} sent")
        self._stdin_taken = taken

    def _end(self, last: StreamExitEvent | StreamErrorEvent) -> None:
        self._pass_on(_STDOUT, self._stdout.flush())
        self._pass_on(_STDERR, self._stderr.flush())
        self.events.append(last)
        self.last = last
        self.is_over = True


class _Output:
    """One stream of output: cuts it at borders of characters and remembers its end."""

    __slots__ = ("_kept", "_recent", "_unfinished", "received")

    def __init__(self) -> None:
        self.received = 0
        self._unfinished = b""
        self._recent: deque[bytes] = deque()
        self._kept = 0

    def take(self, data: bytes) -> bytes:
        """Add what came; return what can be passed on."""
        self.received += len(data)
        if self._unfinished:
            data = self._unfinished + data
        border = _border(data)
        self._unfinished = data[border:]
        if border < len(data):
            data = data[:border]
        if data:
            self._remember(data)
        return data

    def flush(self) -> bytes:
        """Return what was held back."""
        rest, self._unfinished = self._unfinished, b""
        if rest:
            self._remember(rest)
        return rest

    def tail(self) -> str:
        """Return the end of it."""
        end = b"".join([*self._recent, self._unfinished])[-TAIL:]
        return end.decode(errors="replace")

    def _remember(self, data: bytes) -> None:
        self._recent.append(data)
        self._kept += len(data)
        while self._kept - len(self._recent[0]) >= TAIL:
            self._kept -= len(self._recent.popleft())


def _unsupported(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"This server does not support {what} for streams: it is an original Wrenn server. Nothing"
        " was sent; exec without on_stdout and on_stderr may do"
    )


def _border(data: bytes) -> int:
    """Return where to cut so that the last character, if unfinished, is held back.

    A byte that begins a character always begins one (RFC 3629, section 3), so cutting there never
    changes how the rest is read.
    """
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            return len(data)
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if back < needed and byte < 0xF8 else len(data)
    return len(data)


class _Fields:
    """A JSON object that says what it lacks."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise ValueError("not an object")
        self._fields: dict[str, Any] = value

    def text(self, name: str) -> str:
        value = self.maybe_text(name)
        if value is None:
            raise ValueError(f"no {name}")
        return value

    def maybe_text(self, name: str) -> str | None:
        value = self._fields.get(name)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} is not a text")
        return value

    def whole(self, name: str) -> int:
        value = self._fields.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{name} is not a whole number")
        return value

    def flag(self, name: str) -> bool:
        value = self._fields.get(name, False)
        if not isinstance(value, bool):
            raise ValueError(f"{name} is not true or false")
        return value
