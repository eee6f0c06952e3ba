"""Roots that are ready but for what each sandbox has for itself, kept by the zygote of root.

What most sandboxes see of the host is the same, and takes some dozens of mounts. They are made
once, in a mount namespace of the zygote's own, and each sandbox gets a copy of them all by one
system call. Nobody can write to them, so that nothing passes from one sandbox to another.

An ordinary user may not mount anything outside of a sandbox: there each makes its own.
"""

from __future__ import annotations

import contextlib
import os

from . import kernel, mounts

__all__ = ["Roots"]

# A directory that every system has, and that neither the zygote nor its isolated forks have a use
# for: what is mounted there is hidden from them.
_STAGE = "/dev/pts"
_MOST = 8
"""How many are kept; each is some dozens of mounts."""


class Roots:
    """The roots, by what they look like."""

    def __init__(self) -> None:
        self._paths: dict[tuple[object, ...], str] = {}
        self._count = 0
        self._possible: bool | None = None  # not known before somebody needs one

    def find(self, layout: mounts.Layout) -> str | None:
        """Return where such a root is mounted, or None if each sandbox has to make its own."""
        if self._possible is None:
            self._possible = _prepare_stage()
        if not self._possible:
            return None
        look = layout.look()
        path = self._paths.get(look)
        if path is None:
            path = self._make(layout)
            if path is None:  # whoever tries it next, in the sandbox, tells what is the matter
                return None
            if len(self._paths) == _MOST:
                _remove(self._paths.pop(next(iter(self._paths))))
            self._paths[look] = path
        return path

    def _make(self, layout: mounts.Layout) -> str | None:
        path = f"{_STAGE}/{self._count}"
        self._count += 1
        os.mkdir(path)
        try:
            mounts.build_shared(layout, path)
            # What the host mounts in /usr and the like later on would come in without being
            # made read-only.
            kernel.mount(None, path, None, kernel.MS_REC | kernel.MS_PRIVATE)
        except OSError:
            _remove(path)
            return None
        finally:
            os.chdir("/")
        return path


def _prepare_stage() -> bool:
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
        # What the host mounts and unmounts is still seen, but not the other way round.
        kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_SLAVE)
        kernel.mount(
            "tmpfs", _STAGE, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755,size=64k"
        )
    except OSError:
        return False
    return True


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):  # it had not been mounted yet
        kernel.detach_mount(path)
    os.rmdir(path)
