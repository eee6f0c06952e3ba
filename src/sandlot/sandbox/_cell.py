"""What both colours of running code remember and decide."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .._failures import denied
from .._operations import arguments
from .._protocols.cell import KernelTalk
from .._protocols.kernel import Message, execute_request, kernel_info_request
from .._protocols.preparation import prepare
from ..code_events import (
    CodeEndEvent,
    CodeErrorEvent,
    CodeEvent,
    CodeResultEvent,
    CodeStderrEvent,
    CodeStdoutEvent,
)
from ..errors import (
    CodeLostError,
    CodeTimeoutError,
    InvalidArgumentError,
    KernelDiedError,
    SandlotError,
)
from ..executions import CodeError, Execution, Result

GRACE = 5.0
"""Seconds that code has to end after it was interrupted."""
PATIENCE = 30.0
"""Seconds in which a lost connection must be replaced."""
BACKOFF = 0.2
_CHECK = 10.0
"""Seconds without news after which it is asked whether the sandbox is still there."""
_FIRST_CHECK = 2.0
"""The same before the code has begun."""
_MAX_OUTPUT = 10 << 20


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Who wants to know what code does, while it does it."""

    on_stdout: Callable[[str], object] | None = None
    on_stderr: Callable[[str], object] | None = None
    on_result: Callable[[Result], object] | None = None
    on_error: Callable[[CodeError], object] | None = None

    def find(self, event: CodeEvent) -> tuple[Callable[[Any], object] | None, Any]:
        """Return who wants to know of an event, and what to tell."""
        match event:
            case CodeStdoutEvent():
                return self.on_stdout, event.text
            case CodeStderrEvent():
                return self.on_stderr, event.text
            case CodeResultEvent():
                return self.on_result, event.result
            case CodeErrorEvent():
                return self.on_error, event.error
            case _:
                return None, None


@dataclass(frozen=True, slots=True)
class Source:
    """Code that shall run.

    Attributes:
        code: Itself.
        timeout: Seconds that it may take, once it runs; for ever if None.
        max_output_bytes: What to keep of each stream.
        silent: Whether nothing is shown, counted or remembered.
        expressions: What to evaluate afterwards, by any name.
        callbacks: Who is told while it runs.
    """

    code: str
    timeout: float | None = None
    max_output_bytes: int | None = None
    silent: bool = False
    expressions: tuple[tuple[str, str], ...] = ()
    callbacks: Callbacks = Callbacks()

    @classmethod
    def checked(
        cls,
        code: str,
        timeout: float | None,
        max_output_bytes: int | None,
        callbacks: Callbacks | None = None,
    ) -> Source:
        """Return what a user wants to run."""
        return cls(
            arguments.source(code),
            arguments.seconds(timeout, "timeout"),
            arguments.whole(max_output_bytes, "max_output_bytes"),
            callbacks=callbacks or Callbacks(),
        )

    def request(self, session: str) -> Message:
        """Return the message that makes it run."""
        return execute_request(
            self.code,
            session,
            silent=self.silent,
            user_expressions=dict(self.expressions),
            stop_on_error=not self.silent,
        )


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a kernel is told before it runs anything.

    Attributes:
        cwd: Directory to work in.
        env: Environment variables.
    """

    cwd: str | None = None
    env: Mapping[str, str] | None = None

    @classmethod
    def checked(cls, cwd: str | None, env: Mapping[str, str] | None) -> Preparation:
        """Return what a user wants."""
        return cls(arguments.optional_text(cwd, "cwd"), arguments.environment(env))

    def source(self, language: str) -> Source:
        """Return it in the kernel's language."""
        return Source(prepare(language, self.cwd, self.env or {}), silent=True)

    def check(self, done: Execution) -> None:
        """See whether a kernel did what it was told.

        Raises:
            InvalidArgumentError: It could not.
        """
        if done.error is not None:
            raise InvalidArgumentError(f"the context cannot be made: {done.error}")


class Cell:
    """Code that runs, or will."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._callbacks = source.callbacks
        self._talk: KernelTalk | None = None
        self._running = False
        self._began = False
        self._sent_at: float | None = None
        self._ended_at: float | None = None
        self._deadline: float | None = None
        self._check_at = 0.0
        self._started = False
        self._expired = False
        self._state_lost = False
        self._stopping = False
        self._incomplete = False

    @property
    def execution(self) -> Execution:
        """What the code did so far; all of it, once the stream has ended."""
        known = Execution() if self._talk is None or self._sent_at is None else self._shown()
        return replace(
            known,
            timed_out=self._expired,
            state_lost=self._state_lost,
            incomplete=self._incomplete,
            duration_ms=self._milliseconds(),
        )

    @property
    def answers(self) -> Mapping[str, Any]:
        """What the expressions of the source gave."""
        return {} if self._talk is None else self._talk.answers

    def _shown(self) -> Execution:
        assert self._talk is not None
        return self._talk.execution()

    def _milliseconds(self) -> int:
        if self._sent_at is None:
            return 0
        ended_at = time.monotonic() if self._ended_at is None else self._ended_at
        return round((ended_at - self._sent_at) * 1000)

    def _send_with(self, talk: KernelTalk, session: str) -> Message:
        """Begin the conversation; return what is to be sent."""
        self._talk = talk
        request = self._source.request(session)
        limit = self._source.max_output_bytes
        talk.begin(request, max_output_bytes=_MAX_OUTPUT if limit is None else limit)
        self._sent_at = time.monotonic()
        self._deadline = self._latest()
        self._heard()
        return request

    def _latest(self) -> float | None:
        """Return when the time that code may take would end if it began now."""
        timeout = self._source.timeout
        return None if timeout is None else time.monotonic() + timeout

    def _wait_until(self) -> float:
        """Return when to look around although nothing has come."""
        return self._check_at if self._deadline is None else min(self._check_at, self._deadline)

    def _heard(self) -> None:
        self._check_at = time.monotonic() + (_CHECK if self._started else _FIRST_CHECK)

    def _news(self) -> CodeEvent | None:
        event = None if self._talk is None else self._talk.take()
        # The last one comes from here, as the conversation does not know of the time.
        return None if isinstance(event, CodeEndEvent) else event

    def _has_ended(self) -> bool:
        return self._state_lost or (self._talk is not None and self._talk.ended)

    def _take(self, message: Message) -> KernelTalk:
        """Take note of what the kernel says; return the conversation.

        Raises:
            KernelDiedError: It died.
            CodeLostError: The end of the code was missed.
        """
        talk = self._talk
        assert talk is not None
        talk.receive(message)
        if talk.started and not self._started:
            self._started = True  # it may have waited for somebody else's code until now
            self._deadline = self._latest()
        self._heard()
        if talk.ended:
            self._ended_at = time.monotonic()
        elif talk.kernel_died:
            raise self._died()
        elif talk.lost_output and (self._started or self._incomplete):
            raise self._lost("the connection was lost, and the code ended before there was another")
        return talk

    def _is_undelivered(self) -> bool:
        """Tell whether the kernel has not got the code, as everything that it said shows."""
        talk = self._talk
        return talk is not None and talk.lost_output and not self._started

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _expire(self) -> None:
        """Take note that the time is up.

        Raises:
            CodeTimeoutError: The code has not even begun.
        """
        if not self._started:
            raise CodeTimeoutError(
                f"The code did not get its turn in {self._source.timeout:g} s: other code runs in"
                " this context. It may still run later; interrupt or restart the context",
                execution=self.execution,
                outcome="unknown",
            )
        self._expired = True
        self._deadline = time.monotonic() + GRACE

    def _died(self) -> KernelDiedError:
        return KernelDiedError(
            "The kernel died while the code ran: out of memory, killed, or ended by the code; what"
            " the context knew is lost. The next call gets a fresh kernel",
            execution=self.execution,
        )

    def _lost(self, reason: str) -> CodeLostError:
        return CodeLostError(
            f"The code could not be followed to its end: {reason.rstrip('.')}. It may have run;"
            " what came of it so far is in .execution",
            execution=self.execution,
            outcome="unknown",
        )

    def _refused(self, error: SandlotError) -> SandlotError:
        """Return what is to be raised when a lost connection cannot be replaced."""
        done = self.execution
        refusal = denied(error, stdout=done.stdout, stderr=done.stderr, execution=done)
        return self._lost(str(error)) if refusal is None else refusal

    def _probe(self, session: str) -> Message:
        """Return a question whose answer shows that everything before it is over."""
        assert self._talk is not None
        question = kernel_info_request(session)
        self._talk.probe(question.id)
        return question

    def _late_for_turn(self) -> CodeTimeoutError:
        return CodeTimeoutError(
            f"The code did not get its turn in {self._source.timeout:g} s: this client runs other"
            " code in this context. Nothing was sent",
            execution=self.execution,
            outcome="not_started",
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._source.code!r:.60}>"
