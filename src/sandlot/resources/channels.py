"""Channels of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import models
from .._operations import channels
from .._resource import AsyncResource, Resource
from .pages import AsyncPage, AsyncPageRequest, Page

__all__ = ["AsyncChannels", "Channels"]


class Channels(Resource):
    """Be told of what happens, by webhook or in a chat."""

    def create(
        self, name: str, provider: str, config: Mapping[str, str], events: Sequence[str]
    ) -> models.Channel:
        """Make a channel; the secret of a webhook is in the answer, and cannot be had again.

        Args:
            name: What to call it; capitals become small letters, spaces hyphens.
            provider: `webhook`, `discord`, `slack`, `teams`, `googlechat`, `telegram` or `matrix`.
            config: What the provider needs: of a webhook the `url`, and a `secret` unless the
                server is to make one; of most chats the `webhook_url`; of Telegram `bot_token` and
                `chat_id`; of Matrix `homeserver_url`, `access_token` and `room_id`.
            events: What to tell of, such as `capsule.created`.

        Raises:
            InvalidRequestError: Something of it makes no sense to the server.
            ConflictError: There is a channel of this name.
        """
        return self._run(channels.create(self._server, name, provider, config, events))

    def list(self) -> Sequence[models.Channel]:
        """List channels, newest first."""
        return self._run(channels.list_all())

    def get(self, channel_id: str) -> models.Channel:
        """Look up a channel.

        Raises:
            NotFoundError: There is none of this id.
        """
        return self._run(channels.get(channel_id))

    def update(
        self, channel_id: str, *, name: str | None = None, events: Sequence[str] | None = None
    ) -> models.Channel:
        """Change what a channel is called, or told of; what is None stays as it is.

        Raises:
            NotFoundError: There is none of this id.
            ConflictError: There is another channel of this name.
        """
        return self._run(channels.update(channel_id, name, events))

    def delete(self, channel_id: str) -> None:
        """Delete a channel and what is still on its way to it; one that is gone is fine."""
        self._run(channels.delete(channel_id))

    def rotate_config(self, channel_id: str, config: Mapping[str, str]) -> models.Channel:
        """Replace all of a channel's configuration.

        A webhook without a `secret` in it gets a new one, which is in the answer. (Original Wrenn
        servers keep it to themselves: bring one.)

        Raises:
            NotFoundError: There is none of this id.
        """
        return self._run(channels.rotate_config(channel_id, config))

    def test(self, provider: str, config: Mapping[str, str]) -> None:
        """Have a message sent, once, without making a channel; returns when it has arrived.

        Raises:
            APIError: It did not arrive; the message says why.
        """
        self._run(channels.test(provider, config))

    def deliveries(
        self,
        channel_id: str,
        *,
        status: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[models.Delivery]:
        """List what was sent to a channel, newest first, and what became of it.

        Args:
            channel_id: Id of the channel.
            status: Only those that are `pending`, `delivered` or `failed`.
            limit: Deliveries per page; the server chooses if None.
            cursor: Where to begin: `next_cursor` of a page.
        """

        def fetch(cursor: str | None) -> Page[models.Delivery]:
            request = channels.deliveries(
                self._server, channel_id, status=status, limit=limit, cursor=cursor
            )
            return Page(self._run(request), fetch)

        return fetch(cursor)


class AsyncChannels(AsyncResource):
    """Be told of what happens, by webhook or in a chat."""

    async def create(
        self, name: str, provider: str, config: Mapping[str, str], events: Sequence[str]
    ) -> models.Channel:
        """Make a channel; the secret of a webhook is in the answer, and cannot be had again.

        Args:
            name: What to call it; capitals become small letters, spaces hyphens.
            provider: `webhook`, `discord`, `slack`, `teams`, `googlechat`, `telegram` or `matrix`.
            config: What the provider needs: of a webhook the `url`, and a `secret` unless the
                server is to make one; of most chats the `webhook_url`; of Telegram `bot_token` and
                `chat_id`; of Matrix `homeserver_url`, `access_token` and `room_id`.
            events: What to tell of, such as `capsule.created`.

        Raises:
            InvalidRequestError: Something of it makes no sense to the server.
            ConflictError: There is a channel of this name.
        """
        return await self._run(channels.create(self._server, name, provider, config, events))

    async def list(self) -> Sequence[models.Channel]:
        """List channels, newest first."""
        return await self._run(channels.list_all())

    async def get(self, channel_id: str) -> models.Channel:
        """Look up a channel.

        Raises:
            NotFoundError: There is none of this id.
        """
        return await self._run(channels.get(channel_id))

    async def update(
        self, channel_id: str, *, name: str | None = None, events: Sequence[str] | None = None
    ) -> models.Channel:
        """Change what a channel is called, or told of; what is None stays as it is.

        Raises:
            NotFoundError: There is none of this id.
            ConflictError: There is another channel of this name.
        """
        return await self._run(channels.update(channel_id, name, events))

    async def delete(self, channel_id: str) -> None:
        """Delete a channel and what is still on its way to it; one that is gone is fine."""
        await self._run(channels.delete(channel_id))

    async def rotate_config(self, channel_id: str, config: Mapping[str, str]) -> models.Channel:
        """Replace all of a channel's configuration.

        A webhook without a `secret` in it gets a new one, which is in the answer. (Original Wrenn
        servers keep it to themselves: bring one.)

        Raises:
            NotFoundError: There is none of this id.
        """
        return await self._run(channels.rotate_config(channel_id, config))

    async def test(self, provider: str, config: Mapping[str, str]) -> None:
        """Have a message sent, once, without making a channel; returns when it has arrived.

        Raises:
            APIError: It did not arrive; the message says why.
        """
        await self._run(channels.test(provider, config))

    def deliveries(
        self,
        channel_id: str,
        *,
        status: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> AsyncPageRequest[models.Delivery]:
        """List what was sent to a channel, newest first, and what became of it.

        Args:
            channel_id: Id of the channel.
            status: Only those that are `pending`, `delivered` or `failed`.
            limit: Deliveries per page; the server chooses if None.
            cursor: Where to begin: `next_cursor` of a page.
        """

        async def fetch(cursor: str | None) -> AsyncPage[models.Delivery]:
            request = channels.deliveries(
                self._server, channel_id, status=status, limit=limit, cursor=cursor
            )
            return AsyncPage(await self._run(request), fetch)

        return AsyncPageRequest(lambda: fetch(cursor))
