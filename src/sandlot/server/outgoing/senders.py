"""One way out for all providers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .providers import WEBHOOK, check_config
from .targets import Network, Targets

if TYPE_CHECKING:
    from .chats import Chats
    from .webhooks import Webhooks

__all__ = ["Message", "Senders"]


@dataclass(frozen=True, slots=True)
class Message:
    """Something to be sent.

    Attributes:
        id: What receivers know it by, however often it is sent.
        payload: What webhooks get.
        title: What chat services get, and the text beneath it.
    """

    id: str
    payload: str
    title: str
    text: str


class Senders:
    """Sends to all providers; what that takes is imported when there is something to send.

    Args:
        allowed: Networks that may be connected to besides the public ones.
        timeout: Seconds for a request.
    """

    def __init__(self, allowed: Sequence[Network], timeout: float) -> None:
        self._allowed = allowed
        self._targets = Targets(allowed)
        self._timeout = timeout
        self._webhooks: Webhooks | None = None
        self._chats: Chats | None = None

    async def check(self, provider: str, config: Mapping[str, str]) -> None:
        """Check a configuration without sending anything.

        Raises:
            BadConfigError: It makes no sense.
            NotDeliveredError: There is nobody to ask.
        """
        check_config(provider, config, self._targets)
        if provider != WEBHOOK:
            await (await self._chat()).check(provider, config)

    async def send(self, provider: str, config: Mapping[str, str], message: Message) -> int | None:
        """Send a message; return the HTTP status of the answer, if it is known.

        Raises:
            BadConfigError: The configuration makes no sense.
            NotDeliveredError: The message did not arrive, as far as is known.
        """
        if provider == WEBHOOK:
            webhooks = await self._webhook()
            return await webhooks.send(config["url"], config["secret"], message.id, message.payload)
        await (await self._chat()).send(provider, config, message.title, message.text)
        return None

    async def close(self) -> None:
        """End what runs on behalf of this."""
        if self._chats is not None:
            await self._chats.close()

    async def _webhook(self) -> Webhooks:
        if self._webhooks is None:
            self._webhooks = await asyncio.to_thread(self._make_webhooks)
        return self._webhooks

    def _make_webhooks(self) -> Webhooks:
        """Import an HTTP client, and read the certificates of those who are trusted."""
        from .webhooks import Webhooks

        return Webhooks(self._targets, self._timeout)

    async def _chat(self) -> Chats:
        from .chats import Chats

        if self._chats is None:
            # Chat services may have to be asked twice or thrice.
            self._chats = Chats(self._allowed, 2 * self._timeout)
        return self._chats
