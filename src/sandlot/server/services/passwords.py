"""Passwords: hashed with Argon2id, in threads, a few at a time."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argon2 import PasswordHasher

__all__ = ["Passwords"]

_AT_ONCE = 2
"""Each takes 64 MiB and some tens of milliseconds; nobody shall use up the machine with them."""


class Passwords:
    """Hashes and verifies passwords."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._decoy: str | None = None

    async def hash(self, password: str) -> str:
        """Return the hash of a password, with its salt and parameters."""
        async with self._slots:
            return await asyncio.to_thread(lambda: _hasher().hash(password))

    async def verify(self, hash: str | None, password: str) -> bool:
        """Tell whether a hash is that of a password.

        It takes as long if there is no hash at all: answers do not tell who has an account.
        """
        async with self._slots:
            if self._decoy is None:
                self._decoy = await asyncio.to_thread(_hasher().hash, secrets.token_hex())
            matches = await asyncio.to_thread(_matches, hash or self._decoy, password)
        return matches and hash is not None


def _matches(hash: str, password: str) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return _hasher().verify(hash, password)
    except (VerificationError, InvalidHashError):
        return False


def _hasher() -> PasswordHasher:
    """Return what hashes, with the memory-constrained parameters of RFC 9106, section 4."""
    from argon2 import PasswordHasher, profiles  # only servers with users need it

    return PasswordHasher.from_parameters(profiles.RFC_9106_LOW_MEMORY)
