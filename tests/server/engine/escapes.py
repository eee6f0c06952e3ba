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
        if HOST["marker"].encode() in read(path):
            return
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
