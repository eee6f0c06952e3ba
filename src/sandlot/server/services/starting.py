"""What templates start in each sandbox, and waiting until it is ready.

Programs are started once, by a shell that goes away again: they last until the sandbox ends, also
without a server, and nobody starts them again. What they write goes to `/tmp/start-1.log`,
`/tmp/start-2.log` and so on; how they ended, if they did, stands in `/tmp/start-1.exit`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from sandlot.server.store.setups import Start

from .commands import CommandResult, Commands, CommandSpec
from .errors import AgentError
from .instructions import Healthcheck, parse_healthcheck
from .live import LiveSandbox

__all__ = ["Starter", "printable"]

# The shell that waits is there to write down how the program ended.
_LAUNCH = '(/bin/sh -c "$1"; echo $? >"/tmp/start-$2.exit") >"/tmp/start-$2.log" 2>&1 </dev/null &'
_LAUNCH_TIMEOUT = 10.0
_FIRST_PAUSE = 0.05
_PATIENCE = 60.0
"""Seconds that programs may take until their healthcheck passes, whatever it says itself."""
_KEPT = 64 << 10
_SHOWN = 1000


class Starter:
    """Starts programs in sandboxes."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def begin(self, live: LiveSandbox) -> None:
        """Start what the template of a sandbox starts, and wait until it is ready.

        Raises:
            ServiceError: It does not become ready.
        """
        setup = live.record.setup
        if setup is None:
            return
        for number, start in enumerate(setup.start, 1):
            await self.start(live, start, number)
        if setup.healthcheck is not None:
            check = parse_healthcheck(setup.healthcheck)
            _ = await self.wait_healthy(live, check, CommandSpec(_shell(check.command)))

    async def start(
        self, live: LiveSandbox, start: Start, number: int, marks: dict[str, str] | None = None
    ) -> None:
        """Start a program.

        Args:
            live: Where.
            start: What.
            number: The how many-th it is there, counted from 1.
            marks: Further environment variables, to know it by.
        """
        own = live.record.env  # what the sandbox was asked to have comes before its template
        env = {name: value for name, value in start.env.items() if name not in own}
        spec = CommandSpec(
            argv=["/bin/sh", "-c", _LAUNCH, "sh", start.command, str(number)],
            env={**env, **(marks or {})},
            cwd=start.cwd,
            user=start.user,
            timeout_sec=_LAUNCH_TIMEOUT,
        )
        result = await self._run(live, spec)
        if result.end.exit_code != 0:
            raise AgentError(f"What the template starts cannot be started: {_said(result)}")

    async def wait_healthy(
        self,
        live: LiveSandbox,
        check: Healthcheck,
        spec: CommandSpec,
        watch: Callable[[CommandResult], None] | None = None,
    ) -> CommandResult:
        """Ask until a healthcheck passes, and return how it did.

        Args:
            live: Where.
            check: What to ask, and how often.
            spec: How to ask.
            watch: Told of each answer.

        Raises:
            AgentError: It failed too often, or for too long.
        """
        spec = replace(spec, timeout_sec=check.timeout)
        began = asyncio.get_running_loop().time()
        pause, tries, failures = _FIRST_PAUSE, 0, 0
        while True:
            result = await self._run(live, spec)
            tries += 1
            if watch is not None:
                watch(result)
            if result.end.exit_code == 0:
                return result
            waited = asyncio.get_running_loop().time() - began
            counts = waited >= check.start_period
            failures += counts
            if (check.retries and failures >= check.retries) or waited > _PATIENCE:
                times = "once" if tries == 1 else f"{tries} times in {waited:.1f} seconds"
                raise AgentError(f"The healthcheck failed {times}: {_said(result)}")
            # Failures that cost nothing are no reason to wait for long.
            pause = check.interval if counts and check.retries else min(2 * pause, check.interval)
            await asyncio.sleep(pause)

    async def _run(self, live: LiveSandbox, spec: CommandSpec) -> CommandResult:
        return await self._commands.run(live, spec, stdin=None, max_output=_KEPT)


def printable(text: str) -> str:
    """Return what a program said in a form that can be kept: PostgreSQL has no NUL in texts."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _shell(line: str) -> list[str]:
    return ["/bin/sh", "-c", line]


def _said(result: CommandResult) -> str:
    """Return how a command ended and the end of what it said, for people."""
    output = (result.stderr or result.stdout).decode(errors="replace")
    said = printable(output).strip()[-_SHOWN:]
    end = "it took too long" if result.end.timed_out else f"exit code {result.end.exit_code}"
    return f"{end}{': ' if said else ''}{said}"
