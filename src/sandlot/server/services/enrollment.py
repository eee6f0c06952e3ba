"""How agents make a machine a host, and keep it one: the tokens that they use, and heartbeats.

A token of a registration, and one of a refresh, is 256 random bits of which the SHA-256 is stored,
and is used up by its first use, whatever comes of that.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from sandlot.server.store.hosts import HostRecord, HostRows, HostToken, TokenKind
from sandlot.server.texts import is_printable

from .announcements import announce_host
from .api_keys import key_digest
from .errors import InvalidRequestError, NotFoundError, UnauthorizedError
from .events import Events
from .tokens import Tokens

__all__ = ["Credentials", "Enrollment", "Figures"]

_LIFETIMES: Final[dict[TokenKind, timedelta]] = {
    "registration": timedelta(hours=1),
    "refresh": timedelta(days=60),
}
_LARGEST = 2**31 - 1
_LONGEST_ADDRESS = 255
_LONGEST_ARCH = 64


@dataclass(frozen=True, slots=True)
class Figures:
    """What an agent says of its machine."""

    address: str
    arch: str | None = None
    cpu_cores: int | None = None
    memory_mb: int | None = None
    disk_gb: int | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an agent is given.

    Attributes:
        token: What it sends as `X-Host-Token`.
        refresh_token: What it gets new ones for, once.
    """

    host: HostRecord
    token: str = field(repr=False)
    refresh_token: str = field(repr=False)


class Enrollment:
    """Registers hosts on behalf of their agents."""

    def __init__(self, rows: HostRows, tokens: Tokens, events: Events) -> None:
        self._rows = rows
        self._tokens = tokens
        self._events = events

    async def invite(self, host_id: str, token: str) -> None:
        """Let a host be registered with a token; earlier ones are of no use any more."""
        await self._accept(host_id, "registration", token)

    async def register(self, token: str, figures: Figures) -> Credentials:
        """Make a pending host one that is online.

        Raises:
            InvalidRequestError: The figures make no sense; the token can be used again.
            UnauthorizedError: The token is not valid, or not any more.
            NotFoundError: The host is gone, or registered already.
        """
        _check(figures)
        host_id = await self._use(token, "registration")
        record = await self._rows.get(host_id)
        now = datetime.now(UTC)
        if record is not None:
            record = replace(
                record,
                status="online",
                address=figures.address,
                arch=figures.arch,
                cpu_cores=figures.cpu_cores,
                memory_mb=figures.memory_mb,
                disk_gb=figures.disk_gb,
                updated_at=now,
                last_heartbeat_at=now,
            )
        if record is None or not await self._rows.register(record):
            raise NotFoundError("There is no such host that waits to be registered.")
        return await self._credentials(record)

    async def refresh(self, token: str) -> Credentials:
        """Return new tokens for a refresh token, which is used up.

        Raises:
            UnauthorizedError: It is not valid, or not any more.
        """
        host_id = await self._use(token, "refresh")
        record = await self._rows.get(host_id)
        if record is None:
            raise UnauthorizedError("The host of this token is gone.")
        return await self._credentials(record)

    async def heartbeat(self, host_id: str) -> None:
        """Note that a host is there.

        Raises:
            NotFoundError: It was deleted.
        """
        before = await self._rows.beat([host_id], datetime.now(UTC))
        if host_id not in before:
            raise NotFoundError("There is no such host.")
        if before[host_id] == "unreachable":
            record = await self._rows.get(host_id)
            if record is not None:
                announce_host(self._events, "host.up", record)

    async def _credentials(self, record: HostRecord) -> Credentials:
        refresh_token = secrets.token_hex(32)
        await self._accept(record.id, "refresh", refresh_token)
        return Credentials(record, self._tokens.for_host(record.id).text, refresh_token)

    async def _accept(self, host_id: str, kind: TokenKind, token: str) -> None:
        expires_at = datetime.now(UTC) + _LIFETIMES[kind]
        await self._rows.add_token(HostToken(key_digest(token), host_id, kind, expires_at))

    async def _use(self, token: str, kind: TokenKind) -> str:
        host_id = await self._rows.use_token(key_digest(token), kind, datetime.now(UTC))
        if host_id is None:
            raise UnauthorizedError(f"The {kind} token is invalid or expired, or was used already.")
        return host_id


def _check(figures: Figures) -> None:
    _check_text(figures.address, "address", _LONGEST_ADDRESS)
    if figures.arch is not None:
        _check_text(figures.arch, "arch", _LONGEST_ARCH)
    for name in ("cpu_cores", "memory_mb", "disk_gb"):
        number: int | None = getattr(figures, name)
        if number is not None and not 0 <= number <= _LARGEST:
            raise InvalidRequestError(f"{name}: must be a number from 0 to {_LARGEST}.")


def _check_text(text: str, name: str, longest: int) -> None:
    if not 1 <= len(text) <= longest or not is_printable(text):
        raise InvalidRequestError(f"{name}: must be 1-{longest} characters that can be shown.")
