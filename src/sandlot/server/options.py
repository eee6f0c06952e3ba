"""Everything that can be configured, with its meaning and its default."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

__all__ = ["ENVIRONMENT_PREFIX", "NetworkMode", "Options"]

ENVIRONMENT_PREFIX: Final = "SANDLOT_SERVER_"
"""What the names of environment variables with options begin with."""

NetworkMode = Literal["none", "outbound", "full"]


def _default_data_dir() -> Path:
    return Path.home() / ".local" / "share" / "sandlot"


class Options(BaseModel):
    """How a control plane is to run."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8080, ge=0, le=65535, description="Port to listen on; any free one if 0."
    )
    data_dir: Path = Field(
        default_factory=_default_data_dir,
        description="Directory of the database and of all sandboxes; `~/.local/share/sandlot` if"
        " omitted.",
    )
    database_url: str | None = Field(
        default=None,
        description="URL of the database (SQLAlchemy, async driver); SQLite in the data directory"
        " if omitted.",
        repr=False,
        exclude=True,
    )
    engine: Literal["auto", "local", "process"] = Field(
        default="auto",
        description="What keeps the sandboxes; `process` gives no isolation and is never chosen"
        " by `auto`.",
    )
    templates_dir: Path | None = Field(
        default=None,
        description="Directory of installed templates that is searched before the usual ones.",
    )
    warm: dict[str, Annotated[int, Field(ge=0, le=64)]] = Field(
        default_factory=dict[str, int],
        description="How many sandboxes of which templates to keep prepared, for example"
        " `python-jupyter=2`; those that are asked for with nothing but a template get one.",
    )
    warm_adapt: bool = Field(
        default=True,
        description="Whether to keep prepared, for some minutes, what is asked for repeatedly.",
    )
    warm_memory_mb: int = Field(
        default=1024, gt=0, description="MiB of memory that prepared sandboxes may use together."
    )
    orphan_timeout_sec: float = Field(
        default=120.0,
        ge=0,
        description="Seconds that sandboxes wait for another server on the same data directory when"
        " this one is killed; with 0 they end with it.",
    )
    keep_sandboxes: bool = Field(
        default=False,
        description="At an orderly end too, leave the sandboxes to the next server for that long.",
    )
    networks: list[NetworkMode] = Field(
        default=["none", "outbound"],
        description="Network modes that sandboxes may be given, where they work: `none`;"
        " `outbound`, the internet; `full`, ALL THAT THIS MACHINE CAN REACH, itself included.",
    )
    outbound_allow: list[IPv4Network | IPv6Network] = Field(
        default_factory=list[IPv4Network | IPv6Network],
        description="Networks besides the internet that `outbound` may reach, for example"
        " `10.1.0.0/16`. This machine's own addresses have to be named one by one.",
    )
    channels_allow: list[IPv4Network | IPv6Network] = Field(
        default_factory=list[IPv4Network | IPv6Network],
        description="Networks besides the internet that notification channels may send to, for"
        " example `10.1.2.0/24`.",
    )
    channels_attempts: int = Field(
        default=6, ge=1, le=20, description="How often a notification is tried to be delivered."
    )
    channels_first_wait_sec: float = Field(
        default=10.0,
        gt=0,
        description="Seconds between the first and the second try; each wait is thrice the last.",
    )
    channels_timeout_sec: float = Field(
        default=10.0, gt=0, le=60, description="Seconds that a receiver of notifications may take."
    )
    builds_timeout_sec: float = Field(
        default=3600.0, gt=0, description="Seconds that the build of a template may take."
    )
    host_timeout_sec: float = Field(
        default=90.0,
        ge=1,
        description="Seconds without a heartbeat after which a host is unreachable; this server"
        " sends its own three times in that.",
    )
    max_build_archive_bytes: int = Field(
        default=100 << 20, gt=0, description="Largest archive that may come with a recipe."
    )
    disk_reserve_mb: int = Field(
        default=512, ge=0, description="MiB of the disk that sandboxes must leave free."
    )
    ephemeral: bool = Field(default=False, description="Remove the data directory at the end.")
    auth: Literal["api-key", "none"] = Field(
        default="api-key",
        description="Whether requests need an API key; `none` only on a loopback address.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="An API key to accept; if there is none at all, one is made at the first"
        " start. Better given by the environment: command lines can be read by others.",
    )
    api_key_scopes: Literal["sandboxes", "all"] = Field(
        default="sandboxes",
        description="What that key may be used for; with `all` it is as good as an account that"
        " owns the team and administers the platform.",
    )
    signup: Literal["first", "open", "closed"] = Field(
        default="first",
        description="Who may sign up: only the very first user, who administers the platform from"
        " then on; everybody; or nobody. Administrators can always make users.",
    )
    jwt_secret: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="What tokens are signed with; made at the first start, in the data directory,"
        " if omitted. Better given by the environment.",
    )
    audit_days: int = Field(
        default=90, ge=1, le=36500, description="Days for which the audit log is kept."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severity of what is logged."
    )
    max_json_bytes: int = Field(default=16 << 20, gt=0, description="Largest JSON body.")
    max_output_bytes: int = Field(
        default=10 << 20,
        ge=0,
        description="Bytes that exec keeps of each stream unless asked for another number.",
    )
    max_buffered_upload_bytes: int = Field(
        default=100 << 20, gt=0, description="Largest body of files/write."
    )
    port_connect_timeout: float = Field(
        default=10.0,
        gt=0,
        description="Seconds that a program in a sandbox may take to accept a connection.",
    )
    port_answer_timeout: float = Field(
        default=600.0,
        gt=0,
        description="Seconds that a program in a sandbox may take to begin its answer once a"
        " request stands still.",
    )

    @property
    def orphan_timeout(self) -> float:
        """Seconds that sandboxes wait for the next server; 0 where nothing is to be left behind."""
        return 0.0 if self.ephemeral else self.orphan_timeout_sec

    @property
    def database(self) -> str | None:
        """URL of the database; None where nothing is to be left behind."""
        if self.ephemeral and self.database_url is None:
            return None
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir / 'sandlot.db'}"

    @property
    def key_file(self) -> Path:
        """Where a key that was made at the first start is found."""
        return self.data_dir / "api-key"

    @property
    def server_id_file(self) -> Path:
        """Where it is kept what this server's hosts are recognised by in its next life."""
        return self.data_dir / "server-id"

    @property
    def token_secret_file(self) -> Path:
        """Where the secret that tokens are signed with is kept."""
        return self.data_dir / "token-secret"

    @model_validator(mode="after")
    def _refuse_open_doors(self) -> Self:
        if self.auth == "none" and not _is_loopback(self.host):
            raise ValueError(
                f"refusing to listen on {self.host} without authentication:"
                " drop --auth none, or listen on 127.0.0.1"
            )
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name may mean any address
