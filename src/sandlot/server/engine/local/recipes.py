"""Templates with an environment of their own: what it consists of, and what is started from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .interpreter import Interpreter

__all__ = ["ENVIRONMENT", "RECIPES", "Recipe", "Service"]

ENVIRONMENT = "/opt/jupyter"
"""Where sandboxes see the environment of their template."""

_EDITION = "1"
"""To be changed with the way that environments are built."""

_JUPYTER_PORT = 8888
_LAUNCH = "import sys; del sys.path[0]; from sandlot_jupyter.launcher import main; main()"
"""Not by `-I`, which kernels and what they start would inherit; without the current directory, so
that nothing in it is taken for a module of the server."""

_KERNEL_SETTINGS = {"HistoryManager": {"enabled": False}}
"""What is typed is kept in memory, but not in a database for later sessions."""


@dataclass(frozen=True, slots=True)
class Service:
    """A program that runs in every sandbox of a template.

    It writes two lines to its standard output: `ready` once it answers, and `prepared` once it has
    done everything that the first user would else wait for.

    Attributes:
        port: Where it listens.
        patience: Seconds that those who want to connect wait until it is ready.
    """

    argv: Sequence[str]
    port: int
    patience: float = 60.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make the environment of a template.

    Attributes:
        aliases: Other names that it is asked for by.
        requirements: What to install, in the words of package installers.
        package: A package of this project that is put into it; its module `startup` is imported
            whenever the interpreter starts.
        modules: Files and directories among its packages without which it is broken.
        files: Further files of it, and what they contain.
        finish: Arguments to run its interpreter with, one after the other, once it has everything.
        service: What is started in each sandbox.
    """

    name: str
    aliases: Sequence[str]
    requirements: Sequence[str]
    package: str
    modules: Sequence[str]
    files: Mapping[str, str]
    finish: Sequence[Sequence[str]]
    service: Service

    @property
    def names(self) -> Sequence[str]:
        """Everything that it is asked for by."""
        return (self.name, *self.aliases)

    @property
    def source(self) -> Path:
        """Directory of the package that is put into it."""
        spec = find_spec(self.package)
        assert spec is not None
        assert spec.origin is not None
        return Path(spec.origin).parent

    def digest(self, interpreter: Interpreter) -> str:
        """Return what tells apart environments that are not made in exactly the same way."""
        digest = hashlib.sha256()
        for part in self._parts(interpreter):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
        return digest.hexdigest()[:16]

    def _parts(self, interpreter: Interpreter) -> Iterator[bytes]:
        yield _EDITION.encode()
        yield str(interpreter.program.resolve()).encode()
        yield interpreter.inside.encode()
        yield repr((self.requirements, sorted(self.files.items()), self.finish)).encode()
        for path in sorted(self.source.glob("*.py")):
            yield path.name.encode()
            yield path.read_bytes()


RECIPES = (
    Recipe(
        name="python-jupyter",
        aliases=("code-runner-beta",),
        requirements=(
            "bash_kernel>=0.9,<1",
            "ipykernel>=6.29,<8",
            "jupyter-server>=2.14,<3",
            "matplotlib>=3.8,<4",
            "numpy>=1.26,<3",
            "pandas>=2.2,<4",
            "pip>=24",
            "plotly>=5.24,<8",
            "pyarrow>=15",
        ),
        package="sandlot.server.sandlot_jupyter",
        modules=("bash_kernel", "ipykernel", "jupyter_server", "pandas", "sandlot_jupyter"),
        files={"etc/ipython/ipython_kernel_config.json": json.dumps(_KERNEL_SETTINGS)},
        finish=(
            ("-m", "bash_kernel.install", "--sys-prefix"),
            ("-m", "sandlot_jupyter.fonts"),
            ("-c", "import bash_kernel, ipykernel, jupyter_server, pandas, pyarrow"),
        ),
        service=Service(
            argv=(f"{ENVIRONMENT}/bin/python3", "-c", _LAUNCH),
            port=_JUPYTER_PORT,
        ),
    ),
)
