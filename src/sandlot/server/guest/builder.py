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

__all__ = ["hear_birth", "run_builder"]


def run_builder(
    message: wire.Message, channel: int, line: socket.socket | None, announcement: int
) -> None:
    """Become a sandbox; does not return."""
    sock = socket.socket(fileno=channel)
    try:
        stop_listening()
        if not wire.boolean(message, "isolated"):
            unisolated.serve(sock, wire.text(message, "home"))
            os._exit(0)
        kernel.die_with_parent(signal.SIGKILL)
        _enter(message)
        namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        pid = kernel.clone_sibling()
        if pid:
            _announce(announcement, pid, namespace)
            os._exit(0)
        _serve(message, sock, line)
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


def _serve(message: wire.Message, sock: socket.socket, line: socket.socket | None) -> None:
    kernel.die_with_parent(signal.SIGKILL)
    privileges.forget_descriptors(*(end.fileno() for end in (sock, line) if end is not None))
    os.setsid()
    kernel.set_hostname("sandbox")
    network = wire.text(message, "network")
    if network != "full":
        namespaces.loopback_up()
    outlets = open_outlets(v6=wire.boolean(message, "v6")) if network == "outbound" else None
    namespaces.bound()
    badness = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
    mounts.build_root(
        mounts.Layout(
            memory_mb=wire.integer(message, "memory_mb"),
            hide_local=wire.boolean(message, "hide_local"),
            python=wire.optional_text(message, "python"),
            environment=wire.optional_text(message, "environment"),
            links=wire.text_mapping(message, "links"),
            etc=wire.text_mapping(message, "etc"),
        )
    )
    privileges.keep_precedence()
    privileges.set_limits(wire.integers(message, "limits"))
    privileges.renounce()
    kernel.die_with_parent(signal.SIGKILL)  # a change of rights may undo it
    Agent(sock, mounts.HOME, badness, line, outlets).serve()
    os._exit(0)
