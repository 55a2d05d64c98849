"""A stored response, and the first bytes of what is kept of it, which Lua and Python both read. Pure.

Every value under a variant's key begins with 80 ASCII characters; their places (from 1, as `string.sub` counts) are a
contract between this file and the cache's Lua:

    1       `1`: an entry; `P`: hit-for-miss, of which nothing but these 80 counts. Anything else is unreadable
    2-17    began: the server's µs when the request that filled it was looked up
    18-33   fresh_until: the server's µs up to which it is fresh, or up to which requests pass it
    34-43   delta: the µs that the fill took
    44-76   the generation of the resource as it was before the fill, `hhhhhhhhhhhhhhhh.ssssssssssssssss`
    77-80   the number of bytes of the tags' text that follows: `<digest, 20>=<generation, 33>;` for each, sorted

Behind the tags comes what only Python reads (`codec.py`). `MOST_TAGS` keeps its fixed part, which says how long all of
it is, within the first 8 KB.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import Struct
from struct import error as StructError

from ..core.asgi import Headers
from ..errors import EntryRefused, EntryUnreadable

#: Length of the part that Lua reads, without the tags.
PREFIX_SIZE = 80

#: Tags of one entry.
MOST_TAGS = 128

#: Bytes of one tag in the tags' text.
TAG_SIZE = 55

#: version, began, fresh_until, delta, generation, length of the tags' text
PREFIX = Struct(">c16s16s10s33s4s")

#: total length, born, stale_until, error_until, status, flags, number of fields, length of their block, of the body
FIXED = Struct(">IqqqHBHHI")

_GENERATION = re.compile(rb"\d{16}\.\d{16}")
_TAGS = re.compile(rb"(?:[A-Za-z0-9+/]{20}=\d{16}\.\d{16};)*")
_LATEST = 10**16 - 1
_LONGEST = 10**10 - 1


@dataclass(slots=True)
class Entry:
    """A response as it is kept. Requests share it: nobody changes it or its list of fields once it is decoded.

    `began`, `fresh_until`, `born` (when its age was 0; negative where a received age was absurd), `stale_until`
    (the end of stale-while-revalidate) and `error_until` (that of stale-if-error) are µs of the server's clock, `delta`
    is µs. `tags` is their text, as it stands in Redis. `must_validate`: every use needs validation. `never_stale`: not
    to be used stale. `private`: the outside is told so. `heuristic`: its freshness is a guess. `whole` is False for
    what `Codec.decode_head` gives, which has no body.
    """

    began: int
    fresh_until: int
    delta: int
    generation: bytes
    tags: bytes
    born: int
    stale_until: int
    error_until: int
    status: int
    headers: Headers
    body: bytes = b""
    must_validate: bool = False
    never_stale: bool = False
    private: bool = False
    heuristic: bool = False
    whole: bool = True


def encode_pass(fresh_until: int, began: int, generation: bytes) -> bytes:
    """Return a mark that requests for this variant are not to wait for each other until `fresh_until`: hit-for-miss."""
    return prefix_of(b"P", began, fresh_until, 0, generation, b"")


def prefix_of(version: bytes, began: int, fresh_until: int, delta: int, generation: bytes, tags: bytes) -> bytes:
    """Return the part that Lua reads, with the tags' text; `EntryRefused` for what does not fit into it.

    A time that is out of bounds is taken for the bound; a stamp cannot be.
    """
    if not 0 <= began <= _LATEST:
        raise EntryRefused(f"began: {began} given; allowed are 16 digits")
    if not _GENERATION.fullmatch(generation):
        raise EntryRefused(f"generation: {generation!r} given; allowed are two stamps of 16 digits")
    if tags and (len(tags) > MOST_TAGS * TAG_SIZE or not _TAGS.fullmatch(tags)):
        raise EntryRefused(f"tags: {len(tags)} bytes given; allowed are up to {MOST_TAGS} digests with generations")
    fresh = fresh_until if 0 <= fresh_until <= _LATEST else 0 if fresh_until < 0 else _LATEST
    took = delta if 0 <= delta <= _LONGEST else 0 if delta < 0 else _LONGEST
    return b"%b%016d%016d%010d%b%04d%b" % (version, began, fresh, took, generation, len(tags), tags)


def is_pass(data: bytes) -> bool:
    """Tell whether it is hit-for-miss, with times that are numbers; whether it still holds is not asked here."""
    return data[:1] == b"P" and len(data) >= PREFIX_SIZE and data[1:43].isdigit()


def total_length(data: bytes) -> int:
    """Return how long the whole value is, told by its first 8 KB; raises `EntryUnreadable`."""
    if is_pass(data):
        return PREFIX_SIZE
    count = data[76:PREFIX_SIZE]
    if data[:1] != b"1" or not count.isdigit():
        raise EntryUnreadable("no cache entry, or one of another version")
    try:
        length: int = FIXED.unpack_from(data, PREFIX_SIZE + int(count))[0]
    except StructError:
        raise EntryUnreadable("a cache entry that is cut short") from None
    return length


def identity(data: bytes) -> bytes:
    """Return what tells two values stored under one key apart: all of the prefix; raises `EntryUnreadable`.

    The server's µs of the request that filled it, when it ends, how long that took, and the generation: two fills
    have all of these in common only if they may stand for each other.
    """
    if len(data) < PREFIX_SIZE:
        raise EntryUnreadable("a cache entry that is cut short")
    return data[:PREFIX_SIZE]


def head_of(entry: Entry) -> bytes:
    """Return the part of a stored entry that Lua reads, with its tags: what tells it from every other one."""
    version = b"1"
    return prefix_of(version, entry.began, entry.fresh_until, entry.delta, entry.generation, entry.tags)
