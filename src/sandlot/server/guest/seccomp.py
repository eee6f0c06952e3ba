"""The system call filter: which parts of the kernel sandboxed code cannot even reach.

Everything is allowed but what stands in the table: calls that change namespaces, mounts, the clock
or the kernel itself; kernel interfaces with a history of holes that ordinary programs do without;
and sockets other than local and IP ones. Calls newer than the table answer ENOSYS, as on an older
kernel. `clone3` does as well, since its flags are in memory where a filter cannot look; C libraries
then use `clone`, whose flags are checked.

ptrace and process_vm_* stay allowed for debuggers: PID 1 is not dumpable, and there is nothing else
to attach to. That does not keep its resource limits from being set, which would end it: prlimit is
denied for PID 1.
"""

from __future__ import annotations

import errno
import functools
import os
import struct

__all__ = ["ARCHITECTURES", "DENIED", "compile_filter"]

# linux/audit.h
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

DENIED: dict[str, tuple[int | None, int | None]] = {
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    # the kernel itself
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "create_module": (174, None),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "get_kernel_syms": (177, None),
    "query_module": (178, None),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "_sysctl": (156, None),
    "nfsservctl": (180, 42),
    "lookup_dcookie": (212, 18),
    "vserver": (236, None),
    "vhangup": (153, 58),
    # time and names
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    # large attack surfaces
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # uses up what the whole machine has of something (fs.aio-max-nr)
    "io_setup": (206, 0),
    # outlives who made it, and is bounded by no more than a count of tens of thousands (msgget(2))
    "msgget": (68, 186),
    # placement of memory of other processes
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
}
"""System calls that answer EPERM, with their numbers on x86_64 and aarch64.

From arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

_NEWEST_KNOWN = 462  # mseal, Linux 6.10
_CLONE3 = 435
_INSPECTED = {  # calls whose arguments decide
    "clone": (56, 220),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "prlimit64": (302, 261),
    "ioctl": (16, 29),
    "personality": (135, 92),
    "shmget": (29, 194),
    "semget": (64, 190),
}
_X32_BIT = 0x40000000  # arch/x86/include/uapi/asm/unistd.h

# linux/sched.h: all CLONE_NEW* that clone(2) takes; CLONE_NEWTIME does not fit into its flags
_CLONE_NAMESPACES = 0x7E020000
_ALLOWED_FAMILIES = (1, 2, 10)  # linux/socket.h: AF_UNIX, AF_INET, AF_INET6
_AF_NETLINK = 16
_NETLINK_ROUTE = 0  # linux/netlink.h; getifaddrs(3) needs it
_DENIED_IOCTLS = (0x5412, 0x541C)  # asm-generic/ioctls.h: TIOCSTI, TIOCLINUX type into terminals
_ALLOWED_PERSONALITIES = (0x0, 0x0040000, 0xFFFFFFFF)  # PER_LINUX, ADDR_NO_RANDOMIZE, a query

# What shmget(2) and semget(2) make outlives the processes, where no limit on memory that looks at
# processes sees it, and there may be thousands of them: each is kept small. PostgreSQL, which asks
# for a few bytes and for 17 semaphores, is content with that.
_LARGEST_SEGMENT = 4096
_MOST_SEMAPHORES = 32

# linux/seccomp.h: struct seccomp_data
_NR = 0
_ARCH = 4
_ARGUMENTS = 16  # 64 bits each; both processors are little-endian, so the low half comes first

# linux/seccomp.h
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_KILL_PROCESS = 0x80000000

# linux/bpf_common.h: class, size and mode of the five instructions in use
_LOAD = 0x20
_JUMP_EQUAL = 0x15
_JUMP_GREATER = 0x25
_JUMP_GREATER_OR_EQUAL = 0x35
_JUMP_ANY_BIT = 0x45
_RETURN = 0x06


class _Assembler:
    """Writes classic BPF, with labels for what comes later."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int]] = []
        self._jumps: dict[int, tuple[str | None, str | None]] = {}
        self._labels: dict[str, int] = {}

    def load(self, offset: int) -> None:
        self._code.append((_LOAD, offset))

    def leave(self, answer: int) -> None:
        self._code.append((_RETURN, answer))

    def jump(self, test: int, value: int, then: str | None, otherwise: str | None = None) -> None:
        self._jumps[len(self._code)] = (then, otherwise)
        self._code.append((test, value))

    def label(self, name: str) -> None:
        self._labels[name] = len(self._code)

    def assemble(self) -> bytes:
        program = b""
        for index, (code, value) in enumerate(self._code):
            distances = [
                0 if name is None else self._labels[name] - index - 1
                for name in self._jumps.get(index, (None, None))
            ]
            # struct.error, should a distance not fit into its byte
            program += struct.pack("=HBBI", code, *distances, value)
        return program


@functools.cache
def compile_filter(machine: str | None = None) -> bytes:
    """Return the filter as a BPF program for this machine, or for the named one."""
    machine = machine or os.uname().machine
    column = list(ARCHITECTURES).index(machine)
    asm = _Assembler()
    asm.load(_ARCH)
    asm.jump(_JUMP_EQUAL, ARCHITECTURES[machine], None, "kill")
    asm.load(_NR)
    if machine == "x86_64":
        asm.jump(_JUMP_GREATER_OR_EQUAL, _X32_BIT, "unknown")
    asm.jump(_JUMP_GREATER, _NEWEST_KNOWN, "unknown")
    asm.jump(_JUMP_EQUAL, _CLONE3, "unknown")
    for numbers in DENIED.values():
        number = numbers[column]
        if number is not None:
            asm.jump(_JUMP_EQUAL, number, "denied")
    for name, inspected in _INSPECTED.items():
        asm.jump(_JUMP_EQUAL, inspected[column], name)
    asm.leave(_ALLOW)

    asm.label("clone")
    asm.load(_ARGUMENTS)
    asm.jump(_JUMP_ANY_BIT, _CLONE_NAMESPACES, "denied", "allowed")

    asm.label("prlimit64")
    asm.load(_ARGUMENTS)
    asm.jump(_JUMP_EQUAL, 1, "denied", "allowed")

    asm.label("socket")
    asm.label("socketpair")
    asm.load(_ARGUMENTS)
    for family in _ALLOWED_FAMILIES:
        asm.jump(_JUMP_EQUAL, family, "allowed")
    asm.jump(_JUMP_EQUAL, _AF_NETLINK, None, "family")
    asm.load(_ARGUMENTS + 16)
    asm.jump(_JUMP_EQUAL, _NETLINK_ROUTE, "allowed", "family")

    asm.label("shmget")
    asm.load(_ARGUMENTS + 12)  # the high half of the size
    asm.jump(_JUMP_GREATER, 0, "space")
    asm.load(_ARGUMENTS + 8)
    asm.jump(_JUMP_GREATER, _LARGEST_SEGMENT, "space", "allowed")

    asm.label("semget")
    asm.load(_ARGUMENTS + 8)
    asm.jump(_JUMP_GREATER, _MOST_SEMAPHORES, "space", "allowed")

    asm.label("ioctl")
    asm.load(_ARGUMENTS + 8)
    for request in _DENIED_IOCTLS:
        asm.jump(_JUMP_EQUAL, request, "denied")
    asm.leave(_ALLOW)

    asm.label("personality")
    asm.load(_ARGUMENTS)
    for persona in _ALLOWED_PERSONALITIES:
        asm.jump(_JUMP_EQUAL, persona, "allowed")
    asm.leave(_ERRNO | errno.EPERM)

    asm.label("allowed")
    asm.leave(_ALLOW)
    asm.label("denied")
    asm.leave(_ERRNO | errno.EPERM)
    asm.label("family")
    asm.leave(_ERRNO | errno.EAFNOSUPPORT)
    asm.label("space")
    asm.leave(_ERRNO | errno.ENOSPC)
    asm.label("unknown")
    asm.leave(_ERRNO | errno.ENOSYS)
    asm.label("kill")
    asm.leave(_KILL_PROCESS)
    return asm.assemble()
