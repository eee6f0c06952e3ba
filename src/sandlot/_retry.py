"""When to send a request again: a flow around a flow."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ._failures import retry_after
from ._flow import Flow, Pause, Request, Response, exchange, now
from .errors import ConfigurationError, TransportError

__all__ = ["Retry"]

T = TypeVar("T")

_TRANSIENT = frozenset({429, 502, 503, 504})
_UNCERTAIN = frozenset({502, 504})  # from a proxy perhaps, behind which the request had its effect


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and how patiently, to resend a request that may be resent.

    GET, HEAD, PUT, DELETE, and everything with an idempotency key, is resent after connection
    failures and after 429, 502, 503 and 504. Anything else is resent only if the server was not
    even reached: nothing that may have run is run again.
    """

    attempts: int = 4
    """How often a request is sent at most; 1 means never again."""
    backoff: float = 0.1
    """Seconds before the second attempt; doubled for each one after."""
    max_backoff: float = 5.0
    """Longest of these pauses."""
    jitter: float = 0.5
    """Part of each pause that is left to chance, so that clients do not return all at once."""
    total: float = 30.0
    """Seconds after the first failure in which another attempt may start; a `Retry-After` beyond
    them ends the attempts."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 <= self.jitter <= 1:
            raise ConfigurationError("Retry needs attempts >= 1 and 0 <= jitter <= 1")
        for value in (self.backoff, self.max_backoff, self.total):
            if not 0 <= value < float("inf"):
                raise ConfigurationError("Retry needs finite times of 0 or more seconds")

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after an attempt, the first being 1."""
        seconds = min(self.backoff * 2.0 ** min(attempt - 1, 64), self.max_backoff)
        return seconds * (1 - self.jitter * random.random())  # noqa: S311


def retrying(flow: Flow[T], retry: Retry) -> Flow[T]:
    """Perform a flow, resending its requests where that is safe."""
    return around(flow, lambda request: _resend(request, retry))


def around(flow: Flow[T], send: Callable[[Request], Flow[Response]]) -> Flow[T]:
    """Perform a flow, its requests as `send` does."""
    try:
        step = next(flow)
        while True:
            try:
                reply = (yield from send(step)) if isinstance(step, Request) else (yield step)
            except TransportError as exc:
                step = flow.throw(exc)
            else:
                step = flow.send(reply)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        flow.close()


def _resend(request: Request, retry: Retry) -> Flow[Response]:
    if request.port is not None or retry.attempts == 1:
        return (yield from exchange(request))
    give_up: float | None = None
    failure: TransportError | Response | None = None
    lost: TransportError | Response | None = None
    attempt = 0
    while True:
        attempt += 1
        wanted: float | None = None
        is_sent = False
        try:
            if lost is not None and not (yield from _is_kept(request)):
                break
            is_sent = True
            response = yield from exchange(request)
            if response.status not in _TRANSIENT or not request.is_idempotent:
                return response
            failure = response
            wanted = retry_after(response.headers.get("retry-after"))
            if response.status in _UNCERTAIN:
                lost = response
        except TransportError as exc:
            if not (exc.outcome == "not_started" or request.is_idempotent):
                raise
            failure = exc
            if exc.outcome == "unknown" and is_sent:
                lost = exc
        moment = yield from now()
        if give_up is None:
            give_up = moment + retry.total
        seconds = retry.pause(attempt) if wanted is None else wanted
        if attempt >= retry.attempts or moment + seconds > give_up:
            break
        yield Pause(seconds)
    # That a later attempt had no effect says nothing about one with an unknown outcome.
    last = failure if lost is None else lost
    if isinstance(last, TransportError):
        raise last
    assert last is not None
    return last


def _is_kept(request: Request) -> Flow[bool]:
    """Tell whether the server remembers what came of a request that it may have got."""
    return True if request.is_known is None else (yield from request.is_known())
