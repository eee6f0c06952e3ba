"""One build: a sandbox in which the instructions of a recipe are followed, then captured."""

from __future__ import annotations

import asyncio
import posixpath
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from sandlot.server.store.setups import Setup, Start

from .build_log import BuildLog
from .commands import CommandResult, Commands, CommandSpec
from .errors import ServiceError
from .executions import Execution
from .instructions import (
    Copy,
    Env,
    Instruction,
    Run,
    StartProgram,
    User,
    Workdir,
    parse_healthcheck,
)
from .live import LiveSandbox
from .picking import Picker, SourceError
from .starting import Starter, printable

__all__ = ["Building", "StepFailedError"]

_RUN_TIMEOUT = 600.0
_STEP_TIMEOUT = 60.0
_PIECE = 256 << 10
_SHOWN = 1000
_NO_EXIT = -1
_MARK = "SANDLOT_BUILD"

# Make a directory (of what is to be there, if it is to be a file), and say where it is.
_PLACE = """
if [ "$2" = directory ] || [ -d "$1" ]; then kind=directory; d=$1
else kind=file; d=$(dirname -- "$1"); fi
mkdir -p -- "$d" && cd -- "$d" || exit
printf '%s\\n' "$kind" "$(pwd -P)" "$(cd ~ && pwd -P)"
[ -w . ] && echo writable || echo fixed
"""
# Ask what was started to end; what does not is killed.
_STOP = """
find() { grep -lz "^$1=$2\\$" /proc/[0-9]*/environ 2>/dev/null | tr -cd '0-9\\n'; }
kill -TERM $(find "$@") 2>/dev/null
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20
do [ -z "$(find "$@")" ] && exit 0; sleep 0.1; done
kill -KILL $(find "$@") 2>/dev/null; exit 0
"""
_ENDED = """
for f in /tmp/start-*.exit; do
  [ -s "$f" ] && [ "$(cat "$f")" != 0 ] || continue
  n=${f#/tmp/start-}; n=${n%.exit}; echo "START number $n ended with exit code $(cat "$f"):" >&2
  tail -c 2000 "/tmp/start-$n.log" >&2; failed=1
done
exit ${failed:-0}
"""


class StepFailedError(Exception):
    """A step failed; the message is for users."""


class _BadStepError(Exception):
    """A step cannot be done; the message says why."""

    def __init__(self, problem: str, exit: int = _NO_EXIT) -> None:
        super().__init__(problem)
        self.exit = exit


@dataclass
class _State:
    """What instructions change for those after them."""

    live: LiveSandbox
    env: dict[str, str] = field(default_factory=dict[str, str])
    added: dict[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None
    user: str | None = None
    started: list[Start] = field(default_factory=list[Start])

    def spec(self, argv: Sequence[str], timeout: float = _STEP_TIMEOUT) -> CommandSpec:
        """Return a command as it is run at this place of the recipe."""
        return CommandSpec(
            argv, env=self.added, cwd=self.cwd, user=self.user, timeout_sec=timeout, stdin=False
        )


class Building:
    """Follows a recipe.

    Args:
        build_id: What programs are known by that it starts.
        archive: Files to copy from.
        log: What is written of it.
        commands: What runs commands.
        place: Directory for files that are on their way.
    """

    def __init__(
        self, build_id: str, archive: Path | None, log: BuildLog, commands: Commands, place: Path
    ) -> None:
        self._id = build_id
        self._archive = archive
        self._log = log
        self._commands = commands
        self._starter = Starter(commands)
        self._place = place

    async def follow(
        self, live: LiveSandbox, recipe: Sequence[Instruction], healthcheck: str | None
    ) -> Setup:
        """Do what a recipe says; return what its sandboxes get besides the files.

        Raises:
            StepFailedError: Something failed.
        """
        base = live.record.setup or Setup()
        state = _State(live, cwd=base.cwd, user=base.user, added=dict(base.env))
        state.started = list(base.start)
        state.env = await self._environment(state)
        for instruction in recipe:
            async with self._step("recipe", instruction.line, instruction.text):
                await self._follow(state, instruction)
        check = healthcheck or base.healthcheck
        if check is not None:
            async with self._step("post-build", 0, f"HEALTHCHECK {check}"):
                await self._wait_healthy(state, check)
        if len(state.started) > len(base.start):
            async with self._step("post-build", 0, "Stop what was started"):
                _ = await self._do(state, _ENDED)
                _ = await self._do(state, _STOP, _MARK, self._id)
        return Setup(state.added, state.cwd, state.user, state.started, check)

    @asynccontextmanager
    async def _step(self, phase: str, line: int, text: str) -> AsyncGenerator[None]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        number = self._log.begin(phase, line, text)

        def end(exit: int, *, ok: bool) -> None:
            self._log.end(exit, ok=ok, elapsed_ms=round((loop.time() - began) * 1000))

        try:
            yield
        except (_BadStepError, ServiceError) as error:
            exit = error.exit if isinstance(error, _BadStepError) else _NO_EXIT
            said = printable(self._log.tail).strip()[-_SHOWN:]
            problem = str(error).rstrip(".")
            end(exit, ok=False)
            where = f"Step {number} ({f'line {line}: ' if line else ''}{_short(text)})"
            raise StepFailedError(
                f"{where} failed: {problem}{':' if said else '.'}\n{said}".strip()
            ) from error
        except BaseException:
            end(_NO_EXIT, ok=False)
            raise
        end(0, ok=True)

    async def _follow(self, state: _State, instruction: Instruction) -> None:
        match instruction:
            case Run():
                await self._run(state, instruction)
            case StartProgram(command=command):
                start = Start(command, dict(state.added), state.cwd, state.user)
                state.started.append(start)
                marks = {_MARK: self._id}
                await self._starter.start(state.live, start, len(state.started), marks)
            case Env(name=name, value=value):
                state.env[name] = state.added[name] = value.expand(state.env)
            case Workdir(path=path):
                place = await self._go(state, path.expand(state.env), "directory")
                if not place.kept and place.writable:
                    raise _BadStepError(_LOST.format(place.path))
                state.cwd = place.path
            case User(name=name):
                user = name.expand(state.env)
                _ = await self._do(replace(state, user=user), ":")
                state.user = user
            case Copy():
                await self._copy(state, instruction)
            case _:
                raise AssertionError(instruction)

    async def _run(self, state: _State, instruction: Run) -> None:
        timeout = instruction.timeout or _RUN_TIMEOUT
        spec = state.spec(["/bin/sh", "-c", instruction.command], timeout)
        async with self._commands.start(state.live, spec) as execution:
            await self._record(execution)
            end = await execution.wait()
        if end.timed_out:
            raise _BadStepError(f"it was killed after its time limit of {timeout:g} seconds")
        if end.no_space:
            raise _BadStepError("it was killed, as the sandbox stored more than disk_mb", 1)
        if end.oom:
            raise _BadStepError("memory_mb was not enough for it", end.exit_code)
        if end.signal is not None:
            raise _BadStepError(f"it was killed by {end.signal}")
        if end.exit_code != 0:
            raise _BadStepError(f"exit code {end.exit_code}", end.exit_code)

    async def _copy(self, state: _State, instruction: Copy) -> None:
        sources = [source.expand(state.env) for source in instruction.sources]
        target = instruction.target.expand(state.env)
        try:
            picker = await asyncio.to_thread(Picker, self._archive, sources)
            picker.check()
        except SourceError as error:
            raise _BadStepError(str(error)) from error
        whole = picker.is_directory() or len(sources) > 1 or target.endswith("/")
        place = await self._go(state, target, "directory" if whole else "any")
        if not place.kept:
            raise _BadStepError(_LOST.format(place.path))
        name = None if place.is_directory else posixpath.basename(target)
        with tempfile.TemporaryFile(dir=self._place) as picked:
            await asyncio.to_thread(picker.write, picked, name, instruction.mode)
            _ = picked.seek(0)
            await self._unpack(state, picked, place.path)

    async def _unpack(self, state: _State, picked: IO[bytes], where: str) -> None:
        """Have an archive unpacked in the sandbox; what is wrong there harms nobody else."""
        argv = ["tar", "-x", "-o", "-p", "-f", "-", "-C", where]
        spec = replace(state.spec(argv, _RUN_TIMEOUT), stdin=True)
        async with self._commands.start(state.live, spec) as execution:
            feeder = asyncio.create_task(_feed(execution, picked))
            try:
                await self._record(execution)
                end = await execution.wait()
            finally:
                _ = feeder.cancel()
                _ = await asyncio.wait([feeder])
        if end.exit_code != 0:
            raise _BadStepError(f"the files were not written: exit code {end.exit_code}")

    async def _wait_healthy(self, state: _State, text: str) -> None:
        check = parse_healthcheck(text)
        spec = state.spec(["/bin/sh", "-c", check.command])
        try:
            _ = await self._starter.wait_healthy(state.live, check, spec, self._show)
        except ServiceError:
            _ = await self._do(state, _ENDED)  # which says more, if something has ended
            raise

    async def _environment(self, state: _State) -> dict[str, str]:
        """Return the variables that commands have, without this recipe."""
        spec = state.spec(["cat", "/proc/self/environ"])
        result = await self._commands.run(state.live, spec, stdin=None, max_output=_PIECE)
        pairs = (pair.partition("=") for pair in result.stdout.decode(errors="replace").split("\0"))
        return {name: value for name, _, value in pairs if name}

    async def _go(self, state: _State, path: str, kind: str) -> _Place:
        if not path or "\0" in path:
            raise _BadStepError("the path is empty")
        result = await self._do(state, _PLACE, path, kind)
        lines = result.stdout.decode(errors="replace").splitlines()
        if len(lines) != 4:
            raise _BadStepError("the path is not usable")
        return _Place(lines[1], lines[2], is_directory=lines[0] == "directory", last=lines[3])

    async def _do(self, state: _State, script: str, *arguments: str) -> CommandResult:
        """Run a script of our own."""
        spec = state.spec(["/bin/sh", "-c", script, "sh", *arguments])
        result = await self._commands.run(state.live, spec, stdin=None, max_output=_PIECE)
        if result.end.exit_code != 0:
            self._show(result)
            raise _BadStepError(f"exit code {result.end.exit_code}", result.end.exit_code)
        return result

    async def _record(self, execution: Execution) -> None:
        while (piece := await execution.read()) is not None:
            self._log.write(piece.stream, piece.data)

    def _show(self, result: CommandResult) -> None:
        self._log.write("stdout", result.stdout)
        self._log.write("stderr", result.stderr)


_LOST = "{} is outside of the home directory, and nothing else is kept"


@dataclass(frozen=True, slots=True)
class _Place:
    path: str
    home: str
    is_directory: bool
    last: str

    @property
    def kept(self) -> bool:
        """Whether it is in the home directory."""
        return self.path == self.home or self.path.startswith(f"{self.home}/")

    @property
    def writable(self) -> bool:
        return self.last == "writable"


async def _feed(execution: Execution, picked: IO[bytes]) -> None:
    while piece := await asyncio.to_thread(picked.read, _PIECE):
        if not await execution.write_stdin(piece):
            return
    await execution.close_stdin()


def _short(text: str) -> str:
    first, _, rest = text.partition("\n")
    return first if len(first) <= 100 and not rest else f"{first[:100]}…"
