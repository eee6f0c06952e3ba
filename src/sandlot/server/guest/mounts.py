"""The file system that a sandbox sees.

The host's programs and libraries, read-only; a chosen few files of /etc; its own /proc, masked; a
/dev of seven devices; its home; memory for /tmp and /dev/shm, capped. There is nothing else: what
is not listed here does not exist inside.
"""

from __future__ import annotations

import os

from . import kernel

__all__ = ["HOME", "Layout", "build_root", "build_shared"]

HOME = "/home/user"

_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = (
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "os-release",
    "perl",
    "pki/ca-trust",
    "pki/tls/certs",
    "protocols",
    "python3",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
)
_ETC_OWN = {
    "passwd": (
        "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n"
        "user:x:1000:1000:user:/home/user:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    ),
    "group": "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n",
    "hostname": "sandbox\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "resolv.conf": "",
}
_PROC_READ_ONLY = ("sys", "irq", "bus", "fs")
_PROC_HIDDEN = ("sysrq-trigger", "kcore", "keys", "timer_list", "kallsyms")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/ptmx": "pts/ptmx",
    "/etc/mtab": "/proc/self/mounts",
    "/var/run": "/run",
    "/var/tmp": "/tmp",  # noqa: S108
    "/workspace": "home/user",
}
_DIRECTORIES = (
    "dev",
    "etc",
    "home",
    "home/user",
    "opt",
    "opt/bin",
    "proc",
    "run",
    "tmp",
    "usr",
    "var",
)
_TERMINALS = 64
_BASE = "/tmp"  # noqa: S108 - where the new root is put together; nothing is written there
_SAFE = kernel.MS_NOSUID | kernel.MS_NODEV
_READ_ONLY = kernel.MOUNT_ATTR_RDONLY | kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV


class Layout:
    """What differs between sandboxes.

    Attributes:
        memory_mb: Bound of /tmp, in MiB; /dev/shm gets half as much.
        hide_local: Whether /usr/local is empty inside.
        python: Directory of an interpreter to show as /opt/python.
        environment: Directory of a template's own programs to show as /opt/jupyter.
        links: Symbolic links to make in /opt/bin.
        etc: Contents of files of /etc that are not the usual ones.
    """

    def __init__(
        self,
        memory_mb: int,
        hide_local: bool,
        python: str | None,
        environment: str | None,
        links: dict[str, str],
        etc: dict[str, str],
    ) -> None:
        self.memory_mb = memory_mb
        self.hide_local = hide_local
        self.python = python
        self.environment = environment
        self.links = links
        self.etc = etc

    @property
    def additions(self) -> list[tuple[str, str]]:
        """What to show where, of directories of the host that differ."""
        both = (("opt/python", self.python), ("opt/jupyter", self.environment))
        return [(target, source) for target, source in both if source is not None]

    def look(self) -> tuple[object, ...]:
        """Return what roots have in common that can share what `build_shared` makes.

        What is shown of the host counts as it is now: files of /etc are exchanged by updates, and a
        mount would go on showing the old one.
        """
        paths = [*(f"/etc/{name}" for name in _ETC), *(source for _, source in self.additions)]
        return (
            self.hide_local,
            tuple(self.additions),
            tuple(self.links.items()),
            tuple(self.etc.items()),
            tuple(map(_identity, paths)),
        )


def build_root(layout: Layout, shared: int | None = None) -> None:
    """Put the new root together and move into it. The current directory becomes the home.

    The home is told by the current directory since that follows into a new mount namespace, and its
    path on the host may lead through directories that this process may not enter.

    Args:
        layout: What it shall be like.
        shared: Descriptor of a detached mount that `build_shared` made; closed afterwards.
    """
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    home = os.open(".", os.O_PATH | os.O_DIRECTORY)
    if shared is None:
        build_shared(layout, _BASE)
    else:
        kernel.attach_tree(shared, _BASE)
        os.close(shared)
    os.fchdir(home)
    os.close(home)
    _bind(".", f"{_BASE}{HOME}", kernel.MOUNT_ATTR_NOSUID | kernel.MOUNT_ATTR_NODEV)
    os.chdir(_BASE)
    _add_proc()
    _add_terminals()
    _add_memory("dev/shm", layout.memory_mb // 4)
    _add_memory("tmp", layout.memory_mb // 2)
    kernel.pivot_root()
    kernel.detach_mount(".")  # the old root, which lies on top of the new one now
    os.chdir("/")


def build_shared(layout: Layout, base: str) -> None:
    """Mount a root on a directory that has all but what each sandbox has for itself.

    Nothing of it can be written to. It becomes the current directory.
    """
    additions = [
        (target, os.open(source, os.O_PATH | os.O_DIRECTORY)) for target, source in layout.additions
    ]
    kernel.mount("tmpfs", base, "tmpfs", _SAFE, "mode=755,size=1m,nr_inodes=1k")
    os.chdir(base)
    for directory in _DIRECTORIES:
        os.mkdir(directory)
    _add_system(layout.hide_local)
    for target, source in additions:
        os.mkdir(target)
        _bind(f"/proc/self/fd/{source}", target)
        os.close(source)
    for name, target in layout.links.items():
        os.symlink(target, f"opt/bin/{name}")
    _add_etc(layout.etc)
    _add_devices()
    for name, target in _LINKS.items():
        os.symlink(target, f".{name}")
    kernel.mount_setattr("dev", kernel.MOUNT_ATTR_RDONLY, recursive=False)
    kernel.mount_setattr(".", kernel.MOUNT_ATTR_RDONLY, recursive=False)


def _bind(source: str, target: str, attributes: int = _READ_ONLY) -> None:
    kernel.mount(source, target, None, kernel.MS_BIND | kernel.MS_REC)
    kernel.mount_setattr(target, attributes, recursive=True)


def _add_system(hide_local: bool) -> None:
    _bind("/usr", "usr")
    if hide_local and os.path.isdir("usr/local"):
        kernel.mount("tmpfs", "usr/local", "tmpfs", _SAFE, "mode=755,size=4k,nr_inodes=8")
        kernel.mount_setattr("usr/local", kernel.MOUNT_ATTR_RDONLY, recursive=False)
    for name in _SYSTEM:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), name)
        elif os.path.isdir(f"/{name}"):
            os.mkdir(name)
            _bind(f"/{name}", name)


def _add_etc(own: dict[str, str]) -> None:
    for name in _ETC:
        source = f"/etc/{name}"  # where it is a link, mount(2) follows it
        if os.path.isdir(source):
            os.makedirs(f"etc/{name}")
        elif os.path.isfile(source):
            os.makedirs(os.path.dirname(f"etc/{name}"), exist_ok=True)
            _make_file(f"etc/{name}")
        else:
            continue
        _bind(source, f"etc/{name}")
    for name, content in {**_ETC_OWN, **own}.items():
        _make_file(f"etc/{name}", content)


def _add_proc() -> None:
    # Only possible with the old /proc still in sight: mount_too_revealing() of fs/namespace.c
    kernel.mount("proc", "proc", "proc", _SAFE | kernel.MS_NOEXEC)
    for name in _PROC_READ_ONLY:
        if os.path.isdir(f"proc/{name}"):
            _bind(f"proc/{name}", f"proc/{name}")
    for name in _PROC_HIDDEN:
        if os.path.exists(f"proc/{name}"):
            kernel.mount("/dev/null", f"proc/{name}", None, kernel.MS_BIND)


def _add_devices() -> None:
    options = "mode=755,size=64k,nr_inodes=64"
    kernel.mount("tmpfs", "dev", "tmpfs", kernel.MS_NOSUID | kernel.MS_NOEXEC, options)
    for name in _DEVICES:
        _make_file(f"dev/{name}")
        kernel.mount(f"/dev/{name}", f"dev/{name}", None, kernel.MS_BIND)
    os.mkdir("dev/pts")
    os.mkdir("dev/shm")


def _add_terminals() -> None:
    flags = kernel.MS_NOSUID | kernel.MS_NOEXEC
    # There are only some thousands for the whole machine: kernel.pty.max, less its reserve.
    options = f"newinstance,ptmxmode=0666,mode=620,max={_TERMINALS}"
    kernel.mount("devpts", "dev/pts", "devpts", flags, options)


def _add_memory(target: str, size_mb: int) -> None:
    size_mb = max(size_mb, 1)
    options = f"mode=1777,size={size_mb}m,nr_inodes={size_mb * 256}"
    kernel.mount("tmpfs", target, "tmpfs", _SAFE, options)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _make_file(path: str, content: str = "") -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    _ = os.write(descriptor, content.encode())
    os.close(descriptor)
