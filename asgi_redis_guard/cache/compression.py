"""Compression of cached bodies with zstd, where the optional package `zstandard` is there. Pure.

It owns the contexts, which are costly to make (9 µs) and belong to one thread at a time: an idle one is popped from a
list, which no two threads can do at once, and put back. It never gives out more bytes than it was told to expect.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..core.asgi import Headers

if TYPE_CHECKING:
    import zstandard
else:
    try:
        import zstandard
    except ImportError:
        zstandard = None

#: Larger bodies are kept as they are: 1 MiB of JSON takes 2.6 ms at level 3, and all other requests wait that long.
MOST_COMPRESSED = 1 << 20

#: Types that are compressed already. What is not listed is tried, and kept only if it saves a tenth.
_COMPRESSED = re.compile(
    rb"""(?: image/(?!svg|bmp|x-ms-bmp) | video/ | audio/ | font/woff | application/font-woff
    | application/(?: x-)?(?: zip | gzip | zstd | brotli | bzip | xz | lzma | 7z | rar | compress)
    | application/(?: vnd\.rar | vnd\.openxmlformats | vnd\.oasis | java-archive | epub | pdf)
    | [^;\s]+\+(?: zip | gzip | zstd)\b)""",
    re.IGNORECASE | re.VERBOSE,
)


def is_available() -> bool:
    """Tell whether bodies can be compressed at all."""
    return zstandard is not None


def is_worth_trying(headers: Headers) -> bool:
    """Tell whether a response's fields let expect that its body gets smaller."""
    for name, value in headers:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            return False
        if name == b"content-type" and _COMPRESSED.match(value.strip()):
            return False
    return True


class Compression:
    """Packs at `level` and unpacks; may be shared by threads."""

    __slots__ = ("_idle", "_packers", "level")

    def __init__(self, level: int) -> None:
        self.level = level
        self._packers: list[zstandard.ZstdCompressor] = []
        self._idle: list[zstandard.ZstdDecompressor] = []

    def pack(self, body: bytes) -> bytes | None:
        """Return `body` compressed, None if that saves less than a tenth."""
        try:
            packer = self._packers.pop()
        except IndexError:
            packer = zstandard.ZstdCompressor(level=self.level, write_content_size=True)
        packed = packer.compress(body)
        self._packers.append(packer)
        return packed if len(packed) * 10 <= len(body) * 9 else None

    def unpack(self, packed: bytes, size: int) -> bytes:
        """Return the `size` bytes that were packed; raises ValueError for anything else, before it takes memory."""
        if zstandard is None:
            raise ValueError("compressed, and the package zstandard is not installed")
        try:
            if zstandard.frame_content_size(packed) != size:
                raise ValueError("a compressed body of another length")
            try:
                unpacker = self._idle.pop()
            except IndexError:
                unpacker = zstandard.ZstdDecompressor()
            body = unpacker.decompress(packed, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as error:  # what it was read with is dropped
            raise ValueError(f"a damaged compressed body: {error}") from None
        self._idle.append(unpacker)
        if len(body) != size:
            raise ValueError("a compressed body of another length")
        return body
