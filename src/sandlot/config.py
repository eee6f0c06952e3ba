"""Where a client finds its server and its credential.

Arguments come before environment variables, these before the configuration file, that before the
defaults. An `api_key` or `token` in one layer hides both in the layers below it. The file is
`$SANDLOT_HOME/config.toml`, else `~/.config/sandlot/config.toml`; each table of it is a profile::

    [default]
    base_url = "https://sandboxes.example/api"
    api_key = "wrn_..."

    [staging]
    base_url = "https://staging.sandboxes.example/api"
    token = "..."

Nothing in the current directory is ever read.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .errors import ConfigurationError

__all__ = ["Config"]

_DEFAULT_TIMEOUT = 30.0
_SECRET = re.compile(r"[!-~]+")
_KEYS = ("api_key", "token", "base_url", "timeout", "ca_bundle", "proxy")


@dataclass(frozen=True, slots=True)
class Config:
    """What a client needs to know before it can talk to a server."""

    base_url: str
    """Address of the server, perhaps with a path before `/v1`."""
    api_key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    timeout: float = _DEFAULT_TIMEOUT
    """Seconds to wait for an answer to an ordinary call."""
    ca_bundle: str | None = None
    """File with the certificates to trust instead of the usual ones."""
    proxy: str | None = field(default=None, repr=False)
    """Proxy to use instead of those that the environment names."""

    @classmethod
    def resolve(
        cls,
        *,
        api_key: str | None = None,
        token: str | None = None,
        base_url: str | None = None,
        timeout: float | None = None,
        profile: str | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        proxy: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Config:
        """Gather the layers.

        Raises:
            ConfigurationError: Something is missing or makes no sense; the message says where.
        """
        environment = os.environ if environment is None else environment
        arguments: dict[str, Any] = {
            "api_key": api_key,
            "token": token,
            "base_url": base_url,
            "timeout": timeout,
            "ca_bundle": None if ca_bundle is None else os.fspath(ca_bundle),
            "proxy": proxy,
        }
        variables = _variables(environment, "SANDLOT_")
        chosen = profile or environment.get("SANDLOT_PROFILE") or None
        return _merged(
            (
                ("the arguments", arguments),
                ("the environment", variables),
                _profile(environment, chosen),
            )
        )

    @classmethod
    def from_env(cls, prefix: str, environment: Mapping[str, str] | None = None) -> Config:
        """Read the environment alone, from variables with this prefix."""
        environment = os.environ if environment is None else environment
        found = _variables(environment, prefix)
        if found["base_url"] is None:
            raise ConfigurationError(
                f"No server is configured: the environment variable {prefix}BASE_URL is not set"
            )
        return _merged((("the environment", found),))

    @property
    def headers(self) -> dict[str, str]:
        """The headers that carry the credential."""
        if self.api_key is not None:
            return {"X-API-Key": self.api_key}
        if self.token is not None:
            return {"Authorization": f"Bearer {self.token}"}
        return {}


def _variables(environment: Mapping[str, str], prefix: str) -> dict[str, Any]:
    return {key: environment.get(f"{prefix}{key.upper()}") or None for key in _KEYS[:4]}


def _profile(environment: Mapping[str, str], profile: str | None) -> tuple[str, dict[str, Any]]:
    home = environment.get("SANDLOT_HOME")
    folder = Path(home) if home else Path(environment.get("HOME") or Path.home(), ".config/sandlot")
    file = folder / "config.toml"
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        if profile is not None:
            raise ConfigurationError(
                f"There is no profile {profile!r}, as there is no file {file}"
            ) from None
        return "the configuration file", {}
    except OSError as exc:
        raise ConfigurationError(f"{file} cannot be read: {exc.strerror}") from exc
    tables = _tables(file, content)
    name = profile or "default"
    if name not in tables:
        if profile is None:
            return str(file), {}
        raise ConfigurationError(
            f"There is no profile {name!r} in {file}; it has: {', '.join(sorted(tables)) or 'none'}"
        )
    table = tables[name]
    if unknown := sorted(set(table) - set(_KEYS)):
        raise ConfigurationError(
            f"{file}, [{name}]: unknown {', '.join(unknown)}; known are {', '.join(_KEYS)}"
        )
    return f"{file}, [{name}]", table


def _tables(file: Path, content: bytes) -> dict[str, dict[str, Any]]:
    import tomllib  # needed only where there is a file

    try:
        document = tomllib.loads(content.decode())
    except ValueError as exc:  # TOMLDecodeError and UnicodeDecodeError; neither quotes the content
        raise ConfigurationError(f"{file} is not TOML: {exc}") from None
    for key, value in document.items():
        if not isinstance(value, dict):
            raise ConfigurationError(f"{file}: {key!r} must be inside a table such as [default]")
    return document


def _merged(layers: tuple[tuple[str, dict[str, Any]], ...]) -> Config:
    found: dict[str, Any] = {}
    credential = False
    for where, layer in layers:
        values = {key: value for key, value in layer.items() if value is not None}
        if "api_key" in values and "token" in values:
            raise ConfigurationError(f"Both api_key and token are in {where}: give one of them")
        hidden = credential
        for key, value in values.items():
            if key in {"api_key", "token"}:
                if not hidden:
                    found[key] = _secret(value, key, where)
                    credential = True
            elif key not in found:
                found[key] = _CHECKS[key](value, key, where)
    if "base_url" not in found:
        raise ConfigurationError(
            "No server is configured. Name one by the argument base_url, by the environment"
            " variable SANDLOT_BASE_URL, or by base_url in ~/.config/sandlot/config.toml; or run"
            " one of your own: Client.local()"
        )
    return Config(**found)


def _text(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{key} in {where} must be a text that is not empty")
    return value


def _secret(value: Any, key: str, where: str) -> str:
    """Check a credential without ever quoting it."""
    if not _SECRET.fullmatch(_text(value, key, where)):
        raise ConfigurationError(
            f"{key} in {where} contains white space or something else that no credential has"
        )
    return str(value)


def _url(value: Any, key: str, where: str) -> str:
    url = _text(value, key, where)
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as exc:
        raise ConfigurationError(f"{key} in {where} is not a URL: {exc}") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            f"{key} in {where} must not contain a credential: use api_key or token"
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"{key} in {where} must be like https://host/path: {url!r}")
    if parts.query or parts.fragment or re.search(r"\s", url):
        raise ConfigurationError(
            f"{key} in {where} must have no query, fragment or white space: {url!r}"
        )
    return url.rstrip("/")


def _proxy(value: Any, key: str, where: str) -> str:
    url = _text(value, key, where)  # may hold a password, so it is not quoted
    if not re.match(r"(https?|socks5h?)://[^/\s]", url):
        raise ConfigurationError(f"{key} in {where} must be like http://host:port")
    return url


def _seconds(value: Any, key: str, where: str) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 < seconds < math.inf:
        raise ConfigurationError(f"{key} in {where} must be a number of seconds: {value!r}")
    return seconds


_CHECKS = {
    "base_url": _url,
    "timeout": _seconds,
    "ca_bundle": _text,
    "proxy": _proxy,
}
