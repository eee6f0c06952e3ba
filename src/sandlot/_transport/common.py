"""What performing operations takes, whatever the colour."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import httpx

from .._flow import Port, Request, Server, encode
from .._multipart import Multipart
from .._retry import Retry
from ..errors import (
    ConfigurationError,
    ConnectError,
    InvalidArgumentError,
    RequestTimeoutError,
    SandlotError,
    TransportError,
)
from .ports import Door, credentials

if TYPE_CHECKING:
    from .._sockets import Address

logger = logging.getLogger("sandlot.transport")

_CONNECT_TIMEOUT = 10.0
_KEEPALIVE = 4.0
"""Seconds that an unused connection is kept; many servers drop theirs after 5, and a request that
crosses with that has an unknown outcome."""
_LIMITS = httpx.Limits(
    max_connections=None, max_keepalive_connections=100, keepalive_expiry=_KEEPALIVE
)
_LONGEST = 64 << 20
"""Bytes of a message from a sandbox."""
UNDO_RETRY = Retry(attempts=2, total=2.0)
ONCE = Retry(attempts=1)
UNDO_TOTAL = 10.0
"""Seconds in which an abandoned operation must be undone."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server and how to talk to it."""

    base_url: str
    headers: dict[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout: float = 30.0
    ca_bundle: str | None = None
    proxy: str | None = field(default=None, repr=False)
    trust_environment: bool = True
    """Use the proxies that the environment names."""

    def tls(self) -> ssl.SSLContext | None:
        """Make what is needed for TLS, if it is; reading all those certificates takes a while."""
        if self.ca_bundle is not None:
            try:
                return ssl.create_default_context(cafile=self.ca_bundle)
            except (OSError, ssl.SSLError) as exc:
                raise ConfigurationError(
                    f"ca_bundle {self.ca_bundle!r} cannot be used: {exc}"
                ) from exc
        if self.base_url.startswith("https:") or (self.proxy or "").startswith("https:"):
            return httpx.create_ssl_context()
        return None


class Local(Protocol):
    """A server of one's own, that a transport starts and stops."""

    def start(self) -> Endpoint:
        """Return where it listens, starting it the first time."""
        ...

    def explain_loss(self) -> str | None:
        """Say why it is gone; None while it runs."""
        ...

    def close(self) -> None:
        """Stop it."""
        ...


class Common:
    """What does not depend on the colour."""

    def __init__(self, endpoint: Endpoint | None, retry: Retry, local: Local | None) -> None:
        self.server: Server = Server()
        self._endpoint = endpoint
        self._retry = retry
        self._local = local
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    def __reduce__(self) -> NoReturn:
        # Its connections and locks are of no use elsewhere, and its key does not belong there.
        raise TypeError(
            "clients and sandboxes cannot be pickled or copied deeply: make a client in each"
            " process, and get the sandbox there by its id"
        )

    @property
    def where(self) -> str:
        """The server's address, for people."""
        return "a server of its own" if self._endpoint is None else self._endpoint.base_url

    @property
    def base_url(self) -> str | None:
        """The server's address; None for a server of its own that has not started."""
        return None if self._endpoint is None else self._endpoint.base_url

    def _options(self, endpoint: Endpoint) -> dict[str, Any]:
        if self._tls is None:
            self._tls = endpoint.tls()
        return {
            "base_url": endpoint.base_url,
            # Programs in sandboxes may set some, which are not for others, nor for the server.
            "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            "headers": endpoint.headers,
            "limits": _LIMITS,
            "proxy": endpoint.proxy,
            "timeout": _timeout(endpoint.timeout),
            "trust_env": endpoint.trust_environment,
            # Without TLS there is nothing to verify, and nothing to load certificates for.
            "verify": self._tls if self._tls is not None else False,
        }

    def port_url(self, port: Port) -> str:
        """Return the address of a port (wrenn: always http, whatever the server's own is)."""
        endpoint = self._known()
        _ = credentials(endpoint.headers)
        name = Door.of(endpoint.base_url, port).name.copy_with(scheme="http")
        return str(name).removesuffix("/")

    def _known(self) -> Endpoint:
        """Return the server, which whoever has a sandbox of it has reached."""
        if self._endpoint is None:
            raise ConfigurationError("The client's own server has not been started")
        return self._endpoint

    def _port_options(self, port: Port) -> tuple[Door, dict[str, str], dict[str, Any]]:
        endpoint = self._known()
        door = Door.of(endpoint.base_url, port)
        options = {"base_url": door.name, "timeout": _timeout(endpoint.timeout)}
        return door, credentials(endpoint.headers), options

    def _address(self, request: Request, subprotocol: str, patience: float | None) -> Address:
        from .._sockets import Address  # websockets is imported with the first stream

        endpoint = self._known()
        if self._tls is None:
            self._tls = endpoint.tls()
        url, headers, at = endpoint.base_url + request.path, endpoint.headers, None
        if request.port is not None:
            door = Door.of(endpoint.base_url, request.port)
            url, headers = str(door.name.join(request.path)), credentials(headers)
            at = None if door.at is None else (door.at.host, door.at.port or 80)
        return Address(
            "ws" + url.removeprefix("http"),
            headers,
            subprotocol,
            _CONNECT_TIMEOUT if patience is None else min(patience, _CONNECT_TIMEOUT),
            self._tls if url.startswith("https:") else None,
            endpoint.proxy or (True if endpoint.trust_environment else None),
            at,
            # What sandboxes send is not to fill the client's memory, and pings would count as use.
            **({} if request.port is None else {"max_size": _LONGEST, "ping_interval": None}),
        )

    def _begun(self) -> Endpoint:
        if self._endpoint is None:
            assert self._local is not None
            self._endpoint = self._local.start()
        return self._endpoint

    def _refuse_closed(self) -> None:
        if self._closed:
            raise ConfigurationError("The client is closed; make another one")

    def with_loss(self, reason: str) -> str:
        """Add to the reason of a failure that one's own server is gone, if it is."""
        loss = None if self._local is None else self._local.explain_loss()
        return f"{reason.rstrip('.')}. {loss}" if loss else reason

    def _with_loss(self, error: TransportError) -> TransportError:
        explained = self.with_loss(str(error))
        if explained != str(error):
            error.args = (explained,)
            error.is_retryable = False  # this client never starts another one
        return error

    def _failure(self, request: Request, exc: httpx.HTTPError | httpx.InvalidURL) -> SandlotError:
        what = describe(request)
        reason = str(exc) or type(exc).__name__
        if isinstance(exc, httpx.InvalidURL) and "too long" in reason:
            return InvalidArgumentError(f"{what} cannot be sent: {reason}")
        if isinstance(exc, httpx.InvalidURL | httpx.UnsupportedProtocol):
            return ConfigurationError(f"{what}: base_url cannot be used: {reason}")
        if isinstance(exc, httpx.LocalProtocolError):
            return InvalidArgumentError(f"{what} cannot be sent: {reason}")
        return self._with_loss(_transport_error(request, exc))

    @contextmanager
    def translated(self, request: Request) -> Generator[None]:
        """Turn what httpx raises into what this library raises."""
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise self._failure(request, exc) from exc
        except RuntimeError as exc:
            if self._closed:  # by another thread, meanwhile
                raise ConfigurationError("The client was closed") from exc
            raise


def build(http: httpx.Client | httpx.AsyncClient, request: Request) -> httpx.Request:
    headers = dict(request.headers)
    where: httpx.URL | str = request.path
    if request.port is not None:
        _ = credentials(http.headers)
        door = Door.of(http.base_url, request.port)
        headers["Host"], where = door.host, door.url(request.path)
    content: Any = None
    if request.upload is not None:
        body = Multipart(request.upload)
        headers |= body.headers
        content = body.whole()
        if content is None:
            content = body.pieces() if isinstance(http, httpx.Client) else body.async_pieces()
    elif request.body is not None:
        headers["Content-Type"] = "application/json"
        content = encode(request.body)
    if request.stream:
        headers["Accept-Encoding"] = "identity"  # so that Content-Length counts what arrives
    return http.build_request(
        request.method,
        where,
        content=content,
        headers=headers,
        params=request.params or None,
        timeout=http.timeout if request.timeout is None else _timeout(request.timeout),
    )


def _transport_error(request: Request, exc: httpx.HTTPError) -> TransportError:
    what = describe(request)
    reason = str(exc) or type(exc).__name__
    if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return ConnectError(
            f"{what}: the server cannot be reached, nothing was sent: {reason}", is_retryable=True
        )
    if isinstance(exc, httpx.PoolTimeout):
        return RequestTimeoutError(
            f"{what}: no connection became free, nothing was sent", is_retryable=True
        )
    again = request.is_idempotent
    advice = "it may be repeated" if again else "look before you repeat it"
    if isinstance(exc, httpx.TimeoutException):
        return RequestTimeoutError(
            f"{what}: no answer in time; it may have taken effect, {advice}: {reason}",
            outcome="unknown",
            is_retryable=again,
        )
    return TransportError(
        f"{what}: the connection ended without a whole answer; it may have taken effect,"
        f" {advice}: {reason}",
        outcome="unknown",
        is_retryable=again,
    )


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECT_TIMEOUT))


def length(answer: httpx.Response) -> int | None:
    value = answer.headers.get("content-length", "")
    return int(value) if value.isdecimal() else None


def describe(request: Request) -> str:
    port = request.port
    where = "" if port is None else f" on port {port.number} of {port.sandbox_id}"
    return f"{request.method} {request.path}{where}"


def log(request: Request, answer: httpx.Response) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(
            "%s -> %d (%s)",
            describe(request),
            answer.status_code,
            answer.headers.get("x-request-id", "no request id"),
        )
