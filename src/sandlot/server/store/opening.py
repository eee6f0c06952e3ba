"""Opening the store that a server is to use."""

from __future__ import annotations

from .base import Store

__all__ = ["open_store"]


async def open_store(url: str | None) -> Store:
    """Open the store at a URL, or one in memory.

    Only what is used is imported: a database takes longer than all the rest.

    Raises:
        StoreUnavailableError: It cannot be opened.
    """
    if url is None:
        from .memory import MemoryStore

        return MemoryStore()
    from .sql.store import SqlStore

    return await SqlStore.open(url)
