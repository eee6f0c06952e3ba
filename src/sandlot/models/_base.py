"""What all models of the contract have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

__all__ = ["Model"]

_SECRETS = frozenset(
    {"config", "key", "password", "refresh_token", "registration_token", "secret", "token"}
)
"""Fields that are not shown, so that they do not end up in logs and notebooks."""


class Model(BaseModel):
    """Base of the contract's models.

    Fields that this version does not know are kept, so that nothing a newer server says is lost.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="allow", defer_build=True, populate_by_name=True
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, "***" if name in _SECRETS and value is not None else value

    def to_dict(self) -> dict[str, Any]:
        """Return the form that travels over the wire: absent fields are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
