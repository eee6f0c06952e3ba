"""JSON in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from sandlot.models import Model
from sandlot.server.services.errors import InvalidRequestError, TooLargeError

from .context import held

__all__ = ["parse_json", "read_json", "reply", "reply_list"]

_M = TypeVar("_M", bound=Model)
_JSON = "application/json"


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body.

    Raises:
        TooLargeError: It is larger than `limit`.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise TooLargeError(_too_large(limit))
    body = bytearray()
    with held(request, begun=False):  # whoever sends it slowly must still be allowed at its end
        async for piece in request.stream():
            body += piece
            if len(body) > limit:
                raise TooLargeError(_too_large(limit))
    return bytes(body)


async def read_json(request: Request, model: type[_M], limit: int) -> _M:
    """Return the body as a model; `Content-Type` is not checked."""
    return parse_json(await read_body(request, limit), model)


def parse_json(body: bytes | str, model: type[_M]) -> _M:
    """Return a JSON text as a model.

    Raises:
        InvalidRequestError: It is no JSON, no object, or not what the contract asks for.
    """
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(f"{part!s:.100}" for part in first["loc"]) or "body"
        raise InvalidRequestError(f"{where}: {first['msg']}.") from error


def reply(model: Model, status: int = 200) -> Response:
    """Return a response with a model as its body; absent fields are left out."""
    body = model.model_dump_json(by_alias=True, exclude_none=True)
    return Response(body, status_code=status, media_type=_JSON)


def reply_list(models: Sequence[Model], headers: dict[str, str], status: int = 200) -> Response:
    """Return a response with a list of models as its body."""
    texts = [model.model_dump_json(by_alias=True, exclude_none=True) for model in models]
    content = f"[{','.join(texts)}]"
    return Response(content, status_code=status, headers=headers, media_type=_JSON)


def _too_large(limit: int) -> str:
    return f"The body is larger than {limit} bytes."
