"""Starting programs, and finding all that they have started.

What belongs to a program is found by three marks that no accident removes all at once: a variable
in the environment, the session that the program began in, and descent. Code that sets out to lose
all three (a cleared environment, a new session and a parent that ended) is left to the end of its
sandbox, which nothing survives.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import time
from collections.abc import Callable, Mapping

from .terminals import Terminal

__all__ = [
    "MARK",
    "Usage",
    "continue_everything",
    "everything",
    "kill_everything",
    "kill_tree",
    "measure",
    "signal_tree",
    "spawn",
    "stop_everything",
    "tree",
]

MARK = "SANDLOT_PROCESS"
"""Environment variable that tells to which command a process belongs."""

_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_PATIENCE = 5.0
_NICE = 5
_CROWD = 64
"""From so many processes on, everything is stopped at once before one of them is looked at."""
# What the agent ignores or handles; programs expect the defaults.
_RESET = (
    signal.SIGCHLD,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGPIPE,
    signal.SIGTERM,
    signal.SIGXFSZ,
)
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class _Row:
    """What `/proc/PID/stat` says of a process; see proc_pid_stat(5)."""

    __slots__ = ("memory", "parent", "session", "state", "ticks")

    def __init__(self, fields: list[bytes]) -> None:
        self.state = fields[0]
        self.parent = int(fields[1])
        self.session = int(fields[3])
        self.ticks = sum(int(field) for field in fields[11:15])
        self.memory = int(fields[21]) * _PAGE


class Usage:
    """Resources in use by a sandbox."""

    def __init__(self, cpu_seconds: float, memory_bytes: int) -> None:
        self.cpu_seconds = cpu_seconds
        self.memory_bytes = memory_bytes


def spawn(
    key: int,
    argv: list[str],
    env: dict[str, str],
    cwd: str,
    fds: list[int],
    terminal: Terminal | None = None,
) -> int:
    """Start a program in a session of its own and return its id.

    One that cannot be started is stood in for by a process that says so on stderr and ends with
    code 127 or 126.

    Args:
        key: What `tree` will know it by.
        argv: Program and arguments; a program without a slash is searched on `PATH`.
        env: Its environment.
        cwd: Directory to start in.
        fds: Its standard output, standard error and, if it has one, standard input.
        terminal: What it has instead of these.
    """
    env = {**env, MARK: str(key)}
    if terminal is not None:
        fds = [terminal.slave] * 3
    try:
        os.chdir(cwd)
    except OSError as error:
        return _stand_in(fds, _NOT_EXECUTABLE, f"{cwd}: {error.strerror}")
    try:
        program = _find(argv[0], env.get("PATH", os.defpath))
        pid = os.posix_spawn(
            program,
            argv,
            env,
            file_actions=_redirections(fds) if terminal is None else _attachments(terminal),
            setsid=True,
            setsigmask=(),
            setsigdef=_RESET,
        )
        _step_back(pid)
        return pid
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
            raise
        missing = error.errno == errno.ENOENT and not os.path.exists(argv[0])
        code = _NOT_FOUND if missing else _NOT_EXECUTABLE
        return _stand_in(fds, code, f"{argv[0]}: {error.strerror}")
    finally:
        os.chdir("/")


def _step_back(pid: int) -> None:
    """Let the agent and the server go before a program, unless they do so anyway.

    What is quick enough to fork before this has merely not been made to wait.
    """
    if os.getpid() == 1 and os.getpriority(os.PRIO_PROCESS, 0) >= 0:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, _NICE)


def _redirections(fds: list[int]) -> list[tuple[int, int, int] | tuple[int, int, str, int, int]]:
    stdin: tuple[int, int, int] | tuple[int, int, str, int, int]
    if len(fds) > 2:
        stdin = (os.POSIX_SPAWN_DUP2, fds[2], 0)
    else:
        stdin = (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)
    return [stdin, (os.POSIX_SPAWN_DUP2, fds[0], 1), (os.POSIX_SPAWN_DUP2, fds[1], 2)]


def _attachments(
    terminal: Terminal,
) -> list[tuple[int, int, int] | tuple[int, int, str, int, int]]:
    # Who leads a session, and has no terminal yet, gets the first one that it opens: tty(4). The
    # session is made before anything is opened.
    return [
        (os.POSIX_SPAWN_OPEN, 0, terminal.name, os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, 0, 2),
    ]


def _find(name: str, path: str) -> str:
    """Return the file that a command name stands for, as execvp(3) finds it."""
    if "/" in name:
        return name
    found = None
    for directory in path.split(":"):
        candidate = os.path.join(directory or ".", name)
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return candidate
            found = found or candidate
    if found is None:
        raise OSError(errno.ENOENT, "command not found")
    return found


def _stand_in(fds: list[int], code: int, line: str) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            _ = os.write(fds[1], f"{line}\n".encode(errors="surrogateescape"))
        finally:
            os._exit(code)
    return pid


def _table() -> dict[int, _Row]:
    """Return all processes in sight that have not ended; none where there is no `/proc`."""
    rows: dict[int, _Row] = {}
    try:
        names = os.listdir("/proc")
    except OSError:
        return rows
    for name in names:
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    data = file.read()
            except OSError:
                continue
            row = _Row(data[data.rindex(b")") + 2 :].split())
            if row.state not in (b"Z", b"X"):
                rows[int(name)] = row
    return rows


def everything() -> dict[int, _Row]:
    """Return all processes of this sandbox but this one."""
    rows = _table()
    me = os.getpid()
    if me == 1:
        _ = rows.pop(1, None)
        return rows
    return {pid: rows[pid] for pid in _descendants(rows, {me}) - {me}}


def _descendants(rows: dict[int, _Row], found: set[int]) -> set[int]:
    """Return these processes and all below them."""
    found = set(found)
    while True:
        more = {pid for pid, row in rows.items() if row.parent in found} - found
        if not more:
            return found
        found |= more


def _is_marked(pid: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark in file.read().split(b"\0")
    except OSError:
        return False


def tree(key: int, root: int | None) -> set[int]:
    """Return the living processes that a command started, itself included.

    Args:
        key: What the command was started with.
        root: Id of the command's own process, for as long as it has not been reaped.
    """
    rows = everything()
    mark = f"{MARK}={key}".encode()
    found = {
        pid
        for pid, row in rows.items()
        if (root is not None and root in (pid, row.session)) or _is_marked(pid, mark)
    }
    while True:
        below = _descendants(rows, found)
        sessions = {pid for pid, row in rows.items() if row.session in below}
        if sessions <= below:
            return below
        found = below | sessions


def _send(pids: set[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def signal_tree(key: int, root: int | None, number: int) -> bool:
    """Send a signal to all that a command started; return whether there was anything."""
    found = tree(key, root)
    _send(found, number)
    return bool(found)


def kill_tree(key: int, root: int | None, reap: Callable[[], None]) -> bool:
    """Kill all that a command started; return whether nothing of it is left.

    Everything is stopped first, until nothing new shows up, so that nothing starts processes faster
    than they are killed.

    Args:
        key: What the command was started with.
        root: Id of the command's own process, for as long as it has not been reaped.
        reap: Called between looks at the processes, whose number the dead would else drive up.
    """
    # Among many that want the processor, looking at each would take longer than they take to fork.
    if os.getpid() == 1 and len(os.listdir("/proc")) > _CROWD:
        return _kill_in_crowd(key, root, reap)
    deadline = time.monotonic() + _PATIENCE
    stopped: set[int] = set()
    while time.monotonic() < deadline:
        found = tree(key, root)
        reap()
        # What is ending has lost its environment, and perhaps its parent, but still is there.
        if not found and not stopped & everything().keys():
            return True
        new = found - stopped
        _send(new, signal.SIGSTOP)
        if not new:
            _send(found, signal.SIGKILL)
        stopped |= new
    return False


def _kill_in_crowd(key: int, root: int | None, reap: Callable[[], None]) -> bool:
    """Kill all that a command started, while nothing in the sandbox moves."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGSTOP)  # all at once: nothing forks away (kill(2))
    try:
        found = tree(key, root)
        _send(found, signal.SIGKILL)
        deadline = time.monotonic() + _PATIENCE
        while found & everything().keys():
            reap()
            if time.monotonic() > deadline:
                return False
        return True
    finally:
        continue_everything()


def stop_everything() -> bool:
    """Stop all processes of this sandbox but this one; return whether all have stopped."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        rows = everything()
        running = {pid for pid, row in rows.items() if row.state not in (b"T", b"t")}
        if not running:
            return True
        _send(running, signal.SIGSTOP)
        # Who has called vfork(2), as shells do, stops only when the child has executed something:
        # if that was stopped before, it has to go on for a moment.
        stuck = {pid for pid in running if rows[pid].state == b"D"}
        _send({pid for pid, row in rows.items() if row.parent in stuck} - running, signal.SIGCONT)
    return False


def continue_everything() -> None:
    """Let all processes of this sandbox run on."""
    _send(set(everything()), signal.SIGCONT)


def kill_everything(reap: Callable[[], None]) -> None:
    """Kill all processes of this sandbox but this one, however long that takes."""
    while found := everything():
        _send(set(found), signal.SIGSTOP)
        _send(set(everything()), signal.SIGKILL)
        reap()


def measure(rows: Mapping[int, _Row] | None = None) -> Usage:
    """Add up what the processes of this sandbox use, and what those have used that ended.

    Args:
        rows: What `everything` has just returned, to spare asking again.
    """
    rows = everything() if rows is None else rows
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = ended.ru_utime + ended.ru_stime + sum(row.ticks for row in rows.values()) / _TICKS
    return Usage(cpu, sum(row.memory for row in rows.values()))
