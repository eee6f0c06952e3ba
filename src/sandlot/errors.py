"""Everything this library raises; `outcome` says whether what was asked for may have happened.

* SandlotError
    * ConfigurationError (ValueError)           the client was not told enough, or nonsense
    * InvalidArgumentError (ValueError)         an argument that cannot be sent
    * UnsupportedError                          the server lacks the feature
    * LocalServerError                          the embedded server cannot start, or died
    * TransportError                            no answer came
        * ConnectError (ConnectionError)        the server was not reached
        * RequestTimeoutError (TimeoutError)    no answer in time
    * UnexpectedResponseError                   an answer that makes no sense
    * APIError                                  the server answered with an error
        * InvalidRequestError                   400
        * AuthenticationError                   401
        * PermissionDeniedError                 403 (PermissionError)
        * NotFoundError                         404
            * ContextNotFoundError
            * FileNotFoundInSandboxError        (FileNotFoundError)
        * ConflictError                         409
            * HostHasSandboxesError
        * TooLargeError                         413
        * RateLimitError                        429
        * InternalServerError                   500 and the 5xx without a class of their own
        * UnsupportedByServerError              501 (UnsupportedError)
        * AgentError                            502
        * UnavailableError                      503
        * NoSpaceError                          507
    * SandboxStateError                         the sandbox is in no state to do this
        * SandboxDestroyedError                 it is gone
            * LeaseLostError                    and its lease was to be kept
    * SandboxTimeoutError (TimeoutError)        it was not ready in time
    * BuildFailedError                          a template could not be built
    * BuildTimeoutError (TimeoutError)          it was not built in time
    * CommandError                              a command went wrong; carries its output so far
        * CommandFailedError                    it ended with an exit code other than 0
        * CommandTimeoutError (TimeoutError)    it was killed after its time limit
        * StreamClosedError (ConnectionError)   its stream ended before it did
        * CodeRunError                          code went wrong; carries what it did so far
            * CodeFailedError                   it raised
            * CodeTimeoutError (TimeoutError)   it was interrupted after its time limit
            * KernelDiedError                   its kernel ended, and with it the state
            * CodeLostError (ConnectionError)   it could not be followed to its end
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ._partial import Partial
from ._wording import explained, last_line

if TYPE_CHECKING:
    from .executions import Execution
    from .models import Build, BuildLogEntry
    from .results import ExecResult

__all__ = [
    "APIError",
    "AgentError",
    "AuthenticationError",
    "BuildFailedError",
    "BuildTimeoutError",
    "CodeFailedError",
    "CodeLostError",
    "CodeRunError",
    "CodeTimeoutError",
    "CommandError",
    "CommandFailedError",
    "CommandTimeoutError",
    "ConfigurationError",
    "ConflictError",
    "ConnectError",
    "ContextNotFoundError",
    "FileNotFoundInSandboxError",
    "HostHasSandboxesError",
    "InternalServerError",
    "InvalidArgumentError",
    "InvalidRequestError",
    "KernelDiedError",
    "LeaseLostError",
    "LocalServerError",
    "NoSpaceError",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestTimeoutError",
    "SandboxDestroyedError",
    "SandboxStateError",
    "SandboxTimeoutError",
    "SandlotError",
    "StreamClosedError",
    "TooLargeError",
    "TransportError",
    "UnavailableError",
    "UnexpectedResponseError",
    "UnsupportedByServerError",
    "UnsupportedError",
]

Outcome: TypeAlias = Literal["not_started", "unknown", "finished"]
"""Whether what was asked for has happened: certainly not, perhaps, or certainly."""


class SandlotError(Exception):
    """Base of every exception of this library.

    Attributes:
        outcome: Whether what was asked for may have happened.
        is_retryable: The same call may succeed if made again, and cannot do harm.
        request_id: The server's name for the request, for its logs.
    """

    def __init__(
        self,
        message: str,
        *,
        outcome: Outcome = "not_started",
        is_retryable: bool = False,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.outcome: Outcome = outcome
        self.is_retryable: bool = is_retryable
        self.request_id: str | None = request_id

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    kind: type[SandlotError], args: tuple[object, ...], state: dict[str, Any]
) -> SandlotError:
    """Unpickle an exception, whatever its constructor asks for."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(SandlotError, ValueError):
    """The client was not told enough to start, or something that makes no sense."""


class InvalidArgumentError(SandlotError, ValueError):
    """An argument cannot be sent. Nothing was."""


class UnsupportedError(SandlotError):
    """The server lacks a feature. Nothing was sent that it would have ignored."""


class LocalServerError(SandlotError):
    """The embedded server cannot start, or it died."""


class TransportError(SandlotError):
    """No answer came, or only a part of it."""


class ConnectError(TransportError, ConnectionError):
    """The server was not reached. Nothing was sent."""


class RequestTimeoutError(TransportError, TimeoutError):
    """No answer came in time."""


class UnexpectedResponseError(SandlotError):
    """The server's answer does not match the contract."""


class APIError(SandlotError):
    """The server answered with an error.

    Attributes:
        code: Reason for programs, such as `not_found`; `unknown` if the server gave none.
        message: Reason for people.
        status_code: HTTP status.
        retry_after: Seconds that the server asks to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "unknown",
        status_code: int = 0,
        retry_after: float | None = None,
        outcome: Outcome = "not_started",
        is_retryable: bool = False,
        request_id: str | None = None,
    ) -> None:
        super().__init__(
            explained(message, code, status_code, outcome, request_id),
            outcome=outcome,
            is_retryable=is_retryable,
            request_id=request_id,
        )
        self.code: str = code
        self.message: str = message
        self.status_code: int = status_code
        self.retry_after: float | None = retry_after


class InvalidRequestError(APIError):
    """400: the server does not accept the request."""


class AuthenticationError(APIError, Partial):
    """401: the credential is missing, wrong, not valid any more, or of the wrong kind."""


class PermissionDeniedError(APIError, Partial, PermissionError):
    """403: the credential may not do this, or the sandbox's user may not."""


class NotFoundError(APIError):
    """404: there is no such thing."""


class ContextNotFoundError(NotFoundError):
    """There is no such context, or none any more."""


class FileNotFoundInSandboxError(NotFoundError, FileNotFoundError):
    """The sandbox has no such file."""


class ConflictError(APIError):
    """409: the state of things does not allow it."""


class HostHasSandboxesError(ConflictError):
    """409: the host still has sandboxes.

    Attributes:
        sandbox_ids: Their ids.
    """

    sandbox_ids: tuple[str, ...] = ()


class TooLargeError(APIError):
    """413: more data than the server takes at once."""


class RateLimitError(APIError):
    """429: too many requests."""


class InternalServerError(APIError):
    """500: the server failed."""


class UnsupportedByServerError(APIError, UnsupportedError):
    """501: the server, or its engine, cannot do this."""


class AgentError(APIError):
    """502: the server could not work with the sandbox."""


class UnavailableError(APIError):
    """503: the server has nothing to do this with at the moment."""


class NoSpaceError(APIError):
    """507: the disk of the sandbox is full."""


class SandboxStateError(SandlotError):
    """The sandbox is in no state to do this.

    Attributes:
        status: State of the sandbox.
    """

    def __init__(self, message: str, *, status: str = "unknown") -> None:
        super().__init__(message)
        self.status: str = status


class SandboxDestroyedError(SandboxStateError):
    """The sandbox is gone."""


class LeaseLostError(SandboxDestroyedError):
    """The sandbox ended although its lease was to be kept; the message says what ended it."""


class SandboxTimeoutError(SandlotError, TimeoutError):
    """The sandbox was not ready in time. It may still become so."""


class BuildFailedError(SandlotError):
    """A template could not be built, or its build was cancelled.

    Attributes:
        build: What is known of it.
    """

    def __init__(self, message: str, *, build: Build) -> None:
        super().__init__(message, outcome="finished")
        self.build: Build = build

    @property
    def step(self) -> BuildLogEntry | None:
        """The step that failed, with its line, its exit code and what it wrote, if one did."""
        return next((each for each in self.build.logs if not each.ok), None)


class BuildTimeoutError(SandlotError, TimeoutError):
    """A build was not finished in time; it goes on."""


class CommandError(SandlotError):
    """A command could not be run to its end.

    Attributes:
        stdout: Standard output received so far; of a long one, the end.
        stderr: Standard error received so far; of a long one, the end.
        code: Reason for programs, if the server gave one.
    """

    def __init__(
        self,
        message: str,
        *,
        stdout: str = "",
        stderr: str = "",
        code: str | None = None,
        outcome: Outcome = "unknown",
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, outcome=outcome, request_id=request_id)
        self.stdout: str = stdout
        self.stderr: str = stderr
        self.code: str | None = code


class CommandFailedError(CommandError):
    """A command ended with an exit code other than 0.

    Attributes:
        result: What it did.
    """

    def __init__(self, result: ExecResult) -> None:
        how = f"was ended by {result.signal}" if result.signal else f"exited {result.exit_code}"
        if result.oom:
            how += " when the sandbox ran out of memory (memory_mb)"
        if result.no_space:
            how += " when the sandbox went over its disk limit (disk_mb)"
        super().__init__(
            f"The command {how}{last_line(result.stderr)}",
            stdout=result.stdout,
            stderr=result.stderr,
            outcome="finished",
        )
        self.result: ExecResult = result


class CommandTimeoutError(CommandError, TimeoutError):
    """A command was killed after its time limit."""


class StreamClosedError(CommandError, ConnectionError):
    """The stream of a command ended before the command did."""


class CodeRunError(CommandError):
    """Code could not be run to its end, or did not do well.

    Attributes:
        execution: What it did, as far as it is known.
    """

    def __init__(
        self, message: str, *, execution: Execution, outcome: Outcome = "finished"
    ) -> None:
        super().__init__(message, stdout=execution.stdout, stderr=execution.stderr, outcome=outcome)
        self.execution: Execution = execution


class CodeFailedError(CodeRunError):
    """Code raised. The state of its context is as the code left it."""


class CodeTimeoutError(CodeRunError, TimeoutError):
    """Code was interrupted after its time limit."""


class KernelDiedError(CodeRunError):
    """The kernel ended while it ran code; the state of its context is lost."""


class CodeLostError(CodeRunError, ConnectionError):
    """Code could not be followed to its end."""
