"""Why no sandbox can be made on this machine, and what to do about it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from .agent import AgentStartError

__all__ = ["explain"]

_DOCKER = (
    "In a Docker container, run it with --security-opt seccomp=unconfined"
    " --security-opt systempaths=unconfined --security-opt apparmor=unconfined."
)
_ROOT = "Or run the server as root."


def explain(error: AgentStartError) -> str:
    """Return a text for whoever runs the server."""
    return f"This machine does not allow sandboxes: {error.call}: {error.text}. {_advice(error)}"


def _advice(error: AgentStartError) -> str:
    if error.call == "unshare":
        return _advice_on_unshare(error.number)
    if error.call.startswith("mount_setattr") and error.number == errno.ENOSYS:
        return "Linux 5.12 or newer is needed."
    if error.call.startswith("mount proc"):
        return f"Parts of /proc are hidden from this process, as container engines do. {_DOCKER}"
    if error.call == "pivot_root":
        return "The root file system cannot be left, as on an initial RAM disk; use another one."
    if _is_restricted_by_apparmor():
        return f"{_advice_on_apparmor()} {_ROOT}"
    if error.number in (errno.EPERM, errno.EACCES):
        return _DOCKER if _is_in_container() else _ROOT
    return "That is not known to happen."


def _advice_on_unshare(number: int) -> str:
    if number == errno.ENOSPC or _setting("user/max_user_namespaces") == "0":
        return (
            "User namespaces are switched off or used up; allow more of them:"
            " sysctl user.max_user_namespaces=15000"
        )
    if _setting("kernel/unprivileged_userns_clone") == "0":
        return (
            "User namespaces are switched off; allow them:"
            f" sysctl kernel.unprivileged_userns_clone=1. {_ROOT}"
        )
    if number == errno.EINVAL:
        return "This kernel was built without some kind of namespaces; use another one."
    if _is_in_container():
        return _DOCKER
    if _is_restricted_by_apparmor():
        return f"{_advice_on_apparmor()} {_ROOT}"
    return _ROOT


def _advice_on_apparmor() -> str:
    return (
        "AppArmor takes the rights of user namespaces away; allow them:"
        " sysctl kernel.apparmor_restrict_unprivileged_userns=0."
    )


def _is_restricted_by_apparmor() -> bool:
    setting = _setting("kernel/apparmor_restrict_unprivileged_userns")
    return os.getuid() != 0 and setting == "1"


def _is_in_container() -> bool:
    return any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))


def _setting(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None
