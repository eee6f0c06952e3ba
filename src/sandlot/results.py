"""What commands did."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import CommandFailedError, CommandTimeoutError

__all__ = ["ExecResult"]


@dataclass(frozen=True, slots=True, repr=False)
class ExecResult:
    """What a command did."""

    stdout: str
    """Standard output; bytes that are not UTF-8 became U+FFFD."""
    stderr: str
    """Standard error, likewise."""
    exit_code: int
    """Exit code; 126 or 127 if it could not be run, -1 if a signal ended it."""
    duration_ms: int = 0
    """How long it ran."""
    encoding: str = "utf-8"
    """How the output travelled: `base64` if it is not all UTF-8."""
    signal: str | None = None
    """Name of the signal that ended it, such as `SIGKILL`."""
    timed_out: bool = False
    """It was killed after its time limit."""
    truncated: bool = False
    """Output beyond the limit was discarded."""
    oom: bool = False
    """Something of it was killed because the sandbox ran out of memory."""
    no_space: bool = False
    """Something of it was killed because the sandbox went over `disk_mb`."""
    raw_stdout: bytes | None = field(default=None, compare=False)
    raw_stderr: bytes | None = field(default=None, compare=False)

    @property
    def stdout_bytes(self) -> bytes:
        """Standard output, exactly."""
        return self.stdout.encode() if self.raw_stdout is None else self.raw_stdout

    @property
    def stderr_bytes(self) -> bytes:
        """Standard error, exactly."""
        return self.stderr.encode() if self.raw_stderr is None else self.raw_stderr

    @property
    def ok(self) -> bool:
        """It exited with 0, in time."""
        return self.exit_code == 0 and not self.timed_out

    def check(self) -> ExecResult:
        """Return the result itself if the command did well.

        Raises:
            CommandTimeoutError: It was killed after its time limit.
            CommandFailedError: It ended with another exit code than 0.
        """
        if self.timed_out:
            raise CommandTimeoutError(
                f"The command was killed after its time limit, {self.duration_ms / 1000:g} s after"
                " its start; its output so far is in .stdout and .stderr. Give it more with"
                " timeout_sec",
                stdout=self.stdout,
                stderr=self.stderr,
                outcome="finished",
            )
        if self.exit_code != 0:
            raise CommandFailedError(self)
        return self

    def __repr__(self) -> str:
        parts = [f"exit_code={self.exit_code}"]
        if self.signal:
            parts.append(f"signal={self.signal}")
        parts += [name for name in _FLAGS if getattr(self, name)]
        parts += [f"stdout={_short(self.stdout)}", f"stderr={_short(self.stderr)}"]
        return f"ExecResult({', '.join(parts)})"


_FLAGS = ("timed_out", "truncated", "oom", "no_space")


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:60]!r}... ({len(text)} characters)"
