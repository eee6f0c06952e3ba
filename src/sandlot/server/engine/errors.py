"""How engines fail."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "DirectoryUnavailableError",
    "EngineError",
    "EngineUnavailableError",
    "FileAccessError",
    "FileProblem",
    "PortClosedError",
    "SandboxGoneError",
    "UnknownSnapshotError",
    "UnknownTemplateError",
    "UnsuitableError",
]

FileProblem = Literal["exists", "forbidden", "invalid", "no_space", "not_found", "too_large"]


class EngineError(Exception):
    """An engine failed; the message is fit for users."""


class EngineUnavailableError(EngineError):
    """This engine cannot work on this machine; the message says why and what to do."""


class DirectoryUnavailableError(EngineUnavailableError):
    """The directory for the sandboxes is in use by another engine, or cannot be used."""


class UnsuitableError(EngineError):
    """This engine makes no sandboxes like the one asked for."""


class UnknownTemplateError(EngineError):
    """There is no such template."""


class UnknownSnapshotError(EngineError):
    """There is no such snapshot."""


class SandboxGoneError(EngineError):
    """The sandbox died or was destroyed."""


class PortClosedError(EngineError):
    """Nothing in the sandbox listens on a port."""


class FileAccessError(EngineError):
    """A file could not be opened, read or written as asked.

    Attributes:
        problem: What kind of trouble it is.
    """

    def __init__(self, problem: FileProblem, message: str) -> None:
        super().__init__(message)
        self.problem: FileProblem = problem
