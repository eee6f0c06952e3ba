"""Copying, merging and measuring trees that hostile code made.

Everything is reached through descriptors of directories and by single names; links are never
followed, and nothing is opened but directories and regular files. Nobody writes to the trees
meanwhile: they are sealed or frozen.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from .opening import opened

__all__ = ["copy_entry", "copy_tree", "is_opaque", "is_whiteout", "measure", "merge_layers"]

# How the kernel marks, in a layer of an overlay, what hides things of the layers below
# (Documentation/filesystems/overlayfs.rst): a character device 0:0 hides a name, and this attribute
# of a directory all that would be in it.
_OPAQUE = "user.overlay.opaque"
_MARK = b"y"

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FICLONE = 0x40049409  # linux/fs.h
_PIECE = 64 * 1024 * 1024
_READ = 1024 * 1024
_BLOCK = 512  # of st_blocks, whatever the file system's own


def copy_tree(source: int, target: int, recipient: int | None = None) -> None:
    """Copy what is in a directory, and the directory's own mode.

    Args:
        source: Descriptor of the directory.
        target: Descriptor of an empty one.
        recipient: User that the copies shall belong to; the present one's if None.
    """
    _Copy(target, recipient).directory(source, target)


def copy_entry(source: int, target: int, name: str) -> None:
    """Copy one thing of a directory, with all that is in it, to another directory.

    Args:
        source: Descriptor of the directory that it is in.
        target: Descriptor of the directory that it will be in; nothing there has its name.
        name: Its name in both.
    """
    _Copy(target, None).entry(source, target, name, name)


class _Copy:
    def __init__(self, root: int, recipient: int | None) -> None:
        self._root = root
        self._recipient = recipient
        self._links: dict[tuple[int, int], str] = {}

    def directory(self, source: int, target: int, path: str = "") -> None:
        for name in os.listdir(source):
            self.entry(source, target, name, f"{path}{name}")
        self._finish(target, os.fstat(source), source)

    def entry(self, source: int, target: int, name: str, path: str) -> None:
        """Copy one thing.

        Args:
            source: Descriptor of the directory that it is in.
            target: Descriptor of the directory that it will be in.
            name: Its name in both.
            path: Its path below the root of the copy.
        """
        status = os.stat(name, dir_fd=source, follow_symlinks=False)
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            os.mkdir(name, 0o700, dir_fd=target)
            with opened(name, _DIRECTORY, source) as old, opened(name, _DIRECTORY, target) as new:
                self.directory(old, new, f"{path}/")
            return
        if status.st_nlink > 1 and self._link(status, target, name, path):
            return
        if stat.S_ISREG(mode):
            with opened(name, _FILE, source) as old, opened(name, _NEW, target, 0o600) as new:
                _copy_content(old, new, status.st_size)
                self._finish(new, status, old)
            return
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or is_whiteout(status):
            os.mknod(name, mode, status.st_rdev, dir_fd=target)
            os.chmod(name, stat.S_IMODE(mode), dir_fd=target)
        else:
            return  # a device; nobody could make one inside
        if self._recipient is not None:
            user = self._recipient
            os.chown(name, user, user, dir_fd=target, follow_symlinks=False)
        times = (status.st_atime_ns, status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=target, follow_symlinks=False)

    def _link(self, status: os.stat_result, target: int, name: str, path: str) -> bool:
        """Give a file that was copied already another name."""
        key = (status.st_dev, status.st_ino)
        known = self._links.setdefault(key, path)
        if known == path:
            return False
        try:
            os.link(known, name, src_dir_fd=self._root, dst_dir_fd=target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.ENAMETOOLONG, errno.EMLINK):
                raise
            return False
        return True

    def _finish(self, new: int, status: os.stat_result, old: int) -> None:
        if self._recipient is not None:
            os.fchown(new, self._recipient, self._recipient)
        for name in _attributes(old):
            os.setxattr(new, name, os.getxattr(old, name))
        os.fchmod(new, stat.S_IMODE(status.st_mode))  # after the owner, whose change takes bits off
        os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))


def merge_layers(sources: list[int], target: int, *, bottom: bool) -> None:
    """Make one layer that shows what several show together; files are linked, not copied.

    Args:
        sources: Descriptors of the layers, newest first.
        target: Descriptor of an empty directory.
        bottom: Whether there is nothing below them, so that nothing has to be hidden.
    """
    copy = _Copy(target, None)
    seen: set[str] = set()
    for index, source in enumerate(sources):
        for name in os.listdir(source):
            if name in seen:
                continue
            seen.add(name)
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                _merge_directory(sources[index:], target, name, bottom)
            elif not (bottom and is_whiteout(status)):
                try:
                    os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
                except OSError as error:
                    if error.errno != errno.EMLINK:
                        raise
                    copy.entry(source, target, name, name)
    _finish_merged(target, sources[0])


def _merge_directory(sources: list[int], target: int, name: str, bottom: bool) -> None:
    """Merge a directory with those that it does not hide."""
    found: list[int] = []
    hides = False
    try:
        for source in sources:
            try:
                directory = os.open(name, _DIRECTORY, dir_fd=source)
            except FileNotFoundError:
                continue
            except (NotADirectoryError, OSError) as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                hides = True  # what is below that was hidden by it
                break
            found.append(directory)
            if is_opaque(directory):
                hides = True
                break
        os.mkdir(name, 0o700, dir_fd=target)
        with opened(name, _DIRECTORY, target) as merged:
            merge_layers(found, merged, bottom=bottom or hides)
            if hides and not bottom:
                os.setxattr(merged, _OPAQUE, _MARK)
    finally:
        for directory in found:
            os.close(directory)


def _finish_merged(merged: int, newest: int) -> None:
    status = os.fstat(newest)
    for name in _attributes(newest):
        if name != _OPAQUE:
            os.setxattr(merged, name, os.getxattr(newest, name))
    os.fchmod(merged, stat.S_IMODE(status.st_mode))
    os.utime(merged, ns=(status.st_atime_ns, status.st_mtime_ns))


def is_opaque(directory: int) -> bool:
    """Whether a directory of a layer hides all that the layers below have in it."""
    try:
        return os.getxattr(directory, _OPAQUE) == _MARK
    except OSError:
        return False


def is_whiteout(status: os.stat_result) -> bool:
    """Whether something in a layer only hides what the layers below have of its name."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def measure(directory: int) -> tuple[int, int]:
    """Return how many bytes on the disk a tree takes, and of how many files it consists."""
    return _add_up(directory, set())


def _add_up(directory: int, seen: set[int]) -> tuple[int, int]:
    total, files = os.fstat(directory).st_blocks * _BLOCK, 1
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                with opened(entry.name, _DIRECTORY, directory) as below:
                    size, count = _add_up(below, seen)
                total += size
                files += count
                continue
            status = entry.stat(follow_symlinks=False)
            if status.st_nlink > 1:
                if status.st_ino in seen:
                    continue
                seen.add(status.st_ino)
            total += status.st_blocks * _BLOCK
            files += 1
    return total, files


def _attributes(fd: int) -> list[str]:
    try:
        return [name for name in os.listxattr(fd) if name.startswith("user.")]
    except OSError:  # a file system without attributes
        return []


def _copy_content(old: int, new: int, size: int) -> None:
    """Copy a file, sharing its blocks where the file system can, and keeping its holes."""
    try:
        _ = fcntl.ioctl(new, _FICLONE, old)
    except OSError:
        os.truncate(new, size)
    else:
        return
    position = 0
    while position < size:
        try:
            start = os.lseek(old, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            raise
        end = position = min(os.lseek(old, start, os.SEEK_HOLE), size)
        while start < end:
            done = _copy_range(old, new, start, min(end - start, _PIECE))
            if not done:
                return
            start += done


def _copy_range(old: int, new: int, start: int, size: int) -> int:
    """Copy a piece of a file; return how much of it was copied, which is nothing at the end."""
    try:
        return os.copy_file_range(old, new, size, start, start)
    except OSError as error:
        # Not everything can be copied without being looked at (copy_file_range(2)).
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP):
            raise
        return os.pwrite(new, os.pread(old, min(size, _READ), start), start)
