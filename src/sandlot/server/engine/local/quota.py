"""How much of its disk a sandbox has used up, as far as it is known."""

from __future__ import annotations

from dataclasses import dataclass

from sandlot.server.engine.base import SandboxSpec

__all__ = ["DiskBounds", "DiskQuota"]

_MIB = 1 << 20
_GRAIN = _MIB
_FEW_FILES = 32
_FILES_PER_MIB = 64
"""What ext4 makes room for: one file in 16 KiB (mke2fs.conf(5), inode_ratio)."""
_LEAST_FILES = 32_768


@dataclass(frozen=True, slots=True)
class DiskBounds:
    """What a sandbox may store: bytes on the disk, and files of any kind."""

    size: int
    files: int

    @classmethod
    def of(cls, spec: SandboxSpec) -> DiskBounds:
        """Return what a sandbox like this may store."""
        return cls(spec.disk_mb * _MIB, max(spec.disk_mb * _FILES_PER_MIB, _LEAST_FILES))


class DiskQuota:
    """Compares what a sandbox stores with what it may.

    Whoever is over the limit may not grow any more, but can run: to clean up.
    """

    def __init__(self, bounds: DiskBounds) -> None:
        self._bounds = bounds
        self._ceiling = bounds
        self._used = DiskBounds(0, 0)
        self._written = 0

    @property
    def room(self) -> int:
        """Bytes that are left."""
        return max(self._bounds.size - self._used.size - self._written, 0)

    @property
    def used(self) -> int:
        """Bytes that are in use."""
        return self._used.size + self._written

    @property
    def most_files(self) -> int:
        """Number of files up to which it is worth counting."""
        return self._ceiling.files + 1_000_000

    def take(self, size: int) -> bool:
        """Use up bytes that the server itself writes; return whether there was room."""
        if size > self.room:
            return False
        self._written += size
        return True

    def give_back(self, size: int) -> None:
        """Have back what `take` has used up."""
        self._written = max(self._written - size, 0)

    def is_exceeded_by(self, found: DiskBounds) -> bool:
        """Tell whether so much is too much."""
        size, files = self._ceiling.size, self._ceiling.files
        if size > self._bounds.size:
            size += _GRAIN  # cleaning up takes a little, too
        if files > self._bounds.files:
            files += _FEW_FILES
        return found.size > size or found.files > files

    def note(self, found: DiskBounds, *, written: int = 0, after_kill: bool = False) -> None:
        """Take over what has been measured.

        Args:
            found: What it was.
            written: What `written` was when the measuring began.
            after_kill: Whether it is what is left after something was killed.
        """
        self._used = found
        self._written = max(self._written - written, 0)
        known = found if after_kill else self._ceiling
        self._ceiling = DiskBounds(
            max(self._bounds.size, min(known.size, found.size)),
            max(self._bounds.files, min(known.files, found.files)),
        )

    @property
    def written(self) -> int:
        """Bytes that `take` has used up since the last measurement."""
        return self._written
