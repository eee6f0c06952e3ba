"""The builder: a fork of the zygote on its way to becoming a sandbox.

It turns into an unprivileged user, enters new namespaces, starts PID 1 in them and ends. PID 1
builds its own root, renounces all rights and serves as the agent.
"""

from __future__ import annotations

import os
import signal
import socket

from . import kernel, mounts, namespaces, overlay, privileges, unisolated, wire
from .agent import Agent
from .outlets import open_outlets
from .signals import stop_listening

__all__ = ["hear_birth", "read_layout", "run_builder"]


def run_builder(
    message: wire.Message,
    channel: int,
    line: socket.socket | None,
    announcement: int,
    root: str | None,
) -> None:
    """Become a sandbox; does not return.

    Args:
        message: What it shall be like.
        channel: Descriptor of the socket that its agent serves.
        line: Where the agent gets other sockets from.
        announcement: Descriptor of a socket to announce the sandbox on.
        root: Where a root is mounted that can be copied; see `roots`.
    """
    sock = socket.socket(fileno=channel)
    try:
        stop_listening()
        if not wire.boolean(message, "isolated"):
            unisolated.serve(sock, wire.text(message, "home"))
            os._exit(0)
        kernel.die_with_parent(signal.SIGKILL)
        # while there is a right to
        shared = None if root is None else kernel.clone_tree(root, recursive=True)
        _enter(message)
        namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        pid = kernel.clone_sibling()
        if pid:
            _announce(announcement, pid, namespace)
            os._exit(0)
        _serve(message, sock, line, shared)
    except OSError as error:
        call = error.filename or "agent"
        failure = {"event": "failed", "call": str(call), "error": error.errno or 0}
        wire.send(sock, {**failure, "text": error.strerror or str(error)})
    finally:
        os._exit(1)


def hear_birth(birth: int) -> tuple[bytes, int | None]:
    """Return the id of a PID 1 and its mount namespace; nothing if there is none."""
    with socket.socket(fileno=birth) as sock:
        data, fds, _, _ = socket.recv_fds(sock, 4, 1)
    for fd in fds:
        os.set_inheritable(fd, False)
    return data, fds[0] if fds else None


def _announce(announcement: int, pid: int, namespace: int) -> None:
    with socket.socket(fileno=announcement) as sock:
        _ = socket.send_fds(sock, [pid.to_bytes(4, "big")], [namespace])


def _enter(message: wire.Message) -> None:
    for cgroup in wire.strings(message, "cgroups"):
        try:
            kernel.write_setting(f"{cgroup}/cgroup.procs", "0")
        except OSError as error:
            error.filename = cgroup
            raise
    uid = wire.optional_integer(message, "uid")
    stack = overlay.read_stack(message)
    trees = None
    if stack is None:
        os.chdir(wire.text(message, "home"))
    else:
        trees = overlay.open_trees(stack, uid)
    if wire.boolean(message, "bounded"):
        privileges.take_precedence()
    if uid is not None:
        privileges.become(uid)
    namespaces.enter(own_network=wire.text(message, "network") != "full")
    if stack is not None:
        overlay.mount_stack(stack, trees)
    kernel.die_with_parent(signal.SIGKILL)  # the change of user had undone it


def read_layout(message: wire.Message) -> mounts.Layout:
    """Return what a message says of a root."""
    return mounts.Layout(
        memory_mb=wire.integer(message, "memory_mb"),
        hide_local=wire.boolean(message, "hide_local"),
        python=wire.optional_text(message, "python"),
        environment=wire.optional_text(message, "environment"),
        links=wire.text_mapping(message, "links"),
        etc=wire.text_mapping(message, "etc"),
    )


def _serve(
    message: wire.Message, sock: socket.socket, line: socket.socket | None, shared: int | None
) -> None:
    kernel.die_with_parent(signal.SIGKILL)
    descriptors = (sock.fileno(), None if line is None else line.fileno(), shared)
    privileges.forget_descriptors(*(fd for fd in descriptors if fd is not None))
    os.setsid()
    kernel.set_hostname("sandbox")
    network = wire.text(message, "network")
    if network != "full":
        namespaces.loopback_up()
    outlets = open_outlets(v6=wire.boolean(message, "v6")) if network == "outbound" else None
    namespaces.bound()
    badness = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    mounts.build_root(read_layout(message), shared)
    privileges.keep_precedence()
    privileges.set_limits(wire.integers(message, "limits"))
    privileges.renounce()
    kernel.die_with_parent(signal.SIGKILL)  # a change of rights may undo it
    Agent(sock, mounts.HOME, badness, line, outlets).serve()
    os._exit(0)
