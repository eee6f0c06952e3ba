"""What can go wrong in the domain, one class for each code of the contract.

    ServiceError
    ├── InvalidRequestError         invalid_request
    ├── UnauthorizedError           unauthorized
    │   └── WrongPasswordError      wrong_password
    ├── ForbiddenError              forbidden
    │   ├── NoTeamError             no_team
    │   ├── AccountDisabledError    account_disabled
    │   └── AccountDeactivatedError account_deactivated
    ├── NotFoundError               not_found
    ├── InvalidStateError           invalid_state
    ├── AlreadyExistsError          already_exists
    ├── ConflictError               conflict
    ├── EmailTakenError             email_taken
    ├── OwnsTeamWithMembersError    owns_team_with_members
    ├── HasActiveSandboxesError     has_active_sandboxes
    ├── RateLimitedError            rate_limited
    ├── IdempotencyKeyConflictError idempotency_key_conflict
    ├── IdempotencyKeyUsedError     idempotency_key_used
    ├── TooLargeError               too_large
    ├── UnsupportedError            unsupported
    ├── AgentError                  agent_error
    ├── BadGatewayError             bad_gateway
    ├── PortClosedError             port_closed
    ├── HostUnavailableError        host_unavailable
    ├── NoHostsAvailableError       no_hosts_available
    ├── GatewayTimeoutError         gateway_timeout
    └── NoSpaceError                no_space

The messages are for users: they say what happened and what to do, and nothing of the inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

__all__ = [
    "AccountDeactivatedError",
    "AccountDisabledError",
    "AgentError",
    "AlreadyExistsError",
    "BadGatewayError",
    "ConflictError",
    "EmailTakenError",
    "ForbiddenError",
    "GatewayTimeoutError",
    "HasActiveSandboxesError",
    "HostUnavailableError",
    "IdempotencyKeyConflictError",
    "IdempotencyKeyUsedError",
    "InvalidRequestError",
    "InvalidStateError",
    "NameReservedError",
    "NoHostsAvailableError",
    "NoSpaceError",
    "NoTeamError",
    "NotFoundError",
    "OwnsTeamWithMembersError",
    "PortClosedError",
    "RateLimitedError",
    "ServiceError",
    "TooLargeError",
    "UnauthorizedError",
    "UnsupportedError",
    "WrongPasswordError",
]


class ServiceError(Exception):
    """Base of all errors of the domain.

    Attributes:
        midway: Whether it ended something that was going on, and may have had an effect.
    """

    code: ClassVar[str] = "internal_error"
    midway: bool = False


class InvalidRequestError(ServiceError):
    """The request makes no sense."""

    code = "invalid_request"


class UnauthorizedError(ServiceError):
    """The credential is missing or wrong."""

    code = "unauthorized"


class WrongPasswordError(UnauthorizedError):
    """The credential is fine, but the password that was asked for besides is not."""

    code = "wrong_password"


class ForbiddenError(ServiceError):
    """The caller, or the sandbox's user, may not do that."""

    code = "forbidden"


class NoTeamError(ForbiddenError):
    """The user is in no team."""

    code = "no_team"


class AccountDisabledError(ForbiddenError):
    """The user may not log in."""

    code = "account_disabled"


class AccountDeactivatedError(ForbiddenError):
    """The user was disabled since."""

    code = "account_deactivated"


class NotFoundError(ServiceError):
    """There is no such thing."""

    code = "not_found"


class InvalidStateError(ServiceError):
    """The sandbox is in a state that does not allow it."""

    code = "invalid_state"


class AlreadyExistsError(ServiceError):
    """The name is taken."""

    code = "already_exists"


class NameReservedError(ServiceError):
    """The name is the server's own."""

    code = "name_reserved"


class ConflictError(ServiceError):
    """What is there already does not allow it."""

    code = "conflict"


class OwnsTeamWithMembersError(ServiceError):
    """Nobody else owns a team with other members."""

    code = "owns_team_with_members"


class EmailTakenError(ServiceError):
    """There is a user with this address."""

    code = "email_taken"


class HasActiveSandboxesError(ServiceError):
    """What is to be deleted has sandboxes that are not gone.

    Attributes:
        sandbox_ids: These.
    """

    code = "has_active_sandboxes"

    def __init__(self, message: str, sandbox_ids: Sequence[str]) -> None:
        super().__init__(message)
        self.sandbox_ids = tuple(sandbox_ids)


class RateLimitedError(ServiceError):
    """The caller tries too often.

    Attributes:
        retry_after: Seconds to wait.
    """

    code = "rate_limited"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class IdempotencyKeyConflictError(ServiceError):
    """The idempotency key was used for another request."""

    code = "idempotency_key_conflict"


class IdempotencyKeyUsedError(ServiceError):
    """The request was carried out, but what it made is there no more."""

    code = "idempotency_key_used"


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
    """The server is about to stop, or is not the one that has what is asked for.

    Attributes:
        retry_after: Seconds to wait; None where waiting is of no use.
    """

    code = "host_unavailable"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NoHostsAvailableError(ServiceError):
    """There is no host that a sandbox like this may be on."""

    code = "no_hosts_available"


class NoSpaceError(ServiceError):
    """The sandbox's disk is full."""

    code = "no_space"
