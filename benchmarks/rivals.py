"""Other ways to run a command apart from its host, and commands of the host itself."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

NAMESPACES = [
    f"--{kind}" for kind in ("user", "map-root-user", "mount", "pid", "net", "ipc", "uts")
]
"""What util-linux's unshare needs to give a command the namespaces that a sandbox has."""


def spawn(*argv: str) -> None:
    """Run a command of the host to its end."""
    _ = subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def has(program: str) -> bool:
    """Tell whether there is such a program."""
    return shutil.which(program) is not None


def unshare() -> None:
    """Run `true` in namespaces of its own, with the files of the host."""
    spawn("unshare", *NAMESPACES, "--cgroup", "--fork", "true")


def bwrap() -> None:
    """Run `true` under bubblewrap, with the namespaces and the files that a sandbox has."""
    options = (
        "--unshare-all --unshare-user --uid 1000 --gid 1000 --cap-drop ALL --new-session"
        " --die-with-parent --clearenv --ro-bind /usr /usr --symlink usr/bin /bin"
        " --symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev"
        " --tmpfs /tmp --tmpfs /home"
    )
    spawn("bwrap", *options.split(), "/usr/bin/true")


@contextlib.contextmanager
def podman_root() -> Iterator[Path]:
    """Make the root of a container that has the programs of the host, as sandboxes have."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for name in ("usr", "etc", "proc", "dev", "sys", "tmp"):
            (root / name).mkdir()
        for name in ("bin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        yield root


def podman(root: Path) -> None:
    """Run `true` in a container without network."""
    limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=512:512")
    files = ("-v", "/usr:/usr:ro", "--rootfs", str(root))
    runtime = ("--runtime", "runc") if has("runc") else ()  # it knows more kinds of control groups
    spawn("podman", *runtime, "run", "--rm", "--network", "none", *limits, *files, "true")


def works(action: Callable[[], None]) -> bool:
    """Tell whether a rival that is installed can run on this machine."""
    try:
        action()
    except subprocess.CalledProcessError:
        return False
    return True
