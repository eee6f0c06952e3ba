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
    ForbiddenError,
    InvalidRequestError,
    NoSpaceError,
    NotFoundError,
    PortClosedError,
    ServiceError,
)

__all__ = ["engine_errors"]

_FILE_ERRORS: dict[str, type[ServiceError]] = {
    "not_found": NotFoundError,
    "invalid": InvalidRequestError,
    "forbidden": ForbiddenError,
    "no_space": NoSpaceError,
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
        raise _FILE_ERRORS[error.problem](str(error)) from error
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
