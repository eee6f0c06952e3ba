"""What is heard in a conversation about a command: the half that is the same in all of them.

The server tells what happens until exactly one `exit` or `error`. There are two forms of it
(`internal/api/openapi.yaml`, `streamCommand`): with the subprotocol `sandlot.exec.v1`, frames of
one byte channel, eight bytes offset and the payload; without it, JSON texts, all that an original
Wrenn server knows.
"""

from __future__ import annotations

import json
import struct
from collections import deque
from typing import TypeAlias

from .._failures import denied, from_code
from ..errors import SandlotError, StreamClosedError, UnexpectedResponseError
from ..events import (
    StreamErrorEvent,
    StreamEvent,
    StreamExitEvent,
    StreamGapEvent,
    StreamStartEvent,
    StreamStderrEvent,
    StreamStdoutEvent,
)
from .fields import Fields
from .output import Output

SUBPROTOCOL = "sandlot.exec.v1"
CONTROL, STDOUT, STDERR, STDIN = range(4)
HEADER = struct.Struct(">BQ")

Message: TypeAlias = str | bytes


class Hearing:
    """Knows what has been said by the server; performs no I/O.

    Attributes:
        events: What has been received and not yet taken.
        unread: Bytes of output in there.
        pid: Id of the process, once it runs.
        is_over: `exit` or `error` has come; nothing follows.
        last: That event.
        error: What is to be raised once the events are taken.
        framed: Whether frames are spoken, and not only JSON.
    """

    def __init__(self, *, framed: bool) -> None:
        self.events: deque[StreamEvent] = deque()
        self.unread = 0
        self.pid: int | None = None
        self.is_over = False
        self.last: StreamExitEvent | StreamErrorEvent | None = None
        self.error: SandlotError | None = None
        self.framed = framed
        self._stdout = Output()
        self._stderr = Output()

    def receive(self, message: Message) -> None:
        """Read a message; what it means is in `events` or `error` afterwards."""
        try:
            if self.framed and isinstance(message, bytes):
                self._receive_frame(message)
            else:
                self._receive_json(message)
        except UnexpectedResponseError as exc:
            self.error = exc

    def lose(self, reason: str) -> None:
        """Take note that the connection has ended; before the command did, that is an error."""
        if self.is_over or self.error is not None:
            return
        self.error = StreamClosedError(
            f"The stream ended {self._where()}; what was received is in .stdout and .stderr:"
            f" {reason}",
            stdout=self._stdout.tail(),
            stderr=self._stderr.tail(),
        )

    def deny(self, refusal: SandlotError) -> bool:
        """Take note that the server refuses to go on; return whether that is all to be known."""
        stdout, stderr = self._stdout.tail(), self._stderr.tail()
        error = denied(refusal, stdout=stdout, stderr=stderr)
        if error is None:
            return False
        self._pass_on(STDOUT, self._stdout.flush())
        self._pass_on(STDERR, self._stderr.flush())
        self.error = error
        return True

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

    def _where(self) -> str:
        if self.pid is None:
            return "before the command is known to have started; it may have run"
        return f"while the command ran (pid {self.pid}); it may have run to its end"

    def _begin(self, pid: int, fields: Fields) -> None:
        """Take note that the command runs; more may be learnt from the message."""
        del fields
        self.pid = pid
        self.events.append(StreamStartEvent(pid))

    def _receive_other(self, kind: str, fields: Fields) -> None:
        """Take a message that only some conversations have, or a later version."""

    def _skip(self, stream: str, offset: int) -> None:
        if stream not in ("stdout", "stderr"):
            raise ValueError("no such stream")
        channel = STDOUT if stream == "stdout" else STDERR
        output = self._output(channel)
        if offset < output.received:
            raise ValueError(f"back from {output.received} to {offset}")
        rest, missing = output.skip(offset)
        self._pass_on(channel, rest)
        self.events.append(StreamGapEvent(stream, missing))

    def _output(self, channel: int) -> Output:
        return self._stdout if channel == STDOUT else self._stderr

    def _receive_frame(self, frame: bytes) -> None:
        if len(frame) < HEADER.size:
            raise UnexpectedResponseError(
                f"exec stream: a frame of {len(frame)} bytes", outcome="unknown"
            )
        channel, offset = HEADER.unpack_from(frame)
        if channel == CONTROL:
            self._receive_json(frame[HEADER.size :])
        elif channel in (STDOUT, STDERR):
            self._receive_output(channel, frame[HEADER.size :], offset)
        # Other channels are for later versions.

    def _receive_json(self, message: Message) -> None:
        try:
            fields = Fields(json.loads(message))
            match fields.text("type"):
                case "start":
                    self._begin(fields.whole("pid"), fields)
                # Original servers leave out `data` when it is empty (wrenn: omitempty).
                case "stdout":
                    self._receive_output(STDOUT, (fields.maybe_text("data") or "").encode())
                case "stderr":
                    self._receive_output(STDERR, (fields.maybe_text("data") or "").encode())
                case "exit":
                    how = [fields.flag(name) for name in ("timed_out", "oom", "no_space")]
                    code = fields.whole("exit_code")
                    self._end(StreamExitEvent(code, fields.maybe_text("signal"), *how))
                case "error":
                    reason = fields.maybe_text("data") or "the server gave no reason"
                    name = fields.maybe_text("code")
                    if not self.deny(from_code(name or "", reason)):
                        self._end(StreamErrorEvent(reason, name))
                case "gap":
                    self._skip(fields.text("stream"), fields.whole("offset"))
                case kind:
                    self._receive_other(kind, fields)
        except ValueError as exc:
            raise UnexpectedResponseError(
                f"exec stream: malformed message {message[:200]!r}: {exc}", outcome="unknown"
            ) from exc

    def _receive_output(self, channel: int, data: bytes, offset: int | None = None) -> None:
        output = self._output(channel)
        if offset is not None and offset != output.received:
            raise UnexpectedResponseError(
                f"exec stream: output is at byte {offset} where {output.received} was due",
                outcome="unknown",
            )
        self._pass_on(channel, output.take(data))

    def _pass_on(self, channel: int, data: bytes) -> None:
        if data:
            self.unread += len(data)
            event = StreamStdoutEvent(data) if channel == STDOUT else StreamStderrEvent(data)
            self.events.append(event)

    def _end(self, last: StreamExitEvent | StreamErrorEvent) -> None:
        self._pass_on(STDOUT, self._stdout.flush())
        self._pass_on(STDERR, self._stderr.flush())
        self.events.append(last)
        self.last = last
        self.is_over = True
