"""The port proxy: what is addressed to a port of a sandbox is passed on to whatever listens there.

`addresses` knows the names of ports, `headers` what of a message is passed on, `connections` and
`pool` speak HTTP with the programs in sandboxes, `exchange` is one request with its answer, and
`tunnel` moves the bytes of a WebSocket. `ports` puts them together.
"""

from .client import is_for_port
from .exchange import CutError
from .headers import MARK
from .ports import PortMiddleware, PortProxy

__all__ = ["MARK", "CutError", "PortMiddleware", "PortProxy", "is_for_port"]
