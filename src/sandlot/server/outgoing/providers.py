"""What each provider of notifications needs to know, and what is wrong with what it was told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sandlot.server.texts import is_printable, is_word

from .failures import BadConfigError
from .targets import Targets
from .urls import parse_url

__all__ = ["PROVIDERS", "WEBHOOK", "Provider", "check_config"]

WEBHOOK: Final = "webhook"
_LONGEST_VALUE = 2048
_SHORTEST_SECRET = 16


@dataclass(frozen=True, slots=True)
class Provider:
    """What the configuration of a provider consists of.

    Attributes:
        urls: Which of its fields are URLs.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


_BY_URL = Provider(("webhook_url",), urls=("webhook_url",))

PROVIDERS: Final[Mapping[str, Provider]] = {
    "discord": _BY_URL,
    "slack": _BY_URL,
    "teams": _BY_URL,
    "googlechat": _BY_URL,
    "telegram": Provider(("bot_token", "chat_id")),
    "matrix": Provider(("homeserver_url", "access_token", "room_id"), urls=("homeserver_url",)),
    WEBHOOK: Provider(("url",), ("secret",), urls=("url",)),
}


def check_config(provider: str, config: Mapping[str, str], targets: Targets) -> None:
    """Check a configuration as far as that is possible without asking anybody.

    Raises:
        BadConfigError: It makes no sense. The message names fields, and never quotes values.
    """
    needs = PROVIDERS[provider]
    if not config.keys() <= {*needs.required, *needs.optional}:
        known = ", ".join((*needs.required, *needs.optional))
        raise BadConfigError(f"config: {provider} takes nothing but {known}.")
    for name in needs.required:
        if not config.get(name):
            raise BadConfigError(f"config.{name}: is required for {provider}.")
    for name, value in config.items():
        if len(value) > _LONGEST_VALUE:
            raise BadConfigError(f"config.{name}: is longer than {_LONGEST_VALUE} characters.")
        ends_well = not value or (is_word(value[0]) and is_word(value[-1]))
        if not ends_well or not is_printable(value):
            raise BadConfigError(f"config.{name}: must be printable, without blanks around it.")
    for name in needs.urls:
        try:
            address = parse_url(config[name]).address
        except BadConfigError as error:
            raise BadConfigError(f"config.{name}: {error}.") from error
        if address is not None and not targets.permits(address):
            raise BadConfigError(
                f"config.{name}: is not an address that this server may connect to."
            )
    if len(config.get("secret", "x" * _SHORTEST_SECRET)) < _SHORTEST_SECRET:
        raise BadConfigError(f"config.secret: must have {_SHORTEST_SECRET} characters or more.")
