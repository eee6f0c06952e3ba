"""URLs that users give, taken apart once, so that everybody means the same by them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from .failures import BadConfigError

__all__ = ["Url", "parse_url"]

_LONGEST = 2048
_VISIBLE = re.compile(r"[!-~]+")  # neither blanks nor control characters, and ASCII only
_HOST = re.compile(r"[A-Za-z0-9_.-]{1,253}")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Url:
    """Where to send something.

    Attributes:
        host: A name, or an address without brackets.
        target: Path and query. There may be credentials in it, so it shows in no `repr`.
    """

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)

    @property
    def address(self) -> str | None:
        """The host, if it is an address and not a name."""
        try:
            return str(ip_address(self.host))
        except ValueError:
            return None


def parse_url(text: str) -> Url:
    """Take an HTTP URL apart.

    Raises:
        BadConfigError: It is none, or one that has no business here.
    """
    if len(text) > _LONGEST:
        raise BadConfigError(f"is longer than {_LONGEST} characters")
    if not _VISIBLE.fullmatch(text) or "\\" in text:
        raise BadConfigError("must be printable ASCII without spaces; names in punycode")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise BadConfigError("is not a URL") from error
    if parts.scheme not in _PORTS:
        raise BadConfigError("must begin with https:// or http://")
    if "@" in parts.netloc:
        raise BadConfigError("must not contain a user name or password")
    if "#" in text:
        raise BadConfigError("must not have a fragment")
    host = parts.hostname or ""
    if not _is_host(host) or port == 0:
        raise BadConfigError("has no valid host and port")
    query = f"?{parts.query}" if parts.query else ""
    return Url(parts.scheme, host, port or _PORTS[parts.scheme], (parts.path or "/") + query)


def _is_host(host: str) -> bool:
    if ":" not in host:
        return _HOST.fullmatch(host) is not None
    try:
        return ip_address(host).version == 6 and "%" not in host
    except ValueError:
        return False
