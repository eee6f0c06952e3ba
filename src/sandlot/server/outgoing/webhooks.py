"""Sending signed JSON to the URL of a webhook."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime

import httpcore

from sandlot.server.version import VERSION

from .failures import NotDeliveredError
from .resolving import Resolver
from .targets import Targets
from .urls import parse_url

__all__ = ["Webhooks", "sign"]

_MOST_READ = 16 << 10
"""Bytes of an answer that are read; nothing in it is used but its status."""
_LONGEST_WAIT = 3600.0
_GONE = 410
_FORBIDDEN = "The address is not one that this server may connect to."
_SocketOption = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)


class _RefusedError(Exception):
    """None of the addresses of a host may be connected to."""


class _GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to permitted addresses only.

    A name is looked up once, and what was found is both judged and connected to, so that it cannot
    mean another address a moment later. TLS still asks for the certificate of the name.
    """

    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self._resolver = Resolver()
        network: object = httpcore.AnyIOBackend()  # untyped where anyio might be missing
        assert isinstance(network, httpcore.AsyncNetworkBackend)
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of a host that answers."""
        found = await self._resolver.resolve(host, port)
        permitted = [address for address in found if self._targets.permits(address)]
        if not permitted:
            raise _RefusedError
        for address in permitted[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout)
            except httpcore.ConnectError:
                continue
        return await self._network.connect_tcp(permitted[-1], port, timeout)


class Webhooks:
    """Sends to webhooks.

    Args:
        targets: What may be connected to.
        timeout: Seconds for all of it, from the lookup of the name to the end of the answer.
    """

    def __init__(self, targets: Targets, timeout: float) -> None:
        self._timeout = timeout
        self._network = _GuardedNetwork(targets)
        self._trust = httpcore.default_ssl_context()

    async def send(self, url: str, secret: str, delivery_id: str, payload: str) -> int:
        """Send a payload, and return the status of the answer.

        Raises:
            NotDeliveredError: It did not arrive, or was not accepted.
        """
        body = payload.encode()
        timestamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"sandlot-webhooks/{VERSION}",
            "Connection": "close",
            "X-WRENN-SIGNATURE": sign(secret, timestamp, body),
            "X-Wrenn-Delivery": delivery_id,
            "X-Wrenn-Timestamp": timestamp,
        }
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(url, headers, body)
        except TimeoutError as error:
            reason = f"There was no answer within {self._timeout:g} seconds."
            raise NotDeliveredError(reason) from error
        except _RefusedError as error:
            raise NotDeliveredError(_FORBIDDEN, final=True) from error
        except httpcore.ConnectError as error:
            reason = (
                "No secure connection could be made: its certificate is not valid for it."
                if isinstance(error.__context__, ssl.SSLCertVerificationError)
                else "No connection could be made."
            )
            raise NotDeliveredError(reason) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise NotDeliveredError("The answer was no HTTP, or broke off.") from error
        except OSError as error:
            raise NotDeliveredError("The name of the host cannot be resolved.") from error

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        parts = parse_url(url)
        host = f"[{parts.host}]" if ":" in parts.host else parts.host
        where = httpcore.URL(
            scheme=parts.scheme, host=parts.host, port=parts.port, target=parts.target
        )
        usual = parts.port == (443 if parts.scheme == "https" else 80)
        fields: list[tuple[bytes | str, bytes | str]] = [
            ("Host", host if usual else f"{host}:{parts.port}"),
            *headers.items(),
        ]
        connection = httpcore.AsyncHTTPConnection(
            where.origin, ssl_context=self._trust, network_backend=self._network
        )
        try:
            async with connection.stream("POST", where, headers=fields, content=body) as response:
                await _skim(response)
        finally:
            await connection.aclose()
        if 200 <= response.status < 300:
            return response.status
        raise _refusal(response)


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the signature of a body that is sent at a time."""
    signed = timestamp.encode() + b"." + body
    return f"sha256={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


async def _skim(response: httpcore.Response) -> None:
    """Read the beginning of an answer, so that an ordinary receiver sees no broken connection."""
    read = 0
    async for piece in response.aiter_stream():
        read += len(piece)
        if read > _MOST_READ:
            return


def _refusal(response: httpcore.Response) -> NotDeliveredError:
    status = response.status
    reason = f"The receiver answered {status}."
    if 300 <= status < 400:
        reason = f"The receiver answered {status}; redirects are not followed."
    wait: float | None = None
    for name, value in response.headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) < 9:
            wait = min(float(value), _LONGEST_WAIT)
    return NotDeliveredError(reason, status=status, retry_after=wait, final=status == _GONE)
