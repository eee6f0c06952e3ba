"""The conversation with a terminal: JSON messages, what is typed and written in base64."""

from __future__ import annotations

import base64
import binascii
import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from .._failures import denied, from_code
from ..errors import (
    CommandError,
    SandlotError,
    StreamClosedError,
    UnexpectedResponseError,
)
from .fields import Fields
from .hearing import Message

_TYPED = 32 << 10
"""Bytes of what is typed in one message."""


class TerminalConversation:
    """Knows what has been said and what is to be said; performs no I/O.

    Attributes:
        tag: Name of the terminal, once it is known.
        pid: Id of the program in it, if that is known.
        exit_code: How the program ended, once it has.
        signal: Name of the signal that ended it.
        missed: Bytes of output that nobody has kept.
        error: What is to be raised once the output is taken.
    """

    def __init__(self, tag: str | None = None) -> None:
        self.tag = tag
        self.pid: int | None = None
        self.exit_code: int | None = None
        self.signal: str | None = None
        self.missed = 0
        self.error: SandlotError | None = None
        self._pieces: deque[bytes] = deque()
        self._outgoing: deque[Message] = deque()
        self._offset: int | None = None
        self._began = False

    # What the user wants

    def start(
        self,
        argv: Sequence[str],
        cols: int,
        rows: int,
        cwd: str | None,
        env: Mapping[str, str] | None,
    ) -> None:
        """Say what to run in which terminal; the tag is left out if there is none."""
        wanted: dict[str, Any] = {"type": "start", "cols": cols, "rows": rows, "scrollback": True}
        if argv:
            wanted |= {"cmd": argv[0], "args": list(argv[1:])}
        optional = {"cwd": cwd, "envs": env, "tag": self.tag}
        self._say(wanted | {name: value for name, value in optional.items() if value is not None})

    def connect(self) -> None:
        """Say which terminal to come to, and that what was written there is wanted too."""
        self._say({"type": "connect", "tag": self.tag, "scrollback": True})

    def type(self, data: bytes) -> None:
        """Type something."""
        for start in range(0, len(data), _TYPED):
            piece = base64.b64encode(data[start : start + _TYPED]).decode()
            self._say({"type": "input", "data": piece})

    def resize(self, cols: int, rows: int) -> None:
        """Say how large the terminal is from now on."""
        self._say({"type": "resize", "cols": cols, "rows": rows})

    def kill(self) -> None:
        """Kill everything that runs in it."""
        self._say({"type": "kill"})

    def outgoing(self) -> Message | None:
        """Take the next message that may be sent now; None if there is none."""
        return self._outgoing.popleft() if self._outgoing else None

    def unsent(self, message: Message) -> None:
        """Take back what could not be sent."""
        self._outgoing.appendleft(message)

    # What becomes of a lost connection

    def can_return(self) -> bool:
        """Tell whether the conversation can go on over another connection."""
        return self._offset is not None and not self.has_ended()

    def come_back(self) -> Message:
        """Return what to say first on another connection."""
        fields = {"tag": self.tag, "scrollback": True, "offset": self._offset}
        return json.dumps({"type": "connect", **fields})

    def lose(self, reason: str) -> None:
        """Take note that the connection has ended; before the program did, that is an error."""
        if not self.has_ended():
            self.error = StreamClosedError(
                f"The connection to the terminal {self.tag or ''} was lost; what runs in it may run"
                f" on: {reason}"
            )

    def deny(self, refusal: SandlotError) -> bool:
        """Take note that the server refuses to go on; return whether that is all to be known."""
        error = denied(refusal)
        if error is not None:
            self.error = error
        return error is not None

    # What the server says

    def receive(self, message: Message) -> None:
        """Read a message; after the end there is none to read."""
        if self.has_ended():
            return
        try:
            self._receive(Fields(json.loads(message)))
        except (ValueError, binascii.Error) as exc:
            self.error = UnexpectedResponseError(
                f"terminal: malformed message {message[:200]!r}: {exc}", outcome="unknown"
            )

    def _receive(self, fields: Fields) -> None:
        match fields.text("type"):
            case "started":
                self._begin(fields)
            case "output":
                # Original servers leave out `data` when it is empty (wrenn: omitempty).
                data = base64.b64decode(fields.maybe_text("data") or "", validate=True)
                self._count(len(data))
                if data:
                    self._pieces.append(data)
            case "gap":
                self._skip(fields.whole("offset"))
            case "exit":
                self.exit_code = fields.whole("exit_code")
                self.signal = fields.maybe_text("signal")
            case "error" if fields.flag("fatal"):
                self.error = self._failure(fields)
            case _:
                pass  # a ping, or of a later version

    def _begin(self, fields: Fields) -> None:
        tag, pid = fields.text("tag"), fields.whole("pid")
        offset = fields.maybe_whole("offset")
        if self._began and (tag, pid, offset) != (self.tag, self.pid, self._offset):
            raise ValueError(f"that is not {self.tag}, process {self.pid}, byte {self._offset}")
        self._began = True
        self.tag, self.pid, self._offset = tag, pid, offset

    def _skip(self, offset: int) -> None:
        missing = offset - (self._offset or 0)
        if missing < 0:
            raise ValueError(f"back from {self._offset} to {offset}")
        self.missed += missing
        self._offset = offset

    def _count(self, size: int) -> None:
        if self._offset is not None:
            self._offset += size

    def _failure(self, fields: Fields) -> SandlotError:
        reason = fields.maybe_text("data") or "the server gave no reason"
        code = fields.maybe_text("code")
        if error := denied(from_code(code or "", reason)):
            return error
        if code is None or self._began:
            return CommandError(f"The terminal could not be followed: {reason}", code=code)
        return from_code(code, reason)

    # What can be done now

    def has_begun(self) -> bool:
        """The terminal is there, or never will be."""
        return self._began or self.has_ended()

    def has_news(self) -> bool:
        """There is something to take, or there never will be."""
        return bool(self._pieces) or self.has_ended()

    def has_ended(self) -> bool:
        """Nothing more will be received."""
        return self.exit_code is not None or self.error is not None

    def is_told(self) -> bool:
        """All output is taken, and no more will come."""
        return not self._pieces and self.has_ended()

    def take(self) -> bytes | None:
        """Take the next output; None after the last."""
        if self._pieces:
            return self._pieces.popleft()
        self.check()
        return None

    def check(self) -> None:
        """Raise what is wrong, if something is."""
        if self.error is not None:
            raise self.error

    def discard(self) -> None:
        """Forget the output that nobody has taken."""
        self._pieces.clear()

    def _say(self, fields: dict[str, Any]) -> None:
        self._outgoing.append(json.dumps(fields, ensure_ascii=False, separators=(",", ":")))
