"""Stored responses to bytes and back: raw status, fields and body in one value, never pickle. Pure.

Behind the prefix and the tags (`entry.py`) stand, big-endian, a fixed part (`FIXED`), the block of fields (names and
values in turn, with NUL between them: neither can hold one), with a key the SHA-256 of what is stored as the body and
an HMAC-SHA256 over the Redis key and all before it, and last the body, as it is or in zstd. So the head is reliable
without the body. Whatever is read is bounded first: what somebody else has put there raises `EntryUnreadable`, fast.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from itertools import chain
from struct import error as StructError

from ..core.asgi import Headers
from ..errors import ConfigurationError, EntryRefused, EntryUnreadable
from .compression import MOST_COMPRESSED, Compression, is_available, is_worth_trying
from .entry import FIXED, MOST_TAGS, PREFIX, PREFIX_SIZE, TAG_SIZE, Entry, prefix_of

_ZSTD = 16
_SIGNED = 32
#: must_validate, never_stale, private and heuristic for the flags of an entry.
_FLAGS = [(bool(n & 1), bool(n & 2), bool(n & 4), bool(n & 8)) for n in range(64)]
#: Bytes of the body's hash and of the HMAC.
_SIGNATURE = 64
_LONGEST_TAGS = MOST_TAGS * TAG_SIZE
_LONGEST_BLOCK = 0xFFFF
#: A secret may serve other ends as well.
_PURPOSE = b"asgi_redis_guard cache entry:"

#: Fields as a server would send them (RFC 9110 §5.1, §5.5), lower-case; each value ends with a NUL here.
_FIELDS = re.compile(rb"(?:[!#$%&'*+\-.^_`|~0-9a-z]+\0[^\0\r\n]*\0)*")


class Codec:
    """Encodes and decodes entries.

    With `key` (16 bytes or more) every entry carries an HMAC over its Redis key and itself, and one without a right
    HMAC is unreadable; without `key`, one with an HMAC is. Bodies of `compress_from` bytes (None: never) to 1 MiB are
    compressed with zstd at `level` (1 to 9) if the package `zstandard` is installed, the response is not encoded or of
    a compressed type, and it saves a tenth. Larger ones are not: it would hold up the event loop for more than some ms.
    `max_body` bounds bodies that are read, uncompressed, and written. Raises `ConfigurationError`.
    """

    __slots__ = ("_compression", "_key", "compress_from", "max_body")

    def __init__(
        self,
        key: bytes | None = None,
        compress_from: int | None = 8192,
        level: int = 3,
        max_body: int = 16 << 20,
    ) -> None:
        ConfigurationError.raise_for(_faults(key, compress_from, level, max_body))
        self._key = key
        self._compression = Compression(level)
        #: None where nothing is compressed.
        self.compress_from = compress_from if is_available() else None
        self.max_body = max_body

    def encode(self, redis_key: bytes, entry: Entry) -> bytes:
        """Return what is to be stored under `redis_key`; raises `EntryRefused`."""
        if not entry.whole or len(entry.body) > self.max_body:
            raise EntryRefused(f"a body of {len(entry.body)} bytes; allowed are whole ones up to {self.max_body}")
        if not 200 <= entry.status <= 999:
            raise EntryRefused(f"status {entry.status}; allowed are final ones")
        prefix = prefix_of(b"1", entry.began, entry.fresh_until, entry.delta, entry.generation, entry.tags)
        block = _block_of(entry.headers)
        stored, flags = entry.body, entry.must_validate | entry.never_stale << 1 | entry.private << 2
        if (packed := self._packed(entry)) is not None:
            stored, flags = packed, flags | _ZSTD
        flags |= entry.heuristic << 3
        total = len(prefix) + FIXED.size + len(block) + len(stored)
        if self._key is not None:
            flags, total = flags | _SIGNED, total + _SIGNATURE
        times = entry.born, entry.stale_until, entry.error_until
        try:
            fixed = FIXED.pack(total, *times, entry.status, flags, len(entry.headers), len(block), len(entry.body))
        except StructError as error:
            raise EntryRefused(f"an entry with numbers that do not fit: {error}") from None
        if self._key is None:
            return b"".join((prefix, fixed, block, stored))
        head = b"".join((prefix, fixed, block, sha256(stored).digest()))
        return b"".join((head, _signature(self._key, redis_key, head), stored))

    def decode(self, redis_key: bytes, data: bytes) -> Entry:
        """Return the entry that stands in `data` under `redis_key`; raises `EntryUnreadable`."""
        read = self._read(redis_key, data)
        if read is None:
            raise EntryUnreadable("a cache entry that is cut short")
        entry, total, flags, start, size = read
        if total != len(data):
            raise EntryUnreadable("a cache entry of another length")
        stored = data[start:]
        if flags & _SIGNED and not hmac.compare_digest(sha256(stored).digest(), data[start - 64 : start - 32]):
            raise EntryUnreadable("a cache entry with another body")
        if flags & _ZSTD:
            try:
                stored = self._compression.unpack(stored, size)
            except ValueError as error:
                raise EntryUnreadable(f"a cache entry with {error}") from None
        elif len(stored) != size:
            raise EntryUnreadable("a cache entry with a body of another length")
        entry.body = stored
        entry.whole = True
        return entry

    def decode_head(self, redis_key: bytes, data: bytes) -> Entry | None:
        """Return the entry without its body, from the beginning of what is stored; None if all the fields need more.

        Raises `EntryUnreadable`. With a key it is as reliable as the whole.
        """
        read = self._read(redis_key, data)
        return None if read is None else read[0]

    def _read(self, redis_key: bytes, data: bytes) -> tuple[Entry, int, int, int, int] | None:
        """Return the entry without its body, total length, flags, the body's place, its length when unpacked."""
        try:
            version, began, fresh, delta, generation, count = PREFIX.unpack_from(data)
            tagged = int(count)
            fixed = FIXED.unpack_from(data, PREFIX_SIZE + tagged)
        except (StructError, ValueError):
            raise EntryUnreadable("no cache entry, or one that is cut short") from None
        total, born, stale, error, status, flags, fields, length, size = fixed
        if version != b"1" or not data[1:43].isdigit() or not count.isdigit() or tagged > _LONGEST_TAGS:
            raise EntryUnreadable("no cache entry, or one of another version")
        if flags > 63 or not 200 <= status <= 999 or size > self.max_body or generation[16] != 46:
            raise EntryUnreadable("a cache entry that is damaged")
        at = PREFIX_SIZE + tagged + FIXED.size
        start = at + length + (_SIGNATURE if flags & _SIGNED else 0)
        if start > total or total > start + self.max_body:
            raise EntryUnreadable("a cache entry of another length")
        if len(data) < start:
            return None
        self._verify(redis_key, data, flags, start)
        must, never, private, heuristic = _FLAGS[flags]
        entry = Entry(
            int(began), int(fresh), int(delta), generation, data[PREFIX_SIZE : PREFIX_SIZE + tagged],
            born, stale, error, status, _headers_of(data[at : at + length], fields), b"",
            must, never, private, heuristic, False,
        )  # fmt: skip
        return entry, total, flags, start, size

    def _verify(self, redis_key: bytes, data: bytes, flags: int, start: int) -> None:
        if self._key is None:
            if flags & _SIGNED:
                raise EntryUnreadable("a cache entry with an HMAC, and no key is configured")
            return
        if not flags & _SIGNED:
            raise EntryUnreadable("a cache entry without an HMAC")
        if not hmac.compare_digest(_signature(self._key, redis_key, data[: start - 32]), data[start - 32 : start]):
            raise EntryUnreadable("a cache entry with a wrong HMAC")

    def _packed(self, entry: Entry) -> bytes | None:
        """Return the body in zstd if that is allowed and worth it."""
        if self.compress_from is None or not self.compress_from <= len(entry.body) <= MOST_COMPRESSED:
            return None
        return self._compression.pack(entry.body) if is_worth_trying(entry.headers) else None

    def __repr__(self) -> str:
        signed = "signed" if self._key is not None else "not signed"
        packed = "not compressed" if self.compress_from is None else f"compressed from {self.compress_from} bytes"
        return f"<Codec {signed}, {packed}>"


def _block_of(headers: Headers) -> bytes:
    """Return names and values in turn with NUL between them; `EntryRefused` for what no server would send."""
    if not headers:
        return b""
    block = b"\0".join(chain.from_iterable(headers))
    if len(block) > _LONGEST_BLOCK:
        raise EntryRefused(f"{len(block)} bytes of fields; allowed are {_LONGEST_BLOCK}")
    if block.count(b"\0") != 2 * len(headers) - 1 or not _FIELDS.fullmatch(block + b"\0"):
        raise EntryRefused("a field that cannot be sent: a name that is no lower-case token, or a line break or NUL")
    return block


def _headers_of(block: bytes, fields: int) -> Headers:
    """Return the pairs of a block; what an own writer would have refused is not read either."""
    pieces = block.split(b"\0") if block else []
    names = pieces[::2]
    if len(pieces) != 2 * fields or b"\n" in block or b"\r" in block or b"" in names:
        raise EntryUnreadable("a cache entry with damaged fields")
    return list(zip(names, pieces[1::2], strict=True))


def _signature(key: bytes, redis_key: bytes, head: bytes) -> bytes:
    return hmac.digest(key, b"%b%d:%b%b" % (_PURPOSE, len(redis_key), redis_key, head), "sha256")


def _faults(key: object, compress_from: object, level: object, max_body: object) -> list[str]:
    faults = []
    if key is not None and not (isinstance(key, bytes) and len(key) >= 16):
        faults.append("key: given is not 16 or more bytes; allowed are those, and None for no HMAC")
    if compress_from is not None and not _is_size(compress_from):
        faults.append(f"compress_from: {compress_from!r} given; allowed are bytes from 0, and None for never")
    if not isinstance(level, int) or isinstance(level, bool) or not 1 <= level <= 9:
        faults.append(f"level: {level!r} given; allowed is 1 to 9")
    if not _is_size(max_body):
        faults.append(f"max_body: {max_body!r} given; allowed are bytes from 0 to 512 MiB")
    return faults


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 512 << 20
