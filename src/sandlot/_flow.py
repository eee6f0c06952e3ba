"""The vocabulary of operations.

An operation describes an exchange with the server without performing it. It is a generator that
yields steps: a `Request`, to be resumed with the `Response`; a `Pause`, to be resumed once that
time has passed; `Now`, to be resumed with the time; an `Undo`, to say what shall be performed if
the operation is abandoned from here on. What it returns is the result. If no answer comes, the
`TransportError` is raised inside the operation, at its `yield`.

`sandlot._transport` performs operations, blocking or awaiting.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar
from urllib.parse import quote

import pydantic

from . import errors
from ._failures import from_response

if TYPE_CHECKING:
    from . import models

T = TypeVar("T")
Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]

_HARMLESS_TO_REPEAT = frozenset({"GET", "HEAD", "PUT", "DELETE"})  # RFC 9110, section 9.2.2
KEY_HEADER = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way to the server: a multipart body that is made while it is sent."""

    path: str
    content: bytes | Iterable[bytes] | AsyncIterable[bytes]
    size: int | None = None
    """Bytes of content, if known beforehand."""
    fields: tuple[str, str] = ("path", "file")
    """What the form calls the path, or what else says what the content is, and the content."""


@dataclass(frozen=True, slots=True)
class Port:
    """A TCP port in a sandbox, which the server passes requests on to."""

    sandbox_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Request:
    """A request to be sent."""

    method: Method
    path: str
    body: Any = None
    """What is sent as JSON; nothing if None."""
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    upload: Upload | None = None
    harmless: bool = False
    """Sending it again does no harm although its method does not say so."""
    stream: bool = False
    """The body of a successful response is not read, but left to who performs the operation."""
    timeout: float | None = None
    """Seconds to wait for an answer; the client's own timeout if None."""
    is_known: Callable[[], Flow[bool]] | None = field(default=None, repr=False, compare=False)
    """Tells whether the server knows its key; asked before it is sent again. None if it does."""
    port: Port | None = None
    """Where it goes, if not to the server's own API. What answers is a program in a
    sandbox: nothing is concluded from what it says, and nothing sent again because of it."""

    @property
    def is_idempotent(self) -> bool:
        """Sending it again does no harm, even if the first time had its effect."""
        return self.harmless or self.method in _HARMLESS_TO_REPEAT or KEY_HEADER in self.headers


@dataclass(frozen=True, slots=True)
class Response:
    """What the server answered. Names of headers are in lower case."""

    status: int
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Pause:
    """A wish to wait."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Now:
    """A wish to know the time, in seconds of a clock that never goes back."""


@dataclass(frozen=True, slots=True)
class Undo:
    """What to perform if the operation is abandoned: by Ctrl-C, cancellation, exit.

    Each replaces the one before; `Undo(None)` says that there is nothing to undo any more.
    """

    flow: Callable[[], Flow[object]] | None


Step: TypeAlias = Request | Pause | Now | Undo
Flow: TypeAlias = Generator[Step, Any, T]


@dataclass(slots=True)
class Server:
    """What a client knows about its server."""

    capabilities: models.Capabilities | None = None
    """None for a server that cannot say, which has none of the additions to the protocol."""
    asked: bool = False
    says_capsules: bool | None = None
    """It is an original one that has sandboxes by another name; None before that is known."""


def path(template: str, *values: str) -> str:
    """Fill the braces of a path, escaping each value."""
    for value in values:
        if value in {"", ".", ".."}:
            raise errors.InvalidArgumentError(f"cannot put {value!r} into {template}")
    return template.format(*(quote(value, safe="") for value in values))


def encode(body: Any) -> bytes:
    """Write JSON."""
    try:
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as exc:  # UnicodeEncodeError is a ValueError
        raise errors.InvalidArgumentError(f"cannot be sent as JSON: {exc}") from exc


def exchange(request: Request) -> Flow[Response]:
    """Send a request; return the response, whatever it says."""
    response: Response = yield request
    return response


def send(request: Request) -> Flow[Response]:
    """Send a request; return the successful response."""
    response = yield from exchange(request)
    status = response.status
    if status >= 400:
        raise from_response(
            status, response.content, response.headers, idempotent=request.is_idempotent
        )
    if status >= 300:
        raise errors.UnexpectedResponseError(
            f"{request.method} {request.path}: the server redirects ({status}) to"
            f" {response.headers.get('location', 'nowhere')}; redirects are not followed, so that"
            " credentials stay with the server they are for: check base_url",
            request_id=response.headers.get("x-request-id"),
        )
    return response


def fetch(kind: type[T], request: Request) -> Flow[T]:
    """Send a request; return its JSON response as a `kind`."""
    response = yield from send(request)
    return decode(kind, request, response)


def execute(request: Request) -> Flow[None]:
    """Send a request whose response has nothing to tell."""
    _ = yield from send(request)


def pause(seconds: float) -> Flow[None]:
    """Let some time pass."""
    yield Pause(seconds)


def now() -> Flow[float]:
    """Tell the time."""
    moment: float = yield Now()
    return moment


def decode(kind: type[T], request: Request, response: Response) -> T:
    """Read the JSON of a response as a `kind`."""
    try:
        result: T = _adapter(kind).validate_json(response.content)
    except pydantic.ValidationError as exc:
        raise errors.UnexpectedResponseError(
            f"{request.method} {request.path}: the answer does not match the contract:"
            f" {explain(exc)}",
            outcome="finished",
            request_id=response.headers.get("x-request-id"),
        ) from exc
    return result


def explain(error: pydantic.ValidationError) -> str:
    """Say in a line what is wrong, without quoting it: there may be secrets in it."""
    problems = error.errors(include_input=False, include_url=False)
    said = [": ".join([*map(str, problem["loc"]), problem["msg"]]) for problem in problems[:10]]
    return "; ".join(said)


_adapters: dict[Any, pydantic.TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    adapter = _adapters.get(kind)
    if adapter is None:
        adapter = _adapters[kind] = pydantic.TypeAdapter(kind)
    return adapter
