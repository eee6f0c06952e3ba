"""Programs that take all they can get, and what is to become of them.

`perform` runs one beside a neighbour. `test_exhaustion.py` works the table off as whoever runs it;
as a program this module does so too, which `test_ordinary_user.py` has an ordinary user do. Then it
prints what was seen as a JSON object; its argument is the data directory.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandlot.server.engine import make_engine
from sandlot.server.engine.base import (
    Command,
    Engine,
    EngineError,
    Exit,
    Process,
    SandboxHandle,
    SandboxSpec,
)

MEMORY_MB = 96
DISK_MB = 24
OVERSHOOT_MB = 600
"""What may be written between two looks at the disk, on a fast one."""
PATIENCE = 6.0
"""Seconds that a neighbour may have to wait at most, and those that programs have to be stopped."""
RUN = 3.0
"""Seconds that those go on that nothing is to stop."""

PRELUDE = """
import ctypes, mmap, os, resource, select, signal, socket, sys, threading, time
def hold(error):
    print("stopped by", type(error).__name__, error, flush=True)
    time.sleep(600)
def attack(function):
    try:
        function()
    except (OSError, MemoryError, RuntimeError) as error:
        hold(error)
held = []
"""


@dataclass(frozen=True)
class Attack:
    """A program, and how it may end: `stopped` by an error, or killed: `oom`, `no_space`.

    One that `runs` is bounded otherwise, and goes on until it is killed; one that is just `killed`
    left its sandbox no time to answer.
    """

    program: str
    ends: frozenset[str]


def ends(*words: str) -> frozenset[str]:
    return frozenset(words)


ATTACKS: dict[str, Attack] = {
    "fork_bomb": Attack(
        "while True:\n    try: os.fork()\n    except OSError: pass", ends("runs", "oom", "killed")
    ),
    "threads": Attack(
        """
def spin():
    while True: pass
@attack
def run():
    for _ in range(200): threading.Thread(target=spin, daemon=True).start()
    hold(OSError("enough"))
""",
        ends("stopped", "runs"),
    ),
    "memory": Attack(
        "@attack\ndef run():\n    while True: held.append(b'x' * (1 << 20))",
        ends("oom", "stopped"),
    ),
    "memory_of_many": Attack(
        """
for _ in range(20):
    if os.fork() == 0:
        held.append(b'x' * (40 << 20))
        time.sleep(600)
while True: print(os.wait(), flush=True)
""",
        ends("runs", "oom"),
    ),
    "memory_of_tmp": Attack(
        "@attack\ndef run():\n"
        "    f = open('/tmp/big', 'wb', 0)\n    while True: f.write(bytes(1 << 20))",
        ends("stopped", "oom"),
    ),
    "memory_of_shm": Attack(
        "@attack\ndef run():\n"
        "    f = open('/dev/shm/big', 'wb', 0)\n    while True: f.write(bytes(1 << 20))",
        ends("stopped", "oom"),
    ),
    "empty_files_in_memory": Attack(
        "@attack\ndef run():\n    n = 0\n    while True:\n"
        "        os.close(os.open(f'/tmp/{n}', os.O_CREAT)); n += 1",
        ends("stopped", "oom"),
    ),
    "memory_of_memfd": Attack(
        """
@attack
def run():
    while True:
        held.append(os.memfd_create("x"))
        os.write(held[-1], bytes(1 << 20))
""",
        ends("oom", "stopped"),
    ),
    "shared_anonymous_memory": Attack(
        """
@attack
def run():
    while True:
        held.append(mmap.mmap(-1, 1 << 20))
        held[-1].write(bytes(1 << 20))
""",
        ends("oom", "stopped"),
    ),
    "memory_that_outlives_processes": Attack(
        """
libc = ctypes.CDLL(None, use_errno=True)
@attack
def run():
    while True:
        if libc.shmget(0, ctypes.c_size_t(16 << 20), 0o1600) < 0:
            raise OSError(ctypes.get_errno(), "shmget")
""",
        ends("stopped"),
    ),
    "semaphores": Attack(
        """
libc = ctypes.CDLL(None, use_errno=True)
@attack
def run():
    while True:
        if libc.semget(0, 32000, 0o1600) < 0: raise OSError(ctypes.get_errno(), "semget")
""",
        ends("stopped"),
    ),
    "message_queues": Attack(
        """
libc = ctypes.CDLL(None, use_errno=True)
@attack
def run():
    n = 0
    while True:
        n += 1
        if libc.mq_open(b"/%d" % n, os.O_CREAT | os.O_RDWR, 0o600, None) < 0:
            raise OSError(ctypes.get_errno(), "mq_open")
""",
        ends("stopped", "oom"),
    ),
    "pipes": Attack(
        """
@attack
def run():
    while True:
        r, w = os.pipe(); held.extend((r, w)); os.set_blocking(w, False)
        try: os.write(w, bytes(1 << 16))
        except BlockingIOError: pass
""",
        ends("stopped", "oom"),
    ),
    "socket_buffers": Attack(
        """
@attack
def run():
    while True:
        a, b = socket.socketpair(); held.extend((a, b)); a.setblocking(False)
        try:
            while len(held) < 2000: a.send(bytes(1 << 16))
        except BlockingIOError: pass
""",
        ends("stopped", "oom"),
    ),
    "descriptors": Attack(
        "@attack\ndef run():\n    while True: held.append(os.open('/dev/null', os.O_RDONLY))",
        ends("stopped", "oom"),
    ),
    "inotify": Attack(
        """
libc = ctypes.CDLL(None, use_errno=True)
@attack
def run():
    while True:
        if libc.inotify_init() < 0: raise OSError(ctypes.get_errno(), "inotify_init")
""",
        ends("stopped"),
    ),
    "pending_signals": Attack(
        """
libc = ctypes.CDLL(None, use_errno=True)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
@attack
def run():
    while True:
        if libc.sigqueue(os.getpid(), int(signal.SIGRTMIN), None) < 0:
            raise OSError(ctypes.get_errno(), "sigqueue")
""",
        ends("stopped"),
    ),
    "terminals": Attack(
        "@attack\ndef run():\n    while True: held.append(os.open('/dev/ptmx', os.O_RDWR))",
        ends("stopped"),
    ),
    "one_file": Attack(
        "@attack\ndef run():\n"
        "    f = open('big', 'wb', 0)\n    while True: f.write(bytes(1 << 20))",
        ends("stopped"),
    ),
    "many_files": Attack(
        """
@attack
def run():
    n = 0
    while True:
        n += 1
        with open(f"f{n}", "wb", 0) as f: f.write(bytes(1 << 20))
""",
        ends("no_space"),
    ),
    "many_empty_files": Attack(
        """
@attack
def run():
    n = 0
    while True:
        n += 1
        if n % 4096 == 1: os.mkdir(f"d{n}"); os.chdir(f"d{n}")
        os.close(os.open(f"f{n}", os.O_CREAT))
""",
        ends("no_space", "runs"),
    ),
    "files_without_a_name": Attack(
        """
@attack
def run():
    while True:
        held.append(open("x", "wb", 0)); os.unlink("x")
        for _ in range(20): held[-1].write(bytes(1 << 20))
""",
        ends("no_space"),
    ),
    "files_in_closed_directories": Attack(
        """
@attack
def run():
    n = 0
    while True:
        n += 1
        os.mkdir("d"); os.mkdir("d/e")
        with open("d/e/f", "wb", 0) as f: f.write(bytes(1 << 20))
        os.chmod("d/e", 0); os.chmod("d", 0); os.rename("d", f"d{n}")
""",
        ends("no_space"),
    ),
    "deep_directories": Attack(
        """
@attack
def run():
    while True:
        os.mkdir("d"); os.chdir("d")
        with open("f", "wb", 0) as f: f.write(bytes(1 << 16))
""",
        ends("no_space"),
    ),
    "sparse_files": Attack(
        """
@attack
def run():
    f = open("sparse", "wb", 0)
    f.truncate(20 << 20)
    f.truncate(1 << 40)
""",
        ends("stopped"),
    ),
    "hard_links": Attack(
        """
@attack
def run():
    open("f", "wb", 0).write(bytes(10 << 20))
    for n in range(4000): os.link("f", f"f{n}")
    hold(OSError("one file, whatever it is called"))
""",
        ends("stopped"),
    ),
    "output": Attack(
        "import sys\nwhile True:\n    os.write(1, b'x' * 65536)\n    os.write(2, b'y' * 65536)",
        ends("runs"),
    ),
}


async def perform(engine: Engine, name: str) -> dict[str, Any]:
    """Run an attack; return what was seen, as JSON."""
    attack = ATTACKS[name]
    box = await engine.create(SandboxSpec("box", "base-python", 1, MEMORY_MB, DISK_MB))
    other = await engine.create(SandboxSpec("other", "minimal", 1, MEMORY_MB, DISK_MB))
    try:
        argv = ["python3", "-u", "-c", PRELUDE + attack.program]
        process = await box.spawn(Command(argv))
        neighbour = asyncio.create_task(_worst(other))
        try:
            ending = await _watch(process, RUN if "runs" in attack.ends else PATIENCE)
            during = await _answer(box)
            await process.kill()
        finally:
            _ = neighbour.cancel()
            _ = await asyncio.wait([neighbour])
            await process.close()
        return {
            "ending": ending,
            "during": during,
            "after": await _answer(box),
            "neighbour": await _answer(other),
            "worst": neighbour.result(),
            "disk_mb": (await box.usage()).disk_bytes >> 20,
        }
    finally:
        await engine.destroy("box")
        await engine.destroy("other")


def faults(name: str, seen: dict[str, Any]) -> list[str]:
    """Return what is wrong with what was seen."""
    found: list[str] = []
    if seen["ending"] not in ATTACKS[name].ends:
        found.append(f"it ended as {seen['ending']}")
    if seen["after"] != "alive":
        found.append(f"the sandbox no longer answers: {seen['after']}")
    if seen["during"] != "alive" and "could not be started" not in seen["during"]:
        found.append(f"meanwhile the sandbox gave no reason: {seen['during']}")
    if seen["neighbour"] != "alive":
        found.append(f"the neighbour no longer answers: {seen['neighbour']}")
    if not seen["worst"] < PATIENCE:
        found.append(f"the neighbour had to wait for {seen['worst']:.1f} s")
    if seen["disk_mb"] > DISK_MB + OVERSHOOT_MB:
        found.append(f"it stores {seen['disk_mb']} MiB")
    return found


async def _watch(process: Process, seconds: float) -> str:
    """Read what it writes until it is stopped or ends, or for as long as it may run."""
    try:
        async with asyncio.timeout(seconds):
            while (piece := await process.read()) is not None:
                if b"stopped by" in piece.data:
                    return "stopped"
            return _told(await process.wait())
    except TimeoutError:
        return "runs"


def _told(exit: Exit) -> str:
    if exit.oom or exit.no_space:
        return "oom" if exit.oom else "no_space"
    return "killed" if exit == Exit(-1, 9) else str(exit)


async def _answer(box: SandboxHandle) -> str:
    try:
        async with asyncio.timeout(45):
            process = await box.spawn(Command(["echo", "alive"]))
            output = b""
            while (piece := await process.read()) is not None:
                output += piece.data
            exit = await process.wait()
            await process.close()
    except EngineError as error:
        return str(error)
    return output.decode().strip() or str(exit)


async def _worst(box: SandboxHandle) -> float:
    """Run commands until cancelled; return how long the slowest one took, in seconds."""
    worst = 0.0
    try:
        while True:
            began = time.monotonic()
            answer = await _answer(box)
            worst = max(worst, time.monotonic() - began)
            if answer != "alive":
                return float("inf")
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        return worst


async def _main(data_dir: Path) -> None:
    engine = make_engine("local", data_dir)
    await engine.start()
    try:
        print(json.dumps({name: await perform(engine, name) for name in ATTACKS}))
    finally:
        await engine.close()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
