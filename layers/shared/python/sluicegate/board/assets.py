"""The board's files for browsers: named by their content, so that a browser may keep them for ever."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final

from sluicegate.board.responses import BoardResponse

KINDS: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""The files that there are, by suffix, and their types."""


@dataclass(frozen=True)
class Asset:
    """A file. `name` has a part of the content's SHA-256: other content has another address."""

    name: str
    content_type: str
    body: bytes

    @cached_property
    def packed(self) -> bytes:
        """The content in gzip, the same bytes each time."""
        return gzip.compress(self.body, mtime=0)


class Assets:
    """The files of a directory."""

    def __init__(self, directory: Path) -> None:
        self._by_file = {
            file.name: _asset(file) for file in sorted(directory.iterdir()) if file.suffix in KINDS
        }
        self._by_name = {asset.name: asset for asset in self._by_file.values()}

    def name(self, file: str) -> str:
        """Return the name that a page asks for. Raises KeyError where there is no such file."""
        return self._by_file[file].name

    def respond(self, name: str, *, gzipped: bool) -> BoardResponse | None:
        """Return the file, which never changes under this name; None for any other name."""
        asset = self._by_name.get(name)
        if asset is None:
            return None
        headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
        if gzipped:
            headers["Content-Encoding"] = "gzip"
        return BoardResponse(200, asset.packed if gzipped else asset.body, asset.content_type, headers)


def _asset(file: Path) -> Asset:
    body = file.read_bytes()
    name, _, suffix = file.name.rpartition(".")
    return Asset(f"{name}.{sha256(body).hexdigest()[:16]}.{suffix}", KINDS[file.suffix], body)
