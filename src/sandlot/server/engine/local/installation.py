"""Building the environments of templates.

Each is built beside its place and then renamed, so that nobody ever sees half of one. Package
indexes, certificates and proxies are those that uv and pip are configured for.
"""

from __future__ import annotations

import errno
import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandlot.server.engine.base import EngineError
from sandlot.server.guest import removal

from .environments import MARKER, environment_path, is_disused, is_whole
from .interpreter import Interpreter, find_interpreter, is_open_to_all
from .recipes import ENVIRONMENT, RECIPES, Recipe

__all__ = ["InstallationError", "install"]

_UNWANTED = {"PIP_PREFIX", "PIP_ROOT", "PIP_TARGET", "PIP_USER", "PYTHONHOME", "PYTHONPATH"}
"""Settings by which packages would be put elsewhere, or found elsewhere."""

_HOOK = "sandlot.pth"
_LAST_LINES = 12

Say = Callable[[str], None]


class InstallationError(EngineError):
    """A template could not be installed; the message says why and what to do."""


def install(name: str, place: Path, say: Say) -> Path:
    """Install a template, unless it is there; return where it is.

    Args:
        name: Its name, or another one that it has.
        place: Directory of templates.
        say: Is told what is being done, for people.

    Raises:
        InstallationError: That is not possible.
    """
    recipe = next((each for each in RECIPES if name in each.names), None)
    if recipe is None:
        known = ", ".join(each.name for each in RECIPES)
        raise InstallationError(f"There is no template {name!r} to install; there are: {known}.")
    interpreter = find_interpreter()
    if interpreter is None:
        raise InstallationError(
            "There is no interpreter that sandboxes could use: install Python for all users, as"
            " /usr/bin/python3 or /usr/local/bin/python3."
        )
    place = place.absolute()
    path = environment_path(place, recipe, interpreter)
    try:
        _make_place(place)
        if is_whole(path):
            say(f"{recipe.name} is installed already, in {path}")
            return path
        with _alone(place, say):
            if not is_whole(path):  # somebody else may have built it meanwhile
                _build(recipe, interpreter, path, say)
            _clear_away(recipe, path)
    except OSError as error:
        raise _explained(error, place) from error
    say(f"{recipe.name} is installed, in {path}")
    return path


def _make_place(place: Path) -> None:
    missing = [directory for directory in (place, *place.parents) if not directory.exists()]
    nearest = missing[-1].parent if missing else place
    if not nearest.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not is_open_to_all(nearest):
        raise InstallationError(
            f"Sandboxes have users of their own, and {place} is closed to them: choose another"
            " directory, or open this one and those above it (chmod a+x)."
        )
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)  # whatever the umask


@contextmanager
def _alone(place: Path, say: Say) -> Generator[None]:
    """Keep other installations out."""
    lock = os.open(place / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another installation...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _build(recipe: Recipe, interpreter: Interpreter, path: Path, say: Say) -> None:
    for remains in path.parent.glob(f".{recipe.name}-*"):
        removal.remove_tree(str(remains))
    draft = Path(tempfile.mkdtemp(prefix=f".{recipe.name}-", dir=path.parent))
    try:
        _fill(draft, recipe, interpreter, say)
        if path.exists():
            _discard(path)
        _ = draft.rename(path)
    except BaseException:
        removal.remove_tree(str(draft))
        raise


def _fill(draft: Path, recipe: Recipe, interpreter: Interpreter, say: Say) -> None:
    say(f"Installing {recipe.name}: {', '.join(recipe.requirements)}")
    python = str(draft / "bin/python3")
    _ = _run(str(interpreter.program), "-m", "venv", "--without-pip", str(draft))
    _ = _run(*_installer(interpreter, python), *recipe.requirements, cwd=draft)
    packages = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
    own = packages / recipe.package.rpartition(".")[2]
    _ = shutil.copytree(recipe.source, own, ignore=shutil.ignore_patterns("__pycache__"))
    _ = (packages / _HOOK).write_text(f"import {own.name}.startup\n")
    for name, content in recipe.files.items():
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        _ = (draft / name).write_text(content)
    for arguments in recipe.finish:
        _ = _run(python, *arguments)
    _ = _run(python, "-m", "compileall", "-q", str(own))
    _relocate(draft, interpreter)
    _open_up(draft)
    files = ["bin/python3", *(str((packages / name).relative_to(draft)) for name in recipe.modules)]
    _ = (draft / MARKER).write_text(json.dumps({"name": recipe.name, "files": files}))
    (draft / MARKER).chmod(0o644)


def _installer(interpreter: Interpreter, python: str) -> Sequence[str]:
    """Return the beginning of the command that installs into an environment."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv or importlib.util.find_spec("uv"):
        program = [uv] if uv else [sys.executable, "-m", "uv"]
        return [*program, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    for host in (sys.executable, str(interpreter.program)):
        pip = [host, "-m", "pip", "--python", python]
        done = subprocess.run([*pip, "--version"], capture_output=True, check=False, cwd="/")
        if done.returncode == 0:  # before 22.3 there was no --python
            return [*pip, "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    raise InstallationError(
        "There is neither uv nor pip (22.3 or newer) to install packages with: pip install uv"
    )


def _run(*command: str, cwd: Path | None = None) -> str:
    """Run a program; return the last line of what it says."""
    env = {name: value for name, value in os.environ.items() if name not in _UNWANTED}
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        cwd=cwd or "/",
        env=env,
        umask=0o022,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0:
        return lines[-1] if lines else ""
    said = "\n".join(lines[-_LAST_LINES:])
    if os.strerror(errno.ENOSPC) in done.stdout:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    raise InstallationError(
        "The packages could not be installed. Is a package index within reach?"
        f" {Path(command[0]).name} said:\n{said}"
    )


def _relocate(draft: Path, interpreter: Interpreter) -> None:
    """Make an environment fit where sandboxes see it."""
    places = [draft / "pyvenv.cfg", *(draft / "bin").iterdir()]
    places += (draft / "share/jupyter/kernels").glob("*/kernel.json")
    old, new = os.fsencode(draft), ENVIRONMENT.encode()
    program = os.fsencode(interpreter.program.parent), os.path.dirname(interpreter.inside).encode()
    for path in places:
        if path.is_symlink():
            if path.readlink().is_absolute():
                path.unlink()
                path.symlink_to(interpreter.inside)
        elif path.is_file():
            content = path.read_bytes()
            changed = content.replace(old, new)
            if path.name == "pyvenv.cfg":
                changed = changed.replace(*program)
            if changed != content:
                mode = path.stat().st_mode
                path.unlink()  # the file may be linked to one in a cache
                _ = path.write_bytes(changed)
                path.chmod(mode)


def _open_up(draft: Path) -> None:
    """Let everybody read what is there, whatever a cache or a umask made of it."""
    draft.chmod(0o755)
    for directory, names, files in os.walk(draft):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            mode = os.lstat(path).st_mode
            wanted = mode | 0o444 | (0o111 if mode & 0o100 else 0)
            if mode != wanted and not os.path.islink(path):
                os.chmod(path, wanted & 0o7777)


def _clear_away(recipe: Recipe, kept: Path) -> None:
    for path in kept.parent.glob(f"{recipe.name}-*"):
        if path != kept and is_disused(path):
            _discard(path)


def _discard(path: Path) -> None:
    """Remove an environment so that it disappears as a whole."""
    grave = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    _ = path.rename(grave / path.name)
    removal.remove_tree(str(grave))


def _explained(error: OSError, place: Path) -> InstallationError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InstallationError(f"The disk is full: a template needs about 1 GB in {place}.")
    return InstallationError(f"{place} cannot be used: {error.strerror}. Choose another directory.")
