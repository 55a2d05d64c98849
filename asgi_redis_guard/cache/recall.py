"""Values as entries: where they stand, what is asked about them, and what the replies tell. Pure.

A value is the one variant of a resource of its own, and its namespace is a tag of it. An entry is asked about by the
text of its tags as it was last seen here, so that the reply tells in one round trip whether it still holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..core.keys import Keys, digest
from ..core.script import Operation, Replies
from ..core.steps import Ask
from ..errors import EntryUnreadable
from .codec import Codec
from .entry import Entry, total_length
from .found import Found
from .known import Recent
from .operations import INLINE, Asker, Place, begin, find, generation, is_claimed, release, replace, store
from .serializing import Serializing
from .tags import read_tags, tag_text

_VARIANT = digest(b"value")


class Spot(NamedTuple):
    """One value: its place, the digests of its tags as its caller names them, and what events call it."""

    place: Place
    tags: tuple[bytes, ...]
    namespace: str
    label: str


class Lifetime(NamedTuple):
    """How long a value is kept: seconds that it is fresh, and may be used stale, and where its maker fails."""

    ttl: float
    swr: float = 0.0
    sie: float = 0.0


def namespace_tag(namespace: str) -> str:
    """Return the tag of all values of a namespace, which no app can name by itself."""
    return f"namespace\n{namespace}"


class Recall:
    """What one `Cache` asks about values, and what its process remembers of them."""

    __slots__ = ("_asks", "_texts", "codec", "keys", "serializing")

    def __init__(self, keys: Keys, codec: Codec, serializing: Serializing, most: int = 8192) -> None:
        self.keys = keys
        self.codec = codec
        self.serializing = serializing
        #: The tags' text of an entry, by its key.
        self._texts: Recent[bytes, bytes] = Recent(most)
        #: What was asked last about an entry, and by what.
        self._asks: Recent[bytes, tuple[tuple[bytes, tuple[bytes, ...], bytes], Ask]] = Recent(most)

    def spot(self, namespace: str, parts: Sequence[str | bytes], tags: Iterable[str], label: str) -> Spot:
        """Return where a value stands that goes by `parts`."""
        place = Place.of(self.keys, digest(b"value\n", namespace, *parts), _VARIANT)
        named = {self.keys.tag(name)[-20:] for name in (namespace_tag(namespace), *tags)}
        return Spot(place, tuple(sorted(named)), namespace, label)

    # Looking.

    def questions(self, spot: Spot, token: bytes, beta: int) -> Ask:
        """Return what finds a value, and takes its fill where it is to be made; about the tags that it asks for."""
        place = spot.place
        text = self._texts.get(place.entry) or b"".join([b"%b=;" % tag for tag in spot.tags])
        made = self._asks.get(place.entry)
        if made is not None and made[0] == (text, spot.tags, token):  # of a hit, the same as before
            return made[1]
        recorded = {pair[:20]: pair[21:] for pair in text.split(b";") if pair}
        expected = {tag: recorded.get(tag, b"") for tag in sorted({*recorded, *spot.tags})}
        operations = [find(place, b"", text, Asker(token, 1, beta))]
        operations += [generation(self.keys.tag_of(tag), stamp) for tag, stamp in expected.items()]
        ask = Ask(operations, about=list(expected))
        self._asks.put(place.entry, ((text, spot.tags, token), ask))
        return ask

    def found(self, spot: Spot, token: bytes, replies: Replies) -> tuple[Found, bytes]:
        """Return what `questions` has told, without the entry, and as much of that as has come."""
        looked, *stamps = replies
        mark, data, free, need = looked.values
        clock = replies.clock
        tags = {tag: stamp.values[0] for tag, stamp in zip(replies.ask.about, stamps, strict=True)}
        changed = not all(stamp.passed for stamp in stamps)
        found = Found(
            spot.place,
            b"",
            mark[:33] if mark else b"%016d.%016d" % (clock, clock),
            tags,
            clock,
            token,
            claimed=is_claimed(free, need, changed),
        )
        if b"" in tags.values():  # one of the tags is gone, and with it all that it was recorded for
            self._texts.drop(spot.place.entry)
            return found._replace(again=True, claimed=False), b""
        return found, data or b""

    def is_cut(self, data: bytes) -> bool:
        """Tell whether that is the beginning of a longer entry; raises `EntryUnreadable`."""
        return len(data) >= INLINE and total_length(data) > len(data)

    def examined(self, found: Found, data: bytes) -> Found:
        """Return what was found with its entry, where that was not invalidated."""
        try:
            entry = self.codec.decode(found.place.entry, data)
            recorded = dict(read_tags(entry.tags))
        except (EntryUnreadable, ValueError):
            self._texts.drop(found.place.entry)
            return found._replace(alone=True)  # it is made anew, whoever else is at it
        is_news = self._texts.get(found.place.entry) != entry.tags
        self._texts.put(found.place.entry, entry.tags)
        if not recorded.keys() <= found.tags.keys():
            return found._replace(again=not found.claimed)
        state = _state(entry, found.generation, found.tags, recorded)
        if state == "gone":
            return found._replace(again=is_news and not found.claimed)
        return found._replace(entry=entry, soft=state == "soft")

    # Reading without writing.

    def wanted(self, spot: Spot) -> list[bytes]:
        """Return the keys that tell a value: its mark, its entry, and those of its tags."""
        text = self._texts.get(spot.place.entry) or b""
        tags = {*spot.tags, *(pair[:20] for pair in text.split(b";") if pair)}
        return [spot.place.mark, spot.place.entry, *map(self.keys.tag_of, sorted(tags))]

    def read(self, spot: Spot, told: Mapping[bytes, Any], clock: int) -> Entry | bool | None:
        """Return a fresh entry of what `wanted` has brought; None if there is none, True to ask again."""
        place = spot.place
        mark, data = told[place.mark], told[place.entry]
        if not mark or not data:
            return None
        try:
            entry = self.codec.decode(place.entry, data)
            recorded = dict(read_tags(entry.tags))
        except (EntryUnreadable, ValueError):
            return None
        keys = {tag: self.keys.tag_of(tag) for tag in recorded}
        if not told.keys() >= set(keys.values()):
            self._texts.put(place.entry, entry.tags)
            return True
        stamps = {tag: (told[key] or b"")[:33] for tag, key in keys.items()}
        state = _state(entry, mark[:33], stamps, recorded)
        return entry if state == "valid" and clock < entry.fresh_until else None

    # Storing.

    def entry(self, found: Found, value: Any, lifetime: Lifetime, factor: float, took: float) -> Entry:
        """Return the entry of a value that was made in `took` seconds after it was looked up; `factor` is its jitter.

        Raises TypeError or ValueError for what cannot be kept.
        """
        fields, body = self.serializing.dump(value)
        born = found.clock + round(took * 1e6)
        fresh = born + max(1, round(lifetime.ttl * factor * 1e6))
        return Entry(
            began=found.clock,
            fresh_until=fresh,
            delta=round(took * 1e6),
            generation=found.generation,
            tags=b"",
            born=born,
            stale_until=fresh + round(lifetime.swr * 1e6),
            error_until=fresh + round(lifetime.sie * 1e6),
            status=200,
            headers=fields,
            body=body,
        )

    def storing(self, spot: Spot, found: Found, entry: Entry) -> tuple[int, list[Operation]]:
        """Return what stores an entry unless what it was made of was invalidated; and the store's place among that.

        Raises `EntryRefused`.
        """
        stamps = {tag: found.tags[tag] for tag in spot.tags}
        entry.tags = tag_text(stamps.items())
        last = max(entry.fresh_until, entry.stale_until, entry.error_until)
        life = max(1, (last - entry.born) // 1000)
        operations = [generation(self.keys.tag_of(tag), stamp, life) for tag, stamp in stamps.items()]
        value = self.codec.encode(spot.place.entry, entry)
        operations.append(store(spot.place, found.generation, b"", b"", entry.began, value, life))
        if found.claimed:
            operations.append(release(self.keys, spot.place, found.token))
        return len(stamps), operations

    def stored(self, spot: Spot, entry: Entry) -> None:
        """Remember what was stored."""
        self._texts.put(spot.place.entry, entry.tags)

    def beginnings(self, spot: Spot) -> list[Operation]:
        """Return what tells, and begins where there are none, the generations that a value is set under."""
        return [begin(spot.place), *(generation(self.keys.tag_of(tag), b"") for tag in spot.tags)]

    def begun(self, spot: Spot, replies: Replies) -> Found:
        """Return them as what was found."""
        mark, *stamps = [reply.values[0] for reply in replies]
        return Found(spot.place, b"", mark, dict(zip(spot.tags, stamps, strict=True)), replies.clock, b"")

    def replacing(self, spot: Spot, before: Found) -> list[Operation]:
        """Return what empties a value's place, and tells whether it or a tag was invalidated since `before`."""
        tags = [generation(self.keys.tag_of(tag), stamp) for tag, stamp in before.tags.items()]
        return [*replace(spot.place, before.generation), *tags]

    def replaced(self, before: Found, replies: Replies) -> Found | None:
        """Return what the new value is stored under; None where something was invalidated."""
        (generation, same), *_ = [reply.values for reply in replies][:1]
        return before._replace(generation=generation, clock=replies.clock) if same and replies.passed else None


def _state(entry: Entry, mark: bytes, tags: Mapping[bytes, bytes], recorded: Mapping[bytes, bytes]) -> str:
    """Tell whether an entry is `valid`, `soft` (purged softly) or `gone`, by the generations as they are now."""
    pairs = [(entry.generation, mark), *((stamp, tags[tag]) for tag, stamp in recorded.items())]
    if any(was[:16] != now[:16] for was, now in pairs):
        return "gone"
    return "soft" if any(was != now for was, now in pairs) else "valid"
