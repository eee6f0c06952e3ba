"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from typing import Generic, TypeAlias, TypeVar

from ..sandbox._seen import Seen

__all__ = ["AsyncPage", "AsyncPageRequest", "Page"]

T = TypeVar("T")
Fetched: TypeAlias = tuple[Sequence[T], str | None]


class Page(Generic[T]):
    """One page of a list; iterate over it for everything from here to the end of the list.

    Attributes:
        items: What is on this page.
        next_cursor: Where the next page begins; None on the last one.
    """

    def __init__(self, fetched: Fetched[T], fetch: Callable[[str], Page[T]]) -> None:
        self.items: Sequence[T] = fetched[0]
        self.next_cursor: str | None = fetched[1]
        self._fetch = fetch

    def pages(self) -> Iterator[Page[T]]:
        """Walk from this page to the last, fetching each when its turn comes."""
        page = self
        yield page
        while page.next_cursor is not None:
            page = page._fetch(page.next_cursor)
            yield page

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.items

    def __repr__(self) -> str:
        return f"<Page of {len(self.items)} items, next_cursor={self.next_cursor!r}>"

    def _repr_html_(self) -> str | None:
        return _html(self.items)


class AsyncPage(Generic[T]):
    """One page of a list; iterate over it for everything from here to the end of the list.

    Attributes:
        items: What is on this page.
        next_cursor: Where the next page begins; None on the last one.
    """

    def __init__(
        self, fetched: Fetched[T], fetch: Callable[[str], Awaitable[AsyncPage[T]]]
    ) -> None:
        self.items: Sequence[T] = fetched[0]
        self.next_cursor: str | None = fetched[1]
        self._fetch = fetch

    async def pages(self) -> AsyncIterator[AsyncPage[T]]:
        """Walk from this page to the last, fetching each when its turn comes."""
        page = self
        yield page
        while page.next_cursor is not None:
            page = await page._fetch(page.next_cursor)
            yield page

    async def __aiter__(self) -> AsyncIterator[T]:
        async for page in self.pages():
            for item in page.items:
                yield item

    def __repr__(self) -> str:
        return f"<AsyncPage of {len(self.items)} items, next_cursor={self.next_cursor!r}>"

    def _repr_html_(self) -> str | None:
        return _html(self.items)


class AsyncPageRequest(Generic[T]):
    """A list that was asked for: await it for its first page, or iterate over all of it."""

    def __init__(self, fetch: Callable[[], Awaitable[AsyncPage[T]]]) -> None:
        self._fetch = fetch

    def __repr__(self) -> str:
        return "<AsyncPageRequest: await it, or iterate over it with async for>"

    def __await__(self) -> Generator[object, None, AsyncPage[T]]:
        return self._fetch().__await__()

    async def __aiter__(self) -> AsyncIterator[T]:
        async for item in await self:
            yield item


def _html(items: Sequence[object]) -> str | None:
    """Return what notebooks show; None for what has no better form than its text."""
    infos = [item.info for item in items if isinstance(item, Seen)]
    if not infos:
        return None
    from ..sandbox._showing import table  # needed in notebooks only

    return table(infos)
