"""A conversation without I/O, as lines see it."""

from __future__ import annotations

from typing import Protocol

from .._protocols.hearing import Message
from ..errors import SandlotError


class Talk(Protocol):
    """A conversation without I/O."""

    def outgoing(self) -> Message | None:
        """Take the next message that may be sent now."""
        ...

    def unsent(self, message: Message) -> None:
        """Take back what could not be sent."""
        ...

    def receive(self, message: Message) -> None:
        """Read a message."""
        ...

    def discard(self) -> None:
        """Forget the output that nobody has taken."""
        ...

    def lose(self, reason: str) -> None:
        """Take note that the connection has ended."""
        ...

    def deny(self, refusal: SandlotError) -> bool:
        """Take note that the server refuses to go on; return whether that is all to be known."""
        ...

    def can_return(self) -> bool:
        """Tell whether the conversation can go on over another connection."""
        ...

    def come_back(self) -> Message | None:
        """Return what to say first on another connection."""
        ...
