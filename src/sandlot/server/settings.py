"""Where options come from: the command line, then the environment, then the defaults."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict

from .options import ENVIRONMENT_PREFIX, Options

__all__ = ["Settings"]


class Settings(Options, BaseSettings):
    """Run a Sandlot control plane.

    Every option can also be given as an environment variable: `SANDLOT_SERVER_PORT` for `--port`.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        extra="forbid",
        frozen=True,
        validate_default=True,
    )
