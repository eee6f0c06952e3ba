"""Real kernels, for what cannot be told without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandlot.server.engine.local.templates import find_templates
from tests.inside.kernels import Kernel


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python of the template with Jupyter."""
    templates = find_templates()
    templates.release()
    template = templates.present.get("python-jupyter")
    if template is None or template.environment is None:
        pytest.skip("the template python-jupyter is not installed")
    return template.environment / "bin" / "python"


@pytest.fixture(scope="module")
def kernel(python: Path) -> Iterator[Kernel]:
    """A Python kernel that all tests of a module share."""
    kernel = Kernel(python)
    yield kernel
    kernel.close()
