"""What the engine's troubles mean to the domain."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sandlot.server.engine import base
from sandlot.server.engine.base import (
    EngineError,
    FileAccessError,
    SandboxGoneError,
    UnknownTemplateError,
    UnsuitableError,
)

from .errors import (
    AgentError,
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NoSpaceError,
    NotFoundError,
    PortClosedError,
    ServiceError,
    TooLargeError,
)

__all__ = ["engine_errors"]

_FILE_ERRORS: dict[str, type[ServiceError]] = {
    "not_found": NotFoundError,
    "invalid": InvalidRequestError,
    "forbidden": ForbiddenError,
    "no_space": NoSpaceError,
    "exists": ConflictError,
    "too_large": TooLargeError,
}


@contextmanager
def engine_errors(fallback: type[ServiceError] = AgentError) -> Generator[None]:
    """Turn errors of the engine into those of the domain.

    Args:
        fallback: What an error without a meaning of its own becomes.
    """
    try:
        yield
    except FileAccessError as error:
        # Names that are no UTF-8 cannot be told as they are.
        text = str(error).encode(errors="surrogateescape").decode(errors="replace")
        raise _FILE_ERRORS[error.problem](text) from error
    except SandboxGoneError as error:
        raise AgentError("The sandbox ended meanwhile.") from error
    except base.PortClosedError as error:
        raise PortClosedError(f"In the sandbox, {error}.") from error
    except UnknownTemplateError as error:
        raise NotFoundError(str(error)) from error
    except UnsuitableError as error:
        raise InvalidRequestError(str(error)) from error
    except EngineError as error:
        raise fallback(str(error)) from error
