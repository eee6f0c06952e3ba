"""What can go wrong in the domain, one class for each code of the contract.

    ServiceError
    ├── InvalidRequestError         invalid_request
    ├── UnauthorizedError           unauthorized
    ├── ForbiddenError              forbidden
    ├── NotFoundError               not_found
    ├── InvalidStateError           invalid_state
    ├── AlreadyExistsError          already_exists
    ├── IdempotencyKeyConflictError idempotency_key_conflict
    ├── TooLargeError               too_large
    ├── UnsupportedError            unsupported
    ├── AgentError                  agent_error
    ├── BadGatewayError             bad_gateway
    ├── PortClosedError             port_closed
    ├── HostUnavailableError        host_unavailable
    ├── GatewayTimeoutError         gateway_timeout
    └── NoSpaceError                no_space

The messages are for users: they say what happened and what to do, and nothing of the inside.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AgentError",
    "AlreadyExistsError",
    "BadGatewayError",
    "ForbiddenError",
    "GatewayTimeoutError",
    "HostUnavailableError",
    "IdempotencyKeyConflictError",
    "InvalidRequestError",
    "InvalidStateError",
    "NoSpaceError",
    "NotFoundError",
    "PortClosedError",
    "ServiceError",
    "TooLargeError",
    "UnauthorizedError",
    "UnsupportedError",
]


class ServiceError(Exception):
    """Base of all errors of the domain."""

    code: ClassVar[str] = "internal_error"


class InvalidRequestError(ServiceError):
    """The request makes no sense."""

    code = "invalid_request"


class UnauthorizedError(ServiceError):
    """The credential is missing or wrong."""

    code = "unauthorized"


class ForbiddenError(ServiceError):
    """The caller, or the sandbox's user, may not do that."""

    code = "forbidden"


class NotFoundError(ServiceError):
    """There is no such thing."""

    code = "not_found"


class InvalidStateError(ServiceError):
    """The sandbox is in a state that does not allow it."""

    code = "invalid_state"


class AlreadyExistsError(ServiceError):
    """The name is taken."""

    code = "already_exists"


class IdempotencyKeyConflictError(ServiceError):
    """The idempotency key was used for another request."""

    code = "idempotency_key_conflict"


class TooLargeError(ServiceError):
    """The body is larger than this server takes."""

    code = "too_large"


class UnsupportedError(ServiceError):
    """This engine cannot do that."""

    code = "unsupported"


class AgentError(ServiceError):
    """The sandbox failed, or died meanwhile."""

    code = "agent_error"


class BadGatewayError(ServiceError):
    """A program in the sandbox broke off, or does not speak HTTP."""

    code = "bad_gateway"


class PortClosedError(ServiceError):
    """Nothing in the sandbox listens on this port."""

    code = "port_closed"


class GatewayTimeoutError(ServiceError):
    """A program in the sandbox took too long."""

    code = "gateway_timeout"


class HostUnavailableError(ServiceError):
    """The server is about to stop."""

    code = "host_unavailable"


class NoSpaceError(ServiceError):
    """The sandbox's disk is full."""

    code = "no_space"
