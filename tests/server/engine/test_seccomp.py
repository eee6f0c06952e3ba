"""The system call filter, run by an interpreter of our own for both processors."""

from __future__ import annotations

import errno
import struct
from pathlib import Path

import pytest

from sandlot.server.guest import seccomp

ALLOW = 0x7FFF0000
KILL = 0x80000000
DENY = 0x00050000 | errno.EPERM
UNKNOWN = 0x00050000 | errno.ENOSYS
FULL = 0x00050000 | errno.ENOSPC
FAMILY = 0x00050000 | errno.EAFNOSUPPORT

CALLS = {
    "x86_64": {
        "read": 0,
        "clone": 56,
        "socket": 41,
        "socketpair": 53,
        "prlimit64": 302,
        "ioctl": 16,
        "personality": 135,
        "ptrace": 101,
        "shmget": 29,
        "semget": 64,
    },
    "aarch64": {
        "read": 63,
        "clone": 220,
        "socket": 198,
        "socketpair": 199,
        "prlimit64": 261,
        "ioctl": 29,
        "personality": 92,
        "ptrace": 117,
        "shmget": 194,
        "semget": 190,
    },
}
MACHINES = list(CALLS)


def run(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """Return what the filter answers to a system call."""
    values = [*arguments, *[0] * (6 - len(arguments))]
    arch = seccomp.ARCHITECTURES[machine] if arch is None else arch
    data = struct.pack("<IIQ6Q", number, arch, 0, *values)
    program = seccomp.compile_filter(machine)
    accumulator, position = 0, 0
    while True:
        code, then, otherwise, value = struct.unpack_from("=HBBI", program, position * 8)
        position += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif code == 0x06:
            return value
        else:
            holds = {
                0x15: accumulator == value,
                0x25: accumulator > value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[code]
            position += then if holds else otherwise


@pytest.mark.parametrize("machine", MACHINES)
def test_ordinary_calls_pass(machine: str) -> None:
    calls = CALLS[machine]
    assert run(machine, calls["read"]) == ALLOW
    assert run(machine, calls["ptrace"]) == ALLOW
    assert run(machine, calls["clone"], 0x003D0F00) == ALLOW  # a thread
    assert run(machine, calls["clone"], 17) == ALLOW  # a process
    assert run(machine, calls["ioctl"], 0, 0x5413) == ALLOW
    assert run(machine, 435) == UNKNOWN  # clone3


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", sorted(seccomp.DENIED))
def test_table(machine: str, name: str) -> None:
    number = seccomp.DENIED[name][MACHINES.index(machine)]
    if number is not None:
        assert run(machine, number) == DENY


@pytest.mark.parametrize(
    "name",
    [
        *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_by_handle_at"),
        *("keyctl", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup"),
        *("io_setup", "msgget"),
        *("finit_module", "kexec_load", "clock_settime", "sethostname"),
    ],
)
def test_table_is_not_emptied_by_accident(name: str) -> None:
    assert name in seccomp.DENIED


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    "flag", [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]
)
def test_clone_of_namespaces(machine: str, flag: int) -> None:
    assert run(machine, CALLS[machine]["clone"], flag | 17) == DENY


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("call", ["socket", "socketpair"])
def test_sockets(machine: str, call: str) -> None:
    number = CALLS[machine][call]
    assert [run(machine, number, family) for family in (1, 2, 10)] == [ALLOW] * 3
    assert run(machine, number, 16, 3, 0) == ALLOW
    for family in (0, 3, 17, 29, 31, 38, 40, 44):
        assert run(machine, number, family) == FAMILY
    assert run(machine, number, 16, 3, 9) == FAMILY
    # The kernel looks at the low half only, and so must the filter.
    assert run(machine, number, 40 | 1 << 32) == FAMILY


@pytest.mark.parametrize("machine", MACHINES)
def test_arguments_beyond_the_low_half(machine: str) -> None:
    assert run(machine, CALLS[machine]["ioctl"], 0, 0x5412 | 1 << 32) == DENY
    assert run(machine, CALLS[machine]["clone"], 0x10000000 | 1 << 40) == DENY


@pytest.mark.parametrize("machine", MACHINES)
def test_limits_of_the_agent(machine: str) -> None:
    number = CALLS[machine]["prlimit64"]
    assert [run(machine, number, pid) for pid in (0, 2, 1 << 16)] == [ALLOW] * 3
    assert run(machine, number, 1) == DENY
    assert run(machine, number, 1 | 1 << 32) == DENY


@pytest.mark.parametrize("machine", MACHINES)
def test_what_outlives_processes_is_small(machine: str) -> None:
    shared, semaphores = CALLS[machine]["shmget"], CALLS[machine]["semget"]
    assert [run(machine, shared, 0, size) for size in (0, 56, 4096)] == [ALLOW] * 3
    assert [run(machine, shared, 0, size) for size in (4097, 1 << 32)] == [FULL] * 2
    assert [run(machine, semaphores, 0, count) for count in (0, 1, 32)] == [ALLOW] * 3
    assert run(machine, semaphores, 0, 33) == FULL


@pytest.mark.parametrize("machine", MACHINES)
def test_terminals_and_personalities(machine: str) -> None:
    calls = CALLS[machine]
    assert run(machine, calls["ioctl"], 0, 0x5412) == DENY
    assert run(machine, calls["ioctl"], 0, 0x541C) == DENY
    assert run(machine, calls["personality"], 0x0040000) == ALLOW
    assert run(machine, calls["personality"], 0xFFFFFFFF) == ALLOW
    assert run(machine, calls["personality"], 0x0008) == DENY


@pytest.mark.parametrize("machine", MACHINES)
def test_other_ways_into_the_kernel(machine: str) -> None:
    assert run(machine, 0, arch=0x40000003) == KILL  # i386
    assert run(machine, 463) == UNKNOWN
    assert run(machine, 0x7FFFFFFF) == UNKNOWN
    if machine == "x86_64":
        assert run(machine, 0x40000000) == UNKNOWN  # x32


@pytest.mark.parametrize(
    ("machine", "header"),
    [
        ("x86_64", "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        ("aarch64", "/usr/include/asm-generic/unistd.h"),
    ],
)
def test_numbers_are_those_of_the_headers(machine: str, header: str) -> None:
    if not Path(header).exists():
        pytest.skip(f"{header} is not installed")
    numbers: dict[str, int] = {}
    for line in Path(header).read_text().splitlines():
        words = line.split()
        if len(words) >= 3 and words[0] == "#define" and words[2].isdigit():
            for prefix in ("__NR_", "__NR3264_"):
                if words[1].startswith(prefix):
                    numbers[words[1].removeprefix(prefix)] = int(words[2])
    column = MACHINES.index(machine)
    table = {name: pair[column] for name, pair in seccomp.DENIED.items()}
    table |= {name: number for name, number in CALLS[machine].items() if name in numbers}
    for name, number in table.items():
        if name in numbers:
            assert numbers[name] == number, name
