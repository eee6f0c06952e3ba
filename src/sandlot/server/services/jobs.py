"""Commands that run without anybody waiting for them: in the background, and in terminals.

What they write is kept on a tape, for whoever follows them. Commands that a client follows from
beginning to end are jobs too, so that the client can come back when its connection breaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from . import tags
from .commands import Commands, CommandSpec
from .errors import AgentError, ConflictError, InvalidRequestError, NotFoundError, ServiceError
from .executions import CommandEnd, Execution
from .inputs import Input
from .live import LiveSandbox
from .tags import Kind
from .tapes import Shelf, Stream, Tape
from .tasks import TaskGroup

__all__ = ["SIGNALS", "Job", "JobRecord", "Jobs", "Kind"]

SIGNALS: Final = frozenset(
    "SIG" + name
    for name in ("ALRM", "CONT", "HUP", "INT", "KILL", "QUIT", "STOP", "TERM", "USR1", "USR2")
) | {"SIGWINCH"}
"""Signals that can be asked for."""

_log = logging.getLogger(__name__)
_TYPED = 64 << 10
_MOST_RUNNING = 256
_MOST_ENDED = 32
_TAIL = 2.0  # seconds: what is killed ends at once, unless a reader who has stopped holds it up
_MOST_AWAITED = 64
"""Commands of a sandbox that have ended, and whose clients may come back for their output."""


class Job:
    """A command that runs, or has ended.

    Attributes:
        tag: Its name.
        tape: The latest of its output.
        input: What it is given to read.
        reader: Of a command that a client follows: what holds its output until it has arrived.
        patience: Seconds for which the command goes on when that client is lost.
        end: How it ended, once it has.
        failure: Why it could not be followed to its end.
    """

    def __init__(self, tag: str, kind: Kind, tape: Tape) -> None:
        self.tag = tag
        self.kind: Kind = kind
        self.tape = tape
        self.input = Input()
        self.reader = tape.reader(hold=True) if kind == "command" else None
        self.patience = 0.0
        self._execution: Execution | None = None
        self.end: CommandEnd | None = None
        self.failure: ServiceError | None = None
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._begun: asyncio.Future[None] = self._loop.create_future()
        self._seat: asyncio.Future[None] | None = None
        self._patience: asyncio.TimerHandle | None = None

    @property
    def execution(self) -> Execution:
        """The command itself, once it has begun."""
        assert self._execution is not None
        return self._execution

    @property
    def begun(self) -> bool:
        """Whether it has begun to run."""
        return self._execution is not None

    @property
    def ended(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self._ended.is_set()

    async def begin(
        self, tasks: TaskGroup, commands: Commands, live: LiveSandbox, spec: CommandSpec
    ) -> None:
        """Start the command.

        Raises:
            ServiceError: It cannot be started.
        """
        self._task = tasks.start(self._run(commands, live, spec))
        try:
            await asyncio.shield(self._begun)
        except asyncio.CancelledError:
            await self.abandon()
            raise

    async def abandon(self) -> None:
        """Kill everything that it started, and wait for its end."""
        if self._task is not None and not self._task.done():
            _ = self._task.cancel()
            _ = await asyncio.wait([self._task])

    async def type(self, data: bytes) -> None:
        """Type something at its terminal, waiting while it does not read what was typed before."""
        for start in range(0, len(data), _TYPED):
            await self.input.room()
            self.input.put(self.input.received, data[start : start + _TYPED])

    def acknowledge(self, offsets: Mapping[Stream, int]) -> None:
        """Take note of how much of its output has arrived at its client."""
        assert self.reader is not None
        self.reader.acknowledge(offsets)

    def come_back(self, offsets: Mapping[Stream, int]) -> None:
        """Go on for a client to which so much of the output has arrived.

        Raises:
            InvalidRequestError: That cannot be.
        """
        before = self.reader
        assert before is not None
        for stream, offset in offsets.items():
            if not before.done[stream] <= offset <= before.seen[stream]:
                raise InvalidRequestError(f"{stream}: that many bytes were not sent, or are gone.")
        # A reader of its own: the connection before may read on until it is told.
        self.reader = self.tape.reader(offsets, hold=True)
        self.reader.acknowledges = before.acknowledges
        self.tape.leave(before)

    def sit_down(self) -> asyncio.Future[None]:
        """Return what is done as soon as somebody else follows it in one's place."""
        if self._seat is not None and not self._seat.done():
            self._seat.set_result(None)
        if self._patience is not None:
            self._patience.cancel()
        self._seat = self._loop.create_future()
        return self._seat

    def stand_up(
        self, seat: asyncio.Future[None], patience: float, give_up: Callable[[], None]
    ) -> None:
        """Have something done unless somebody takes one's place within so many seconds."""
        if self._seat is seat:
            self._patience = self._loop.call_later(patience, give_up)

    def expect_nobody(self) -> None:
        """Wait no more for somebody to take one's place."""
        if self._patience is not None:
            self._patience.cancel()

    async def wait(self) -> CommandEnd:
        """Wait for its end.

        Raises:
            ServiceError: It could not be followed to it.
        """
        _ = await self._ended.wait()
        if self.failure is not None:
            raise self.failure
        assert self.end is not None
        return self.end

    async def _run(self, commands: Commands, live: LiveSandbox, spec: CommandSpec) -> None:
        try:
            async with commands.start(live, spec, counts=self.kind == "command") as execution:
                self._execution = execution
                self._begun.set_result(None)
                await self._follow(execution, feeds=spec.stdin or spec.terminal is not None)
        except ServiceError as error:
            self._fail(error)
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                _log.exception("a command could not be followed", extra={"tag": self.tag})
            self._fail(AgentError("The command was given up."))
            raise
        finally:
            self.tape.finish()
            self._ended.set()

    def _fail(self, error: ServiceError) -> None:
        if self._begun.done():
            self.failure = error
        else:
            self._begun.set_exception(error)

    async def _follow(self, execution: Execution, *, feeds: bool) -> None:
        feeder = asyncio.create_task(self._feed(execution)) if feeds else None
        try:
            while (piece := await execution.read()) is not None:
                self.tape.write(piece)
                await self.tape.room()
            self.end = await execution.wait()
        finally:
            if feeder is not None:
                _ = feeder.cancel()
                _ = await asyncio.wait([feeder])

    async def _feed(self, execution: Execution) -> None:
        reads = True
        while (data := await self.input.get()) is not None:
            # What nobody reads any more is taken all the same, or the client would wait for ever.
            reads = reads and await execution.write_stdin(data)
            self.input.take(len(data))
        await execution.close_stdin()


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What is told of a process.

    Attributes:
        tag: Its name, if it has one.
        end: How it ended, once it has.
        lost: It ended with its sandbox.
    """

    pid: int
    tag: str | None
    argv: Sequence[str]
    kind: Kind
    started_at: datetime
    end: CommandEnd | None = None
    lost: bool = False


class Jobs:
    """The jobs of all sandboxes: those that run, and the last that have ended."""

    def __init__(self, commands: Commands, shelf: Shelf | None = None) -> None:
        self._commands = commands
        self._shelf = shelf or Shelf()
        self._running = dict[str, dict[str, Job]]()
        self._ended = dict[str, deque[Job]]()
        self._tasks = TaskGroup()

    async def start(
        self, live: LiveSandbox, spec: CommandSpec, kind: Kind, tag: str | None = None
    ) -> Job:
        """Start a job; a command's output is kept until its reader says otherwise.

        Raises:
            InvalidRequestError: The tag is none, or the command makes no sense.
            ConflictError: Another one that runs has the tag, or there are too many.
        """
        sandbox_id = live.record.id
        running = self._running.setdefault(sandbox_id, {})
        if sum(not job.ended for job in running.values()) >= _MOST_RUNNING:
            raise ConflictError(f"{_MOST_RUNNING} processes run in this sandbox already.")
        tag = tags.check(running, tag) if tag is not None else tags.new(kind)
        job = Job(tag, kind, self._shelf.tape())
        running[tag] = job
        try:
            await job.begin(self._tasks, self._commands, live, spec)
        except BaseException:
            self._drop(sandbox_id, job)
            raise
        self._forget_namesake(sandbox_id, tag)
        _ = self._tasks.start(self._see_off(sandbox_id, job))
        return job

    def records(self, sandbox_id: str, *, all: bool = False) -> list[JobRecord]:
        """Return what runs in a sandbox, the oldest first; with `all`, what has ended behind it."""
        jobs = {job.execution: job for job in self._begun(sandbox_id)}
        records = [
            _record(execution, jobs.get(execution))
            for execution in self._commands.running(sandbox_id)
        ]
        if all:
            ended = self._ended.get(sandbox_id, ())
            records += [_record(job.execution, job) for job in ended]
        return records

    def find(self, sandbox_id: str, selector: str) -> Job:
        """Return a job by its tag or its process id; of several, the one that runs.

        Raises:
            NotFoundError: There is none.
        """
        for job in (*self._begun(sandbox_id), *reversed(self._ended.get(sandbox_id, ()))):
            if selector in (job.tag, str(job.execution.pid)):
                return job
        raise NotFoundError("There is no such process, or none any more.")

    def find_command(self, sandbox_id: str, tag: str) -> Job:
        """Return a command that a client followed, and may come back to.

        Raises:
            NotFoundError: There is none.
        """
        job = self._running.get(sandbox_id, {}).get(tag)
        if job is None or job.kind != "command" or not job.begun:
            raise NotFoundError("There is no such command, or none any more.")
        return job

    def end_later(self, sandbox_id: str, job: Job, seat: asyncio.Future[None], wait: float) -> None:
        """End and forget a command unless its client comes back within so many seconds."""

        def end() -> None:
            _ = self._tasks.start(self.end(sandbox_id, job))

        known = self._running.get(sandbox_id, {}).get(job.tag) is job
        job.stand_up(seat, wait if known else 0.0, end)

    async def end(self, sandbox_id: str, job: Job) -> None:
        """Kill a command that nobody will come back to, if it still runs, and forget it."""
        try:
            await job.abandon()
        finally:
            self.forget(sandbox_id, job)

    async def signal(self, sandbox_id: str, selector: str, name: str) -> None:
        """Send a signal to a process that runs.

        Raises:
            InvalidRequestError: There is no such signal.
            NotFoundError: There is no such process.
        """
        if name not in SIGNALS:
            raise InvalidRequestError(f"signal: must be one of {', '.join(sorted(SIGNALS))}.")
        tags = {job.execution: job.tag for job in self._begun(sandbox_id)}
        for execution in self._commands.running(sandbox_id):
            if selector in (str(execution.pid), tags.get(execution)):
                break
        else:
            raise NotFoundError("There is no such process, or none any more.")
        if name != "SIGKILL":
            await execution.signal(signal.Signals[name])
            return
        await execution.kill()
        for job in self._begun(sandbox_id):
            if job.execution is execution:  # its tag can be used again
                with contextlib.suppress(ServiceError, TimeoutError):
                    _ = await asyncio.wait_for(job.wait(), _TAIL)

    def forget(self, sandbox_id: str, job: Job) -> None:
        """Forget a job that nobody will ask for."""
        ended = self._ended.get(sandbox_id)
        if ended is not None and job in ended:
            ended.remove(job)
        self._drop(sandbox_id, job)

    async def forget_sandbox(self, sandbox_id: str) -> None:
        """Forget the jobs of a sandbox that is gone."""
        for job in self._running.pop(sandbox_id, {}).values():
            job.expect_nobody()
            self._shelf.remove(job.tape)
        for job in self._ended.pop(sandbox_id, ()):
            self._shelf.remove(job.tape)

    def _begun(self, sandbox_id: str) -> list[Job]:
        running = self._running.get(sandbox_id, {}).values()
        return [job for job in running if job.begun]

    async def _see_off(self, sandbox_id: str, job: Job) -> None:
        with contextlib.suppress(ServiceError):  # it is told to whoever asks
            _ = await job.wait()
        running = self._running.get(sandbox_id, {})
        if running.get(job.tag) is not job:
            return
        if job.kind == "command":
            # Whoever follows it says when it can be forgotten, but only so many are kept.
            awaited = [each for each in running.values() if each.kind == "command" and each.ended]
            for each in awaited[:-_MOST_AWAITED]:
                self._drop(sandbox_id, each)
            return
        del running[job.tag]
        ended = self._ended.setdefault(sandbox_id, deque())
        ended.append(job)
        while len(ended) > _MOST_ENDED:
            self._shelf.remove(ended.popleft().tape)

    def _forget_namesake(self, sandbox_id: str, tag: str) -> None:
        for job in [job for job in self._ended.get(sandbox_id, ()) if job.tag == tag]:
            self.forget(sandbox_id, job)

    def _drop(self, sandbox_id: str, job: Job) -> None:
        running = self._running.get(sandbox_id, {})
        if running.get(job.tag) is job:
            del running[job.tag]
        job.expect_nobody()
        self._shelf.remove(job.tape)


def _record(execution: Execution, job: Job | None) -> JobRecord:
    tag = None if job is None or job.kind == "command" else job.tag
    kind: Kind = "command" if job is None else job.kind
    end = None if job is None else job.end
    lost = job is not None and job.failure is not None
    return JobRecord(execution.pid, tag, execution.argv, kind, execution.started_at, end, lost=lost)
