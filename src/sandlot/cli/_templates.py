"""`sandlot templates`: what sandboxes of this machine can be made from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

# The one thing that the command line and the server share: nothing of it needs the extra `server`.
from sandlot.server.engine.local.environments import own_place
from sandlot.server.engine.local.installation import InstallationError, install
from sandlot.server.engine.local.templates import find_templates

__all__ = ["app"]

app = typer.Typer(
    name="templates",
    help="Install and list the templates that sandboxes of this machine are made from.",
    no_args_is_help=True,
)

Place = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        envvar="SANDLOT_SERVER_TEMPLATES_DIR",
        help="Directory of templates; /var/lib/sandlot/templates for root and"
        " ~/.local/share/sandlot/templates for others if omitted.",
        show_default=False,
    ),
]


@app.command("install")
def install_template(
    name: Annotated[str, typer.Argument(help="Which, for example python-jupyter.")],
    place: Place = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False,
) -> None:
    """Install a template from the package index, unless it is there already."""

    def say(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    try:
        _ = install(name, place or own_place(), say)
    except InstallationError as error:
        typer.echo(f"sandlot: {error}", err=True)
        raise typer.Exit(1) from error


@app.command("list")
def list_templates(place: Place = None) -> None:
    """List the templates that a server on this machine has, or could have."""
    templates = find_templates(place)
    templates.release()
    for name, template in sorted(templates.present.items()):
        typer.echo(f"{name:20} {template.environment or 'the programs of this machine'}")
    for name, advice in sorted(templates.missing.items()):
        typer.echo(f"{name:20} not installed. {advice}")
