"""What the cache asks of Redis, as operations. Pure.

A resource's mark and its variants share a slot; tags lie anywhere. No operation has keys in two slots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..core.keys import Keys
from ..core.script import Operation, OperationKind

FIND = OperationKind.load(__package__, "find.lua")
GENERATION = OperationKind.load(__package__, "generation.lua")
STORE = OperationKind.load(__package__, "store.lua")
RELEASE = OperationKind.load(__package__, "release.lua")
RENEW = OperationKind.load(__package__, "renew.lua")
INVALIDATE = OperationKind.load(__package__, "invalidate.lua")
DROP = OperationKind.load(__package__, "drop.lua")
BEGIN = OperationKind.load(__package__, "begin.lua")
REPLACE = OperationKind.load(__package__, "replace.lua")

ALL = (FIND, GENERATION, STORE, RELEASE, RENEW, INVALIDATE)

#: Bytes of an entry that travel with a round; larger ones are fetched on the second lane.
INLINE = 8192

#: What stands for an entry that the caller has.
SAME = b"="

#: Seconds that a fill is another's before it must be renewed.
LEASE = 5.0

#: Milliseconds that marks and tags live at the least, so that a fill finds them when it stores; a longer one does not.
MOST_FILL = 120_000

#: The topic on which fills are told to have ended, and what was invalidated.
TOPIC = "cache"


class Place(NamedTuple):
    """Where a variant of a resource stands: the resource's digest, its own, and the three keys."""

    resource: bytes
    variant: bytes
    mark: bytes
    entry: bytes
    fill: bytes

    @classmethod
    def of(cls, keys: Keys, resource: bytes, variant: bytes) -> Place:
        """Return the place of the variant with that digest."""
        entry, fill = keys.variant(resource, variant), keys.fill(resource, variant)
        return cls(resource, variant, keys.resource(resource), entry, fill)

    @property
    def flight(self) -> tuple[str, bytes]:
        """What those who wait for its fill in this process go by."""
        return ("response", self.fill)

    @property
    def word(self) -> bytes:
        """What is said when its fill has ended."""
        return b"f" + self.resource + self.variant


class Asker(NamedTuple):
    """Who looks variants up: the token that its process's fills go by, whether it fills, and how early it refreshes.

    `fills` is 2 where what is there cannot be read. `beta` is in thousandths (XFetch); 0 is never early.
    """

    token: bytes
    fills: int
    beta: int


def find(place: Place, names: bytes, tags: bytes, asker: Asker, seen: bytes = b"") -> Operation:
    """Look a variant up, and take its fill where that is needed; `seen` is what the caller has of the entry's head."""
    args = (names, tags, asker.token, int(LEASE * 1000), MOST_FILL, int(asker.fills), asker.beta, INLINE, seen)
    return Operation(FIND, (place.mark, place.entry, place.fill), args)


def find_with(
    keys: Keys, place: Place, names: bytes, tags: Mapping[bytes, bytes], asker: Asker, seen: bytes = b""
) -> list[Operation]:
    """Look a variant up together with its tags, by their digests, and the generations that they are expected to have.

    A generation that is not known is empty.
    """
    text = b"".join([b"%b=%b;" % tag for tag in sorted(tags.items())])
    return [find(place, names, text, asker, seen), *(generation(keys.tag_of(tag), tags[tag]) for tag in tags)]


def is_claimed(free: int, need: int, changed: bool) -> bool:
    """Tell whether `find` has given its fill to an asker that fills, by its reply and whether a tag has changed."""
    return bool(free) and (need == 1 or (need == 3 and not changed) or (need == 0 and changed))


def generation(tag: bytes, expected: bytes, life: int = MOST_FILL) -> Operation:
    """Read the generation of a tag; `life` in ms."""
    return Operation(GENERATION, (tag,), (expected, life))


def release(keys: Keys, place: Place, token: bytes, idle: bytes = b"") -> Operation:
    """Give a fill back; `idle` is the generation of a mark that was made for nothing."""
    return Operation(RELEASE, (place.fill, place.mark), (token, keys.cache_channel, place.word, idle))


def renew(place: Place, token: bytes) -> Operation:
    """Keep a fill."""
    return Operation(RENEW, (place.fill,), (token, int(LEASE * 1000)))


def store(
    place: Place, stamp: bytes, names: bytes, grown: bytes, began: int, value: bytes, life: int, hints: bytes = b""
) -> Operation:
    """Store a value for `life` ms, and let the resource's variants go by `grown` from now on.

    Only where the resource still has the generation `stamp`, and goes by `names`. `hints` are the templates of its
    tags, for processes that do not know it.
    """
    return Operation(STORE, (place.mark, place.entry), (stamp, names, grown, hints, began, value, life))


def invalidate_tags(keys: Keys, tags: Iterable[str], soft: bool = False) -> list[Operation]:
    """Make everything invalid that has one of the tags, or stale with `soft`.

    First that of everything: who reads the tags' generations before that one's knows that they were from before.
    """
    named = [keys.tag(tag) for tag in dict.fromkeys(tags)]
    if not named:
        return []
    return [
        Operation(INVALIDATE, (keys.every_tag,), (0, 0, b"", b"")),
        *(Operation(INVALIDATE, (key,), (int(soft), 0, keys.cache_channel, b"t" + key[-20:])) for key in named),
    ]


def invalidate_resource(keys: Keys, resource: bytes, soft: bool = False) -> Operation:
    """Make all variants of a resource invalid, or stale with `soft`."""
    return Operation(INVALIDATE, (keys.resource(resource),), (int(soft), 0, keys.cache_channel, b"r" + resource))


def drop(place: Place) -> list[Operation]:
    """Make a resource invalid of which there is one variant, fills under way included, and free its memory."""
    return [Operation(INVALIDATE, (place.mark,), (0, 0, b"", b"")), Operation(DROP, (place.entry,), ())]


def begin(place: Place) -> Operation:
    """Read the generation of a resource of which there is one variant, and make it where there is none."""
    return Operation(BEGIN, (place.mark,), (MOST_FILL,))


def replace(place: Place, expected: bytes) -> list[Operation]:
    """Give a resource of which there is one variant a new generation, tell whether it had that one, and empty it."""
    return [Operation(REPLACE, (place.mark,), (expected, MOST_FILL)), Operation(DROP, (place.entry,), ())]
