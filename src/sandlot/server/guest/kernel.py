"""System calls that Python has no function for.

Numbers and constants are those of Linux on x86_64 and aarch64; each names the header it is from, as
found in the kernel's `include/uapi` unless it says otherwise. All functions raise `OSError`, naming
the call, when the kernel refuses.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct

__all__ = [
    "CLONE_NEWCGROUP",
    "CLONE_NEWIPC",
    "CLONE_NEWNET",
    "CLONE_NEWNS",
    "CLONE_NEWPID",
    "CLONE_NEWUSER",
    "CLONE_NEWUTS",
    "MOUNT_ATTR_NODEV",
    "MOUNT_ATTR_NOSUID",
    "MOUNT_ATTR_RDONLY",
    "MS_BIND",
    "MS_NODEV",
    "MS_NOEXEC",
    "MS_NOSUID",
    "MS_PRIVATE",
    "MS_RDONLY",
    "MS_REC",
    "MS_SLAVE",
    "attach_tree",
    "become_subreaper",
    "clone_sibling",
    "clone_tree",
    "detach_mount",
    "die_with_parent",
    "drop_capabilities",
    "enter_namespace",
    "forbid_new_privileges",
    "install_filter",
    "map_owner",
    "mount",
    "mount_setattr",
    "open_beneath",
    "owner_of_namespace",
    "pivot_root",
    "set_dumpable",
    "set_hostname",
    "sync_file_system",
    "unmount",
    "unshare",
    "write_setting",
]

# linux/sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
_CLONE_PARENT = 0x00008000
_SIGCHLD = 17  # asm-generic/signal.h

# linux/mount.h
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
_MOUNT_ATTR_IDMAP = 0x00100000
_MOVE_MOUNT_F_EMPTY_PATH = 0x00000004
_OPEN_TREE_CLONE = 1
_MNT_DETACH = 2  # include/linux/fs.h

# linux/fcntl.h
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000

# linux/openat2.h
_RESOLVE_NO_XDEV = 0x01
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08

_NS_GET_USERNS = 0xB701  # linux/nsfs.h

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2  # linux/seccomp.h

# linux/capability.h
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_POSSIBLE_CAPABILITY = 63

# arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h
_UNIFIED = {"open_tree": 428, "move_mount": 429, "openat2": 437, "mount_setattr": 442}
_NUMBERS: dict[str, int] | None = {
    "x86_64": {"clone": 56, "pivot_root": 155, **_UNIFIED},
    "aarch64": {"clone": 220, "pivot_root": 41, **_UNIFIED},
}.get(os.uname().machine)

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    """`struct sock_fprog` of linux/filter.h."""

    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _check(result: int, call: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), call)
    return result


def _syscall(name: str, call: str, *arguments: object) -> int:
    if _NUMBERS is None:
        raise OSError(38, "processors of this type are not supported", name)
    return _check(_libc.syscall(ctypes.c_long(_NUMBERS[name]), *arguments), call)


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else os.fsencode(value)


def _prctl(option: int, value: int, call: str) -> None:
    zero = ctypes.c_ulong(0)
    _ = _check(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero), call)


def mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str | None = None
) -> None:
    """Mount a file system or bind a directory."""
    call = f"mount {kind or source or ''} on {target}"
    arguments = (_bytes(source), _bytes(target), _bytes(kind))
    _ = _check(_libc.mount(*arguments, ctypes.c_ulong(flags), _bytes(options)), call)


def mount_setattr(target: str, attributes: int, *, recursive: bool) -> None:
    """Set attributes of a mount, clearing none (Linux 5.12)."""
    settings = struct.pack("QQQQ", attributes, 0, 0, 0)  # struct mount_attr
    _ = _syscall(
        "mount_setattr",
        f"mount_setattr {target}",
        ctypes.c_int(_AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        ctypes.c_char_p(settings),
        ctypes.c_size_t(len(settings)),
    )


def map_owner(tree: int, users: int) -> None:
    """Show the files of a detached mount as if they belonged to somebody else (Linux 5.12).

    Args:
        tree: Descriptor of the mount.
        users: Descriptor of a user namespace whose map leads from the owner to who it shall be.
    """
    settings = struct.pack("QQQQ", _MOUNT_ATTR_IDMAP, 0, 0, users)  # struct mount_attr
    _ = _syscall(
        "mount_setattr",
        "mount_setattr(MOUNT_ATTR_IDMAP)",
        ctypes.c_int(tree),
        b"",
        ctypes.c_uint(_AT_EMPTY_PATH),
        ctypes.c_char_p(settings),
        ctypes.c_size_t(len(settings)),
    )


def clone_tree(path: str, *, recursive: bool = False) -> int:
    """Return a descriptor of a new mount of a directory, which is attached nowhere (Linux 5.2)."""
    depth = _AT_RECURSIVE if recursive else 0
    flags = ctypes.c_uint(_OPEN_TREE_CLONE | os.O_CLOEXEC | depth)
    return _syscall(
        "open_tree", f"open_tree {path}", ctypes.c_int(_AT_FDCWD), os.fsencode(path), flags
    )


def attach_tree(tree: int, target: str) -> None:
    """Attach a detached mount to a directory."""
    _ = _syscall(
        "move_mount",
        f"move_mount to {target}",
        ctypes.c_int(tree),
        b"",
        ctypes.c_int(_AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
    )


def unmount(target: str) -> None:
    """umount2(2), refused (EBUSY) as long as anything of the mount is in use."""
    _ = _check(_libc.umount2(os.fsencode(target), 0), f"umount {target}")


def detach_mount(target: str) -> None:
    """umount2(2) with MNT_DETACH: out of sight at once, gone when unused."""
    _ = _check(_libc.umount2(os.fsencode(target), _MNT_DETACH), f"umount {target}")


def sync_file_system(directory: int) -> None:
    """syncfs(2): return when all that was written to this file system is on the disk."""
    _ = _check(_libc.syncfs(ctypes.c_int(directory)), "syncfs")


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open what is below a directory, following no link and entering no other mount (Linux 5.6)."""
    resolve = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_XDEV
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, resolve)  # struct open_how
    return _syscall(
        "openat2",
        "openat2",
        ctypes.c_int(directory),
        os.fsencode(path),
        ctypes.c_char_p(how),
        ctypes.c_size_t(len(how)),
    )


def pivot_root() -> None:
    """Make the current directory the root, with the old root on top of it."""
    _ = _syscall("pivot_root", "pivot_root", b".", b".")


def unshare(flags: int) -> None:
    """Enter new namespaces."""
    _ = _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def enter_namespace(namespace: int, kind: int) -> None:
    """setns(2)."""
    _ = _check(_libc.setns(ctypes.c_int(namespace), ctypes.c_int(kind)), "setns")


def owner_of_namespace(namespace: int) -> int:
    """Return a descriptor of the user namespace that a namespace belongs to; ioctl_ns(2)."""
    return fcntl.ioctl(namespace, _NS_GET_USERNS)


def clone_sibling() -> int:
    """Fork a process whose parent is the caller's own parent; return its id, or 0 in it.

    Only for programs of one thread: the interpreter is not told of this fork.
    """
    zero = ctypes.c_long(0)
    flags = ctypes.c_ulong(_CLONE_PARENT | _SIGCHLD)
    return _syscall("clone", "clone", flags, zero, zero, zero, zero)


def set_hostname(name: str) -> None:
    """sethostname(2)."""
    data = name.encode()
    _ = _check(_libc.sethostname(data, ctypes.c_size_t(len(data))), "sethostname")


def write_setting(path: str, value: str) -> None:
    """Write to a file that stands for something in the kernel, which takes it as a whole.

    Without what `open` does besides: half of what a sandbox takes to be made would be that.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        _ = os.write(descriptor, value.encode())
    except OSError as error:
        error.filename = path  # a failed write does not tell
        raise
    finally:
        os.close(descriptor)


def die_with_parent(signal: int) -> None:
    """Have the kernel send this process a signal when its parent ends."""
    _prctl(_PR_SET_PDEATHSIG, signal, "prctl(PR_SET_PDEATHSIG)")


def become_subreaper() -> None:
    """Adopt all descendants whose parents end."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, "prctl(PR_SET_CHILD_SUBREAPER)")


def set_dumpable(dumpable: bool) -> None:
    """Allow or forbid processes of the same user to trace this one and to look into it."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable), "prctl(PR_SET_DUMPABLE)")


def forbid_new_privileges() -> None:
    """Make set-user-id programs and file capabilities powerless, for good."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, "prctl(PR_SET_NO_NEW_PRIVS)")


def drop_capabilities() -> None:
    """Give up all capabilities, and the bounding set that could bring them back."""
    zero = ctypes.c_ulong(0)
    for capability in range(_LAST_POSSIBLE_CAPABILITY + 1):
        if _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), zero, zero, zero) < 0:
            if capability == 0:
                _ = _check(-1, "prctl(PR_CAPBSET_DROP)")
            break  # EINVAL: the kernel has no more of them
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, "prctl(PR_CAP_AMBIENT)")
    header = ctypes.c_char_p(struct.pack("Ii", _CAPABILITY_VERSION_3, 0))
    _ = _check(_libc.capset(header, ctypes.c_char_p(bytes(24))), "capset")


def install_filter(program: bytes) -> None:
    """Filter the system calls of this process and all that it starts; see seccomp(2)."""
    memory = ctypes.create_string_buffer(program, len(program))
    pointer = _Program(len(program) // 8, ctypes.addressof(memory))
    zero = ctypes.c_ulong(0)
    mode = ctypes.c_ulong(_SECCOMP_MODE_FILTER)
    result = _libc.prctl(_PR_SET_SECCOMP, mode, ctypes.byref(pointer), zero, zero)
    _ = _check(result, "prctl(PR_SET_SECCOMP)")
