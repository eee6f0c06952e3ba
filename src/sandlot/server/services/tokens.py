"""Tokens: JSON Web Tokens of users and hosts, signed with HMAC-SHA256.

A token says who its bearer is, not what they may do: that is looked up each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from sandlot.server.store.identity_records import Standing

from .errors import UnauthorizedError

__all__ = ["MIN_SECRET", "Claims", "Token", "Tokens"]

MIN_SECRET: Final = 32
"""Characters that the secret has at least (RFC 7518, section 3.2)."""

_ALGORITHM = "HS256"
_USER_LIFETIME = timedelta(hours=6)
_HOST_LIFETIME = timedelta(days=7)
_MAX_LENGTH = 8192
_OPTIONS: Final = {"require": ["exp", "iat", "sub"]}
_INVALID = "The token is not valid: log in again."


@dataclass(frozen=True, slots=True)
class Token:
    """A token and when it expires."""

    text: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"<Token until {self.expires_at.isoformat()}>"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a user's token says.

    Attributes:
        key_version: That of the user when the token was made.
        expires_at: When it ceases to be valid, in seconds since 1970.
    """

    user_id: str
    team_id: str
    key_version: int
    expires_at: float


class Tokens:
    """Makes and reads tokens."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def for_user(self, standing: Standing) -> Token:
        """Return a token for a user in a team."""
        user = standing.user
        claims: dict[str, object] = {
            "sub": user.id,
            "team_id": standing.team.id,
            "role": standing.role,
            "email": user.email,
            "name": user.name,
            "ver": user.key_version,
        }
        if user.is_admin:
            claims["is_admin"] = True
        return self._make("user", claims, _USER_LIFETIME)

    def for_host(self, host_id: str) -> Token:
        """Return a token for a host."""
        return self._make("host", {"sub": host_id, "host_id": host_id}, _HOST_LIFETIME)

    def read_user(self, text: str) -> Claims:
        """Return what a user's token says.

        Raises:
            UnauthorizedError: It is not valid, or no user's.
        """
        claims = self._read("user", text)
        match claims:
            case {"sub": str(user), "team_id": str(team), "ver": int(version), "exp": expires_at}:
                return Claims(user, team, version, float(expires_at))
            case _:
                raise UnauthorizedError(_INVALID)

    def read_host(self, text: str) -> str:
        """Return the id of the host that a token is for.

        Raises:
            UnauthorizedError: It is not valid, or no host's.
        """
        match self._read("host", text):
            case {"host_id": str(host_id)}:
                return host_id
            case _:
                raise UnauthorizedError(_INVALID)

    def _make(self, kind: str, claims: dict[str, object], lifetime: timedelta) -> Token:
        now = datetime.now(UTC).replace(microsecond=0)
        expires_at = now + lifetime
        payload = {**claims, "typ": kind, "iat": now, "exp": expires_at}
        return Token(_signer().encode(payload, self._secret, _ALGORITHM), expires_at)

    def _read(self, kind: str, text: str) -> dict[str, Any]:
        from jwt import ExpiredSignatureError, InvalidTokenError

        if len(text) > _MAX_LENGTH:
            raise UnauthorizedError(_INVALID)
        try:
            # The algorithm is ours and never the token's: `none` and others do not get that far.
            claims = _signer().decode(text, self._secret, [_ALGORITHM], _OPTIONS)
        except ExpiredSignatureError as error:
            raise UnauthorizedError("The token has expired: log in again.") from error
        except InvalidTokenError as error:
            raise UnauthorizedError(_INVALID) from error
        if claims.get("typ") != kind:
            raise UnauthorizedError(f"The token is not one of a {kind}.")
        return claims


class _Signer(Protocol):
    """What is used of PyJWT, which is annotated in part only."""

    def encode(self, payload: dict[str, object], key: str, algorithm: str) -> str: ...

    def decode(self, jwt: str, key: str, algorithms: list[str], options: Any) -> dict[str, Any]: ...


def _signer() -> _Signer:
    from jwt import PyJWT  # only servers with users or hosts need it

    signer: _Signer = PyJWT()
    return signer
