"""What notebooks show of sandboxes."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .. import models

_COLUMNS = ("id", "name", "status", "template", "size", "created")
_CELL = '<td style="text-align:left">'


def table(sandboxes: Sequence[models.SandboxInfo]) -> str:
    """Return a table in HTML; names and templates are text, whatever they contain."""
    head = "".join(f"<th>{column}</th>" for column in _COLUMNS)
    rows = "".join(f"<tr>{_row(info)}</tr>" for info in sandboxes)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(info: models.SandboxInfo) -> str:
    cells = (
        info.id,
        info.name or "",
        info.status,
        info.template,
        f"{info.vcpus} CPU, {info.memory_mb} MiB",
        f"{info.created_at:%Y-%m-%d %H:%M:%S}",
    )
    return "".join(f"{_CELL}{html.escape(cell)}</td>" for cell in cells)
