"""What the command `sandlot` can do."""

from __future__ import annotations

import importlib.util
import runpy
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from . import _templates, _users

__all__ = ["app"]

app = typer.Typer(
    name="sandlot",
    help="Run code you did not write in isolated sandboxes.",
    no_args_is_help=True,
    add_completion=False,
)
app.add_typer(_templates.app)
app.add_typer(_users.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sandlot {version('sandlot')}")
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None: ...


@app.command(
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
)
def serve(context: typer.Context) -> None:
    """Run the control plane on this machine; `sandlot serve --help` lists its options."""
    if importlib.util.find_spec("uvicorn") is None:
        typer.echo("The server is not installed: pip install 'sandlot[server]'", err=True)
        raise typer.Exit(1)
    sys.argv = ["sandlot serve", *context.args]
    _ = runpy.run_module("sandlot.server", run_name="__main__", alter_sys=False)
