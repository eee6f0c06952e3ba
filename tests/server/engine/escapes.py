"""Attempts to get out of a sandbox; run inside of one, by `test_isolation.py`.

Each attempt is a function that returns normally if it got through and raises if it was stopped.
Nothing is harmed if one succeeds. The results are printed as a JSON object: name -> what stopped
it, or null.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

HOST: dict[str, Any] = {}
"""What the host has: secret, marker, port, abstract, directory."""

libc = ctypes.CDLL(None, use_errno=True)
X86 = os.uname().machine == "x86_64"
attempts: dict[str, Callable[[], object]] = {}


class StoppedError(Exception):
    """There was nothing to be had."""


def attempt(function: Callable[[], object]) -> Callable[[], object]:
    attempts[function.__name__] = function
    return function


def check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def call(x86: int, arm: int, *arguments: object) -> int:
    return check(libc.syscall(ctypes.c_long(x86 if X86 else arm), *arguments))


def reached(x86: int, arm: int, *arguments: object) -> None:
    """Make a call that fails by its arguments, if the kernel looks at them at all."""
    try:
        call(x86, arm, *arguments)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            raise


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(1 << 20)


def in_child(function: Callable[[], object]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    number = os.waitstatus_to_exitcode(status)
    if number:
        raise OSError(number, "in the child")


# What the host has ---------------------------------------------------------------------------


@attempt
def read_a_file_of_the_host() -> None:
    if HOST["secret"].encode() not in read(HOST["directory"] + "/secret"):
        raise StoppedError


@attempt
def list_the_directory_of_root() -> None:
    os.listdir("/root")


@attempt
def read_the_password_file() -> None:
    read("/etc/shadow")


@attempt
def see_other_sandboxes() -> None:
    os.listdir(HOST["directory"] + "/data/sandboxes")


@attempt
def see_processes_of_the_host() -> None:
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            if HOST["marker"].encode() in read(path):
                return
        except OSError:
            continue  # it has ended meanwhile
    raise StoppedError


@attempt
def read_the_environment_of_the_server() -> None:
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            if HOST["secret"].encode() in read(path):
                return
        except OSError:
            continue
    raise StoppedError


@attempt
def reach_the_loopback_of_the_host() -> None:
    socket.create_connection(("127.0.0.1", HOST["port"]), 1).close()


@attempt
def reach_an_abstract_socket_of_the_host() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect("\0" + HOST["abstract"])


@attempt
def reach_a_socket_of_the_host_by_its_path() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(HOST["directory"] + "/socket")


@attempt
def see_a_path_of_another_sandbox() -> None:
    if b"/sandboxes/other/" not in read("/proc/self/mountinfo"):
        raise StoppedError


@attempt
def see_the_cgroup_of_the_host() -> None:
    if b"sandlot-" not in read("/proc/self/cgroup"):
        raise StoppedError


@attempt
def find_a_descriptor_that_was_left_open() -> None:
    if not [fd for fd in range(3, 1024) if os.path.exists(f"/proc/self/fd/{fd}")]:
        raise StoppedError


# PID 1 ---------------------------------------------------------------------------------------


@attempt
def read_the_environment_of_pid_1() -> None:
    read("/proc/1/environ")


@attempt
def open_the_memory_of_pid_1() -> None:
    read("/proc/1/mem")


@attempt
def list_the_descriptors_of_pid_1() -> None:
    os.listdir("/proc/1/fd")


@attempt
def enter_the_root_of_pid_1() -> None:
    os.listdir("/proc/1/root")


@attempt
def trace_pid_1() -> None:
    call(101, 117, 16, 1, 0, 0)  # PTRACE_ATTACH


@attempt
def take_a_descriptor_of_pid_1() -> None:
    pidfd = os.pidfd_open(1)
    call(438, 438, pidfd, 3, 0)  # pidfd_getfd


@attempt
def read_memory_of_pid_1() -> None:
    buffer = ctypes.create_string_buffer(8)
    local = struct.pack("QQ", ctypes.addressof(buffer), 8)
    call(310, 270, 1, local, 1, local, 1, 0)  # process_vm_readv


@attempt
def stop_pid_1() -> None:
    os.kill(1, signal.SIGSTOP)
    state = read("/proc/1/stat").split(b") ")[1][:1]
    if state not in b"Tt":
        raise StoppedError


@attempt
def kill_pid_1() -> None:
    os.kill(1, signal.SIGKILL)
    raise StoppedError  # who reads this has survived


# The kernel ----------------------------------------------------------------------------------


def write_setting(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY))


@attempt
def change_where_cores_go() -> None:
    write_setting("/proc/sys/kernel/core_pattern")


@attempt
def change_a_sysctl_of_the_network() -> None:
    write_setting("/proc/sys/net/ipv4/ip_forward")


@attempt
def press_the_magic_key() -> None:
    if os.stat("/proc/sysrq-trigger").st_rdev == os.makedev(1, 3):
        raise StoppedError  # it is /dev/null
    write_setting("/proc/sysrq-trigger")


@attempt
def read_kernel_memory() -> None:
    if not read("/proc/kcore"):
        raise StoppedError


@attempt
def read_kernel_addresses() -> None:
    if not read("/proc/kallsyms"):
        raise StoppedError


@attempt
def read_the_kernel_log() -> None:
    call(103, 116, 10, 0, 0)


@attempt
def mount_a_file_system() -> None:
    check(libc.mount(b"x", b"/tmp", b"tmpfs", 0, None))


@attempt
def make_programs_writable() -> None:
    check(libc.mount(None, b"/usr", None, 32 | 4096, None))


@attempt
def open_a_mount_tree() -> None:
    call(428, 428, -100, b"/", 1)


@attempt
def change_attributes_of_a_mount() -> None:
    reached(442, 442, -100, b"/", 0, struct.pack("QQQQ", 0, 1, 0, 0), 32)


@attempt
def unmount_a_mask() -> None:
    check(libc.umount2(b"/proc/sys", 2))


@attempt
def move_the_root() -> None:
    os.chroot("/tmp")


@attempt
def pivot_the_root() -> None:
    call(155, 41, b"/tmp", b"/tmp")


@attempt
def open_a_file_by_handle() -> None:
    handle = struct.pack("ii", 8, 1) + b"\2\0\0\0\0\0\0\0"
    reached(304, 265, os.open("/", os.O_RDONLY), handle, 0)


@attempt
def enter_a_user_namespace_by_unshare() -> None:
    in_child(lambda: check(libc.unshare(0x10000000)))


@attempt
def enter_a_mount_namespace_by_unshare() -> None:
    in_child(lambda: check(libc.unshare(0x20000)))


@attempt
def enter_a_user_namespace_by_clone() -> None:
    def clone() -> None:
        if call(56, 220, ctypes.c_ulong(0x10000000 | 17), 0, 0, 0, 0) == 0:
            os._exit(0)

    in_child(clone)


@attempt
def enter_a_user_namespace_by_clone3() -> None:
    def clone3() -> None:
        arguments = (ctypes.c_uint64 * 11)()
        arguments[0], arguments[4] = 0x10000000, 17
        if call(435, 435, ctypes.byref(arguments), 88) == 0:
            os._exit(0)

    in_child(clone3)


@attempt
def join_a_namespace() -> None:
    fd = os.open("/proc/self/ns/uts", os.O_RDONLY)
    check(libc.setns(fd, 0))


@attempt
def make_a_device() -> None:
    os.mknod("/tmp/device", 0o60660, os.makedev(254, 0))


@attempt
def open_a_device_of_the_host() -> None:
    for path in ("/dev/vda", "/dev/sda", "/dev/mem", "/dev/kmsg", "/dev/fuse", "/dev/net/tun"):
        try:
            os.close(os.open(path, os.O_RDWR))
        except OSError:
            continue
        else:
            return
    raise StoppedError


@attempt
def use_the_keyring_of_the_session() -> None:
    call(250, 219, 0, -3, 0)


@attempt
def add_a_key() -> None:
    call(248, 217, b"user", b"name", b"x", 1, -4)


@attempt
def reach_io_uring() -> None:
    reached(425, 425, 1, 0)


@attempt
def reach_bpf() -> None:
    reached(321, 280, 0, 0, 0)


@attempt
def reach_perf_events() -> None:
    reached(298, 241, 0, 0, -1, -1, 0)


@attempt
def reach_userfaultfd() -> None:
    call(323, 282, 1)


@attempt
def load_a_module() -> None:
    reached(313, 273, -1, b"", 0)


@attempt
def load_another_kernel() -> None:
    reached(246, 104, 0, 0, 0, 99)


@attempt
def set_the_clock() -> None:
    reached(227, 112, 0, struct.pack("qq", -1, -1))


@attempt
def change_the_host_name() -> None:
    name = b"changed"
    check(libc.sethostname(name, len(name)))


@attempt
def reach_the_hypervisor() -> None:
    socket.socket(40, socket.SOCK_STREAM).close()


@attempt
def reach_the_link_layer() -> None:
    socket.socket(17, socket.SOCK_RAW).close()


@attempt
def reach_the_crypto_interface() -> None:
    socket.socket(38, socket.SOCK_SEQPACKET).close()


@attempt
def reach_netfilter() -> None:
    socket.socket(16, socket.SOCK_RAW, 12).close()


@attempt
def send_raw_packets() -> None:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()


@attempt
def type_into_a_terminal() -> None:
    fd = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(fd, 0x5412, b"x")


@attempt
def call_the_kernel_by_other_numbers() -> None:
    if not X86:
        raise StoppedError
    call(0x40000000 | 39, 0)  # getpid of x32


@attempt
def call_the_kernel_by_numbers_of_the_future() -> None:
    reached(467, 467)


# Rights --------------------------------------------------------------------------------------


def status(name: str) -> str:
    for line in read("/proc/self/status").decode().splitlines():
        if line.startswith(name + ":"):
            return line.split(":")[1].strip()
    raise StoppedError


@attempt
def keep_a_capability() -> None:
    if all(
        int(status(name), 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    ):
        raise StoppedError


@attempt
def gain_rights_by_set_user_id() -> None:
    if status("NoNewPrivs") == "1":
        raise StoppedError


@attempt
def be_unfiltered() -> None:
    if status("Seccomp") == "2":
        raise StoppedError


@attempt
def become_root() -> None:
    os.setuid(0)


@attempt
def be_root_of_the_host() -> None:
    inside, outside, count = read("/proc/self/uid_map").split()
    if outside != b"0" and count == b"1" and os.getuid() == int(inside):
        raise StoppedError


@attempt
def keep_a_group_of_root() -> None:
    if read("/proc/self/gid_map").split()[1] != b"0" and 0 not in os.getgroups():
        raise StoppedError


@attempt
def raise_a_limit() -> None:
    resource.setrlimit(resource.RLIMIT_NPROC, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@attempt
def dump_core() -> None:
    if resource.getrlimit(resource.RLIMIT_CORE) == (0, 0):
        raise StoppedError


@attempt
def write_outside_of_the_home() -> None:
    for directory in ("/", "/usr", "/usr/local", "/etc", "/dev", "/opt", "/run", "/var", "/home"):
        try:
            os.close(os.open(f"{directory}/new", os.O_CREAT | os.O_WRONLY))
        except OSError:
            continue
        else:
            return
    raise StoppedError


@attempt
def run_a_device_or_set_user_id_file_of_the_home() -> None:
    options = read("/proc/self/mountinfo").decode().split(" /home/user ")[1].split()[0]
    if {"nosuid", "nodev"} <= set(options.split(",")):
        raise StoppedError


# Calls that must be refused whatever their arguments: name -> numbers on x86_64 and aarch64, the
# arguments, and the refusal that is expected.

_MEMORY = ctypes.create_string_buffer(8)
_PIECE = struct.pack("QQ", ctypes.addressof(_MEMORY), 8)  # struct iovec

CALLS: dict[str, tuple[int, int, tuple[object, ...], str]] = {
    "make_a_file_system_by_fsopen": (430, 430, (b"tmpfs", 0), "EPERM"),
    "configure_a_file_system": (431, 431, (-1, 0, 0, 0, 0), "EPERM"),
    "make_a_mount_by_fsmount": (432, 432, (-1, 0, 0), "EPERM"),
    "pick_a_mount_by_fspick": (433, 433, (-100, b"/", 0), "EPERM"),
    "move_a_mount": (429, 429, (-1, b"", -1, b"", 0), "EPERM"),
    "watch_the_file_system": (300, 262, (0, 0), "EPERM"),
    "swap_to_a_file": (167, 224, (b"/tmp/x", 0), "EPERM"),
    "account_processes": (163, 89, (b"/tmp/x",), "EPERM"),
    "set_quotas": (179, 60, (0, 0, 0, 0), "EPERM"),
    "adjust_the_clock": (159, 171, (bytes(256),), "EPERM"),
    "set_the_time_of_day": (164, 170, (struct.pack("qq", -1, -1), 0), "EPERM"),
    "change_the_domain_name": (171, 162, (b"x", 1), "EPERM"),
    "reboot_the_machine": (169, 142, (0, 0, 0, 0), "EPERM"),
    "unload_a_module": (176, 106, (b"x", 0), "EPERM"),
    "move_pages_of_processes": (279, 239, (1, 0, 0, 0, 0, 0), "EPERM"),
    "request_a_key": (249, 218, (b"user", b"x", 0, 0), "EPERM"),
    "enter_an_io_uring": (426, 426, (-1, 0, 0, 0, 0, 0), "EPERM"),
    "set_limits_of_pid_1": (302, 261, (1, 7, struct.pack("QQ", 1, 1), 0), "EPERM"),
    "write_memory_of_pid_1": (311, 271, (1, _PIECE, 1, _PIECE, 1, 0), "EPERM"),
    "compare_with_pid_1": (312, 272, (os.getpid(), 1, 0, 0, 0), "EPERM"),
    "make_a_large_segment": (29, 194, (0, ctypes.c_size_t(1 << 20), 0o1600), "ENOSPC"),
    "make_many_semaphores": (64, 190, (0, 1000, 0o1600), "ENOSPC"),
    "make_a_message_queue": (68, 186, (0, 0o1600), "EPERM"),
}


def _calling(x86: int, arm: int, arguments: tuple[object, ...]) -> Callable[[], object]:
    return lambda: call(x86, arm, *arguments)


attempts.update({name: _calling(*entry[:3]) for name, entry in CALLS.items()})


# Sockets of families that only the kernel and its managers speak.


FAMILIES = {
    "the_audit_log": (16, 9),
    "events_of_devices": (16, 15),
    "generic_netlink": (16, 16),
    "connections_of_the_kernel": (16, 11),
    "bluetooth": (31, 0),
    "near_field": (39, 0),
    "express_data_path": (44, 0),
    "remote_procedures": (33, 0),
    "cluster_communication": (30, 0),
}


def _opening(family: int, protocol: int) -> Callable[[], object]:
    return lambda: socket.socket(family, socket.SOCK_RAW, protocol).close()


attempts.update({f"reach_{name}": _opening(*pair) for name, pair in FAMILIES.items()})


@attempt
def reach_metadata_of_the_cloud() -> None:
    for address, family in (
        ("169.254.169.254", socket.AF_INET),
        ("fd00:ec2::254", socket.AF_INET6),
    ):
        with socket.socket(family) as sock:
            sock.settimeout(2)
            try:
                sock.connect((address, 80))
            except OSError:
                continue
            return
    raise StoppedError


@attempt
def call_the_kernel_of_32_bits() -> None:
    if not X86:
        raise StoppedError

    def interrupt() -> None:
        # mov eax, 20 (getpid of i386); int 0x80; ret
        code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"
        memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        memory.write(code)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        if ctypes.CFUNCTYPE(ctypes.c_long)(address)() < 0:
            raise OSError(errno.ENOSYS, "int 0x80")

    in_child(interrupt)


@attempt
def overwrite_the_interpreter() -> None:
    os.close(os.open("/proc/self/exe", os.O_WRONLY))


@attempt
def overwrite_the_program_of_pid_1() -> None:
    os.close(os.open("/proc/1/exe", os.O_WRONLY))


@attempt
def overwrite_the_shell() -> None:
    os.close(os.open(os.path.realpath("/bin/sh"), os.O_WRONLY))


@attempt
def join_namespaces_of_pid_1() -> None:
    os.close(os.open("/proc/1/ns/net", os.O_RDONLY))


@attempt
def run_before_everybody_else() -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


@attempt
def run_before_others() -> None:
    in_child(lambda: os.nice(-20) and None)


@attempt
def be_killed_for_memory_later_than_pid_1() -> None:
    before = int(read("/proc/1/oom_score_adj"))
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(before - 1))


@attempt
def have_the_agent_killed_for_memory() -> None:
    with open("/proc/1/oom_score_adj", "w") as file:
        file.write("1000")


@attempt
def signal_a_process_of_the_host() -> None:
    for pid in range(2, 1 << 15):
        if os.path.exists(f"/proc/{pid}") and HOST["marker"].encode() in read(
            f"/proc/{pid}/cmdline"
        ):
            os.kill(pid, 0)
            return
    raise StoppedError


@attempt
def find_control_groups() -> None:
    if not os.path.exists("/sys/fs/cgroup") or not os.listdir("/sys/fs/cgroup"):
        raise StoppedError


@attempt
def find_settings_of_the_kernel() -> None:
    if not any(os.path.exists(path) for path in ("/sys/kernel", "/sys/module", "/sys/firmware")):
        raise StoppedError


@attempt
def allow_namespaces_again() -> None:
    write_setting("/proc/sys/user/max_user_namespaces")


@attempt
def run_a_program_of_root_from_memory() -> None:
    fd = os.memfd_create("x", 0)
    os.write(fd, read("/bin/true"))
    os.fchmod(fd, 0o6755)
    os.fchown(fd, 0, 0)


def main(chosen: list[str]) -> None:
    results: dict[str, str | None] = {}
    for name in chosen or attempts:
        try:
            attempts[name]()
        except StoppedError:
            results[name] = "nothing there"
        except (OSError, ValueError) as error:
            number = error.errno if isinstance(error, OSError) else None
            results[name] = errno.errorcode.get(number or 0, type(error).__name__)
        else:
            results[name] = None
    print(json.dumps(results))


if __name__ == "__main__":
    HOST.update(json.loads(sys.stdin.read()))  # an argument could be found in /proc
    main(sys.argv[1:])
