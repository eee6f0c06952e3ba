"""`sandlot users`: who may use a server of this machine."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

__all__ = ["app"]

app = typer.Typer(
    name="users",
    help="Make and manage the users of a server, in its database; it may be running.",
    no_args_is_help=True,
)
_T = TypeVar("_T")

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="SANDLOT_SERVER_DATA_DIR",
        help="Data directory of the server; ~/.local/share/sandlot if omitted.",
        show_default=False,
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        envvar="SANDLOT_SERVER_DATABASE_URL",
        help="URL of its database, if it has another than the one in the data directory.",
        show_default=False,
        show_envvar=True,
    ),
]
Email = Annotated[str, typer.Argument(help="Address of the user.")]


@app.command("create")
def create_user(
    email: Email,
    name: Annotated[str, typer.Option("--name", help="What to call them.")],
    admin: Annotated[
        bool, typer.Option("--admin", help="Let them administer the platform.")
    ] = False,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    data_dir: DataDir = None,
    database_url: Url = None,
) -> None:
    """Make a user, who owns a team of their own; the password is asked for."""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    database = _database(data_dir, database_url)
    from sandlot.server import administration

    user = _run(administration.create_user(database, email, str(password), name, is_admin=admin))
    typer.echo(f"{user.id} {user.email}")


@app.command("list")
def list_users(data_dir: DataDir = None, database_url: Url = None) -> None:
    """List the users."""
    from sandlot.server import administration

    for user in _run(administration.list_users(_database(data_dir, database_url))):
        role = "admin" if user.is_admin else "user"
        typer.echo(f"{user.id} {user.status:8} {role:5} {user.email}")


@app.command("disable")
def disable_user(email: Email, data_dir: DataDir = None, database_url: Url = None) -> None:
    """Lock a user out; their tokens and keys are of no use from then on."""
    from sandlot.server import administration

    _ = _run(administration.set_status(_database(data_dir, database_url), email, "disabled"))


@app.command("enable")
def enable_user(email: Email, data_dir: DataDir = None, database_url: Url = None) -> None:
    """Let a user in again."""
    from sandlot.server import administration

    _ = _run(administration.set_status(_database(data_dir, database_url), email, "active"))


@app.command("revoke")
def revoke_tokens(email: Email, data_dir: DataDir = None, database_url: Url = None) -> None:
    """Make all tokens of a user invalid; they have to log in again."""
    from sandlot.server import administration

    _ = _run(administration.revoke_tokens(_database(data_dir, database_url), email))


def _database(data_dir: Path | None, url: str | None) -> str:
    if importlib.util.find_spec("sqlalchemy") is None:
        typer.echo("The server is not installed: pip install 'sandlot[server]'", err=True)
        raise typer.Exit(1)
    from sandlot.server.options import Options

    fields: dict[str, Any] = {} if data_dir is None else {"data_dir": data_dir}
    options = Options(database_url=url, **fields)
    if url is None:
        options.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    assert options.database is not None
    return options.database


def _run(work: Coroutine[object, object, _T]) -> _T:
    from sandlot.server.services.errors import ServiceError
    from sandlot.server.store.base import StoreUnavailableError

    try:
        return asyncio.run(work)
    except (ServiceError, StoreUnavailableError) as error:
        typer.echo(f"sandlot: {error}", err=True)
        raise typer.Exit(1) from error
