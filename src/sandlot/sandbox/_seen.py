"""What is known about a sandbox without asking."""

from __future__ import annotations

from collections.abc import Mapping

from .. import models
from ..errors import SandboxDestroyedError


class Seen:
    """A sandbox as last seen.

    Attributes:
        id: Its id.
        info: All that the server said about it.
    """

    id: str
    info: models.SandboxInfo

    def __init__(self, info: models.SandboxInfo, *, owned: bool) -> None:
        self.id = info.id
        self.info = info
        self._owned = owned
        self._destroyed = False

    @property
    def name(self) -> str | None:
        """Name given at creation."""
        return self.info.name

    @property
    def status(self) -> str:
        """State as last seen, such as `running`."""
        return self.info.status

    @property
    def template(self) -> str:
        """What it started from."""
        return self.info.template

    @property
    def metadata(self) -> Mapping[str, str]:
        """Labels given at creation."""
        return self.info.metadata or {}

    @property
    def isolation(self) -> models.Isolation | None:
        """What is enforced for it; None if the server does not say, as original ones do not."""
        return self.info.isolation

    @property
    def is_destroyed(self) -> bool:
        """Whether it was destroyed by means of this object."""
        return self._destroyed

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status}>"

    def _repr_html_(self) -> str:
        from ._showing import table  # needed in notebooks only

        return table([self.info])

    def _use(self) -> str:
        if self._destroyed:
            raise SandboxDestroyedError(
                f"Sandbox {self.id} was destroyed; create another", status="stopped"
            )
        return self.id

    def _see(self, info: models.SandboxInfo) -> models.SandboxInfo:
        self.info = info
        return info

    def _forget(self) -> None:
        self._destroyed = True
        _ = self._see(self.info.model_copy(update={"status": "stopped"}))

    def _is_to_be_destroyed(self) -> bool:
        return self._owned and not self._destroyed
