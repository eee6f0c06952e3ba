"""The clients: where everything begins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from . import models
from ._endpoints import LocalServer, configured, endpoint
from ._operations import meta
from ._retry import Retry
from ._transport import AsyncTransport, Transport
from .config import Config
from .resources.admin import Admin, AsyncAdmin
from .resources.api_keys import ApiKeys, AsyncApiKeys
from .resources.audit import AsyncAudit, Audit
from .resources.auth import AsyncAuth, Auth
from .resources.builds import AsyncBuilds, Builds
from .resources.channels import AsyncChannels, Channels
from .resources.hosts import AsyncHosts, Hosts
from .resources.sandboxes import AsyncSandboxes, Sandboxes
from .resources.snapshots import AsyncSnapshots, Snapshots
from .resources.teams import AsyncTeams, Teams
from .resources.users import AsyncUsers, Users

__all__ = ["AsyncClient", "Client"]


class Client:
    """A client of a control plane. Threads may share it.

    Attributes:
        admin: What administrators of the platform do.
        api_keys: Make, list and revoke API keys of the team.
        audit: Read who did what in the team.
        auth: Sign up, log in, change teams.
        builds: Make templates for all teams from recipes.
        channels: Be told of what happens, by webhook or in a chat.
        hosts: The machines that sandboxes are on.
        sandboxes: Make, find and remove sandboxes.
        snapshots: Keep files of sandboxes as templates for others.
        teams: Make, change and leave teams.
        users: Find users.
    """

    admin: Admin
    api_keys: ApiKeys
    audit: Audit
    auth: Auth
    builds: Builds
    channels: Channels
    hosts: Hosts
    sandboxes: Sandboxes
    snapshots: Snapshots
    teams: Teams
    users: Users

    def __init__(
        self,
        api_key: str | None = None,
        *,
        token: str | None = None,
        base_url: str | None = None,
        timeout: float | None = None,
        retry: Retry | None = None,
        profile: str | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        proxy: str | None = None,
        transport: Transport | None = None,
    ) -> None:
        """Take what is given, and the rest from the environment and the configuration file.

        Args:
            api_key: An API key.
            token: A user's or service's token, instead of an API key.
            base_url: Address of the server, perhaps with a path before `/v1`.
            timeout: Seconds to wait for an answer to ordinary calls; those that take long by
                nature, such as running commands, wait longer.
            retry: When to send a request again.
            profile: Table of the configuration file to use.
            ca_bundle: File with the certificates to trust instead of the usual ones.
            proxy: Proxy to use instead of those that the environment names.
            transport: What to reach a server with, instead of all of these.

        Raises:
            ConfigurationError: Something is missing or makes no sense.
        """
        if transport is None:
            target = configured(api_key, token, base_url, timeout, profile, ca_bundle, proxy)
            transport = Transport(target, retry or Retry())
        self._transport = transport
        self.admin = Admin(transport)
        self.api_keys = ApiKeys(transport)
        self.audit = Audit(transport)
        self.auth = Auth(transport)
        self.builds = Builds(transport)
        self.channels = Channels(transport)
        self.hosts = Hosts(transport)
        self.sandboxes = Sandboxes(transport)
        self.snapshots = Snapshots(transport)
        self.teams = Teams(transport)
        self.users = Users(transport)

    @classmethod
    def from_env(cls, prefix: str = "SANDLOT_", *, retry: Retry | None = None) -> Self:
        """Make a client from environment variables alone: `{prefix}BASE_URL` and its like."""
        config = Config.from_env(prefix)
        return cls(transport=Transport(endpoint(config), retry or Retry()))

    @classmethod
    def local(
        cls,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        engine: str = "auto",
        start_timeout: float = 30,
        warm: Mapping[str, int] | None = None,
        retry: Retry | None = None,
    ) -> Self:
        """Make a client with a server of its own, which is stopped when the client is closed.

        Args:
            data_dir: Where the server keeps its state; nothing outlives it if None.
            engine: `auto` or `local` for isolated sandboxes; `process` for none at all.
            start_timeout: Seconds to wait for the server.
            warm: How many sandboxes of which templates to keep prepared, so that those who ask for
                nothing but a template get one that is ready: `{"python-jupyter": 1}`.
            retry: When to send a request again.

        Raises:
            LocalServerError: It cannot run here; the message says why and what to do.
        """
        server = LocalServer(data_dir, engine, start_timeout, warm)
        transport = Transport(None, retry or Retry(), server)
        transport.begin()
        return cls(transport=transport)

    @property
    def base_url(self) -> str | None:
        """Address of the server; None for one of its own that has not started yet."""
        return self._transport.base_url

    def health(self) -> models.Health:
        """Ask whether the server is up."""
        return self._transport.run(meta.health())

    def capabilities(self) -> models.Capabilities:
        """Ask what the server can do, and how it isolates sandboxes.

        Raises:
            UnsupportedError: It cannot say: it is an original Wrenn server.
        """
        return self._transport.run(meta.capabilities(self._transport.server))

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Send a request that this version of the library has no method for.

        Args:
            method: HTTP method.
            path: Path below the server's address, such as `/v1/sandboxes`.
            params: Query parameters.
            json: What to send as JSON; nothing if None.
            idempotency_key: Makes it safe to send the request again.
            timeout: Seconds to wait for an answer.

        Returns:
            The JSON of the answer; bytes if it is something else; None if it is empty.
        """
        return self._transport.run(
            meta.request(
                method,
                path,
                params=params,
                json=json,
                idempotency_key=idempotency_key,
                timeout=timeout,
            )
        )

    def close(self) -> None:
        """Close the connections, and stop the server if it is the client's own. May be repeated."""
        self._transport.close()

    def __enter__(self) -> Self:
        self._transport.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self._transport.where}>"


class AsyncClient:
    """A client of a control plane. Tasks may share it, and event loops too.

    Attributes:
        admin: What administrators of the platform do.
        api_keys: Make, list and revoke API keys of the team.
        audit: Read who did what in the team.
        auth: Sign up, log in, change teams.
        builds: Make templates for all teams from recipes.
        channels: Be told of what happens, by webhook or in a chat.
        hosts: The machines that sandboxes are on.
        sandboxes: Make, find and remove sandboxes.
        snapshots: Keep files of sandboxes as templates for others.
        teams: Make, change and leave teams.
        users: Find users.
    """

    admin: AsyncAdmin
    api_keys: AsyncApiKeys
    audit: AsyncAudit
    auth: AsyncAuth
    builds: AsyncBuilds
    channels: AsyncChannels
    hosts: AsyncHosts
    sandboxes: AsyncSandboxes
    snapshots: AsyncSnapshots
    teams: AsyncTeams
    users: AsyncUsers

    def __init__(
        self,
        api_key: str | None = None,
        *,
        token: str | None = None,
        base_url: str | None = None,
        timeout: float | None = None,
        retry: Retry | None = None,
        profile: str | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        proxy: str | None = None,
        transport: AsyncTransport | None = None,
    ) -> None:
        """Take what is given, and the rest from the environment and the configuration file.

        Args:
            api_key: An API key.
            token: A user's or service's token, instead of an API key.
            base_url: Address of the server, perhaps with a path before `/v1`.
            timeout: Seconds to wait for an answer to ordinary calls; those that take long by
                nature, such as running commands, wait longer.
            retry: When to send a request again.
            profile: Table of the configuration file to use.
            ca_bundle: File with the certificates to trust instead of the usual ones.
            proxy: Proxy to use instead of those that the environment names.
            transport: What to reach a server with, instead of all of these.

        Raises:
            ConfigurationError: Something is missing or makes no sense.
        """
        if transport is None:
            target = configured(api_key, token, base_url, timeout, profile, ca_bundle, proxy)
            transport = AsyncTransport(target, retry or Retry())
        self._transport = transport
        self.admin = AsyncAdmin(transport)
        self.api_keys = AsyncApiKeys(transport)
        self.audit = AsyncAudit(transport)
        self.auth = AsyncAuth(transport)
        self.builds = AsyncBuilds(transport)
        self.channels = AsyncChannels(transport)
        self.hosts = AsyncHosts(transport)
        self.sandboxes = AsyncSandboxes(transport)
        self.snapshots = AsyncSnapshots(transport)
        self.teams = AsyncTeams(transport)
        self.users = AsyncUsers(transport)

    @classmethod
    def from_env(cls, prefix: str = "SANDLOT_", *, retry: Retry | None = None) -> Self:
        """Make a client from environment variables alone: `{prefix}BASE_URL` and its like."""
        config = Config.from_env(prefix)
        return cls(transport=AsyncTransport(endpoint(config), retry or Retry()))

    @classmethod
    def local(
        cls,
        *,
        data_dir: str | os.PathLike[str] | None = None,
        engine: str = "auto",
        start_timeout: float = 30,
        warm: Mapping[str, int] | None = None,
        retry: Retry | None = None,
    ) -> Self:
        """Make a client with a server of its own, which is stopped when the client is closed.

        The server starts when the client is entered or first used.

        Args:
            data_dir: Where the server keeps its state; nothing outlives it if None.
            engine: `auto` or `local` for isolated sandboxes; `process` for none at all.
            start_timeout: Seconds to wait for the server.
            warm: How many sandboxes of which templates to keep prepared, so that those who ask for
                nothing but a template get one that is ready: `{"python-jupyter": 1}`.
            retry: When to send a request again.

        Raises:
            LocalServerError: It cannot run here; the message says why and what to do.
        """
        server = LocalServer(data_dir, engine, start_timeout, warm)
        return cls(transport=AsyncTransport(None, retry or Retry(), server))

    @property
    def base_url(self) -> str | None:
        """Address of the server; None for one of its own that has not started yet."""
        return self._transport.base_url

    async def health(self) -> models.Health:
        """Ask whether the server is up."""
        return await self._transport.run(meta.health())

    async def capabilities(self) -> models.Capabilities:
        """Ask what the server can do, and how it isolates sandboxes.

        Raises:
            UnsupportedError: It cannot say: it is an original Wrenn server.
        """
        return await self._transport.run(meta.capabilities(self._transport.server))

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Send a request that this version of the library has no method for.

        Args:
            method: HTTP method.
            path: Path below the server's address, such as `/v1/sandboxes`.
            params: Query parameters.
            json: What to send as JSON; nothing if None.
            idempotency_key: Makes it safe to send the request again.
            timeout: Seconds to wait for an answer.

        Returns:
            The JSON of the answer; bytes if it is something else; None if it is empty.
        """
        return await self._transport.run(
            meta.request(
                method,
                path,
                params=params,
                json=json,
                idempotency_key=idempotency_key,
                timeout=timeout,
            )
        )

    async def aclose(self) -> None:
        """Close the connections, and stop the server if it is the client's own. May be repeated."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        await self._transport.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<AsyncClient of {self._transport.where}>"
