"""Lists that come page by page."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sluicegate_cli.api import Api

_PAGE: Final = 100


def pages(api: Api, path: str, *, limit: int | None, **query: str | None) -> Iterator[Mapping[str, Any]]:
    """The items of every page, `limit` at most. Raises ApiError."""
    cursor: str | None = None
    left = limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(_PAGE, left)
        page = api.get(path, **query, limit=size, cursor=cursor)
        items = page["items"][:size]
        yield from items
        cursor = page["next_cursor"]
        if not cursor:
            return
        left = None if left is None else left - len(items)
