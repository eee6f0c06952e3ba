"""The two forms of the conversation of `exec/stream`: what travels, without the travelling.

Binary messages, those of the subprotocol, are a channel (one byte), an offset (eight, big-endian)
and a payload.
"""

from __future__ import annotations

import codecs
import struct
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.types import Message

from sandlot.models import ExecStreamEvent
from sandlot.server.services.tapes import Gap, Piece

__all__ = ["SUBPROTOCOL", "BinaryWire", "Control", "Incoming", "Stdin", "TextWire", "Wire"]

SUBPROTOCOL: Final = "sandlot.exec.v1"

_HEAD = struct.Struct(">BQ")
_CONTROL, _STDIN = 0, 3
_CHANNELS: Final = {"stdout": 1, "stderr": 2}


@dataclass(frozen=True, slots=True)
class Control:
    """A JSON message of the client.

    Attributes:
        text: The message, to be validated by whoever knows what it should be.
    """

    type: str
    text: str | bytes
    signal: str | None = None


@dataclass(frozen=True, slots=True)
class Stdin:
    """Input for the command."""

    offset: int
    data: bytes


Incoming = Control | Stdin


class Wire(Protocol):
    """One form of the conversation."""

    @property
    def has_stdin(self) -> bool:
        """Whether the client can send input and signals."""
        ...

    def event(self, event: ExecStreamEvent) -> Message:
        """Return the message for an event other than output."""
        ...

    def output(self, piece: Piece) -> list[Message]:
        """Return the messages for a piece of output."""
        ...

    def gap(self, gap: Gap) -> list[Message]:
        """Return the messages for what is missing."""
        ...

    def rest(self) -> list[Message]:
        """Return the messages for what was kept back until the end of the output."""
        ...

    def parse(self, message: Message) -> Incoming | None:
        """Return what a message of the client says; None if nothing that this form knows."""
        ...


class TextWire:
    """The original form: JSON texts."""

    has_stdin = False

    def __init__(self) -> None:
        # Characters may be cut in two by the borders of pieces.
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {name: decoder(errors="replace") for name in _CHANNELS}

    def event(self, event: ExecStreamEvent) -> Message:
        """Return the message for an event other than output."""
        return {"type": "websocket.send", "text": event.model_dump_json(exclude_none=True)}

    def output(self, piece: Piece) -> list[Message]:
        """Return the messages for a piece of output."""
        return self._texts(piece.stream, self._decoders[piece.stream].decode(piece.data))

    def gap(self, gap: Gap) -> list[Message]:
        """Return the messages for what is missing."""
        rest = self._texts(gap.stream, self._decoders[gap.stream].decode(b"", final=True))
        return [*rest, self.event(_gap_event(gap))]

    def rest(self) -> list[Message]:
        """Return the messages for characters that were never completed."""
        messages: list[Message] = []
        for name, decoder in self._decoders.items():
            messages += self._texts(name, decoder.decode(b"", final=True))
        return messages

    def parse(self, message: Message) -> Incoming | None:
        """Return what a message of the client says."""
        return _parse_control(message.get("text") or message.get("bytes") or "")

    def _texts(self, stream: str, text: str) -> list[Message]:
        return [self.event(ExecStreamEvent(type=stream, data=text))] if text else []


class BinaryWire:
    """The subprotocol: exact bytes with offsets."""

    has_stdin = True

    def event(self, event: ExecStreamEvent) -> Message:
        """Return the message for an event other than output."""
        payload = event.model_dump_json(exclude_none=True).encode()
        return {"type": "websocket.send", "bytes": _HEAD.pack(_CONTROL, 0) + payload}

    def output(self, piece: Piece) -> list[Message]:
        """Return the message for a piece of output."""
        head = _HEAD.pack(_CHANNELS[piece.stream], piece.offset)
        return [{"type": "websocket.send", "bytes": head + piece.data}]

    def gap(self, gap: Gap) -> list[Message]:
        """Return the message for what is missing."""
        return [self.event(_gap_event(gap))]

    def rest(self) -> list[Message]:
        """Return nothing: nothing is kept back."""
        return []

    def parse(self, message: Message) -> Incoming | None:
        """Return what a message of the client says."""
        data: bytes = message.get("bytes") or b""
        if len(data) < _HEAD.size:
            return None
        channel, offset = _HEAD.unpack_from(data)
        if channel == _STDIN:
            return Stdin(offset, data[_HEAD.size :])
        return _parse_control(data[_HEAD.size :]) if channel == _CONTROL else None


def _gap_event(gap: Gap) -> ExecStreamEvent:
    return ExecStreamEvent(type="gap", stream=gap.stream, offset=gap.offset)


class _AnyMessage(ExecStreamEvent):
    """Any JSON message; only what all have in common."""


def _parse_control(text: str | bytes) -> Control | None:
    try:
        message = _AnyMessage.model_validate(from_json(text))
    except (ValidationError, ValueError):
        return None
    return Control(message.type, text, message.signal)
