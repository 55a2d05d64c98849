"""Looking at a resource: its mark, a variant, its tags, and the fill where that is needed, in one round. Pure."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from ..core.exchange import Exchange
from ..core.script import Replies
from ..core.steps import Ask, Step, Wait
from ..errors import EntryUnreadable, WaitTimeout
from .entry import Entry, identity, is_pass, total_length
from .found import Found
from .operations import INLINE, SAME, Place, find, generation
from .tags import read_hints, read_tags

if TYPE_CHECKING:
    from .guard import ResponseCache


class Look:
    """How one request looks at its resource. `names` is what its variants go by, as far as is known.

    `fills`: the request would fill it. `again` looks go on where the last one has told that something else is to be
    asked.
    """

    __slots__ = (
        "_cache",
        "_exchange",
        "_fresh_tags",
        "_hints",
        "_known",
        "_resource",
        "_route",
        "_spoiled",
        "fills",
        "names",
        "token",
    )

    def __init__(
        self, cache: ResponseCache, exchange: Exchange, resource: bytes, route: bytes, names: bytes, fills: bool
    ) -> None:
        self._cache = cache
        self._exchange = exchange
        self._known = cache.variants.known
        self._resource = resource
        self._route = route
        self._fresh_tags = False
        self._hints: tuple[str, ...] = ()
        self._spoiled = False
        self.names = names
        self.fills = fills
        #: By what a fill is this request's; the same for all its looks.
        self.token = exchange.random(8).hex().encode() if exchange.services is None else exchange.services.identity

    def at(self, place: Place) -> Generator[Step, Any, Found]:
        """Ask for a variant, its tags and, where it is needed, its fill."""
        cache, exchange = self._cache, self._exchange
        digests = cache.variants.expected_tags(exchange, place, self._route, self._hints)
        known = self._known.generations
        expected = {tag: b"" if self._fresh_tags else known.get(tag) or b"" for tag in digests}
        everything = exchange.keys.every_tag
        text = b"".join([b"%b=%b;" % (tag, expected[tag]) for tag in sorted(expected)])
        operations = [find(place, self.names, text, self.token, self.fills + self._spoiled, cache.beta)]
        operations += [generation(exchange.keys.tag_of(tag), expected[tag]) for tag in expected]
        # Behind the tags: what it brings may have others than are expected, which nobody has read by then.
        operations.append(generation(everything, b""))
        replies = yield Ask(operations, last=True)
        return (yield from self.read(place, [*expected, b"*"], replies))

    def read(
        self, place: Place, digests: Sequence[bytes], replies: Replies, seen: Entry | None = None
    ) -> Generator[Step, Any, Found]:
        """Read what was asked about a variant and the tags with these digests; `seen` is the entry that was named."""
        looked, *stamps = replies
        mark, data, free, need = looked.values
        tags = dict(zip(digests, [stamp.values[0] for stamp in stamps], strict=True))
        known = self._known
        for tag, stamp in tags.items():
            if stamp and tag != b"*":
                known.generations.put(tag, stamp)
        names, _, hints = mark[34:].partition(b" ") if mark else (self.names, b"", b"")
        clock = replies.clock
        stamp = mark[:33] if mark else b"%016d.%016d" % (clock, clock)
        found = Found(place, names, stamp, tags, clock, self.token)
        if b"" in tags.values():  # one that was there when the process last looked is gone
            self._fresh_tags = True
            return found._replace(again=True)
        self._fresh_tags = False
        if names != self.names:
            known.names.put(self._resource, names)
            self.names = names
            self._hints = read_hints(hints)
            return found._replace(again=True)
        changed = not all(stamp.passed for stamp in stamps)
        claimed = self.fills and bool(free) and (need == 1 or (need == 3 and not changed) or (need == 0 and changed))
        found = found._replace(claimed=claimed)
        if not data:
            return found
        if is_pass(data):
            passing = int(data[17:33]) > clock
            return found._replace(alone=passing) if passing or claimed else found
        if data == SAME and seen is not None:
            return self._examine(found, seen, need, changed)
        try:
            size = total_length(data)
            if size > len(data) and len(data) >= INLINE:
                whole = yield from self._rest(found.place)
                if whole is None or identity(whole) != identity(data):
                    return found if whole is None or found.claimed else found._replace(again=True)
                data = whole
            return self._examine(found, self._cache.codec.decode(found.place.entry, data), need, changed)
        except (EntryUnreadable, ValueError):  # garbage with a good beginning, or what another key has signed
            self._spoiled = self.fills
            return found._replace(again=self.fills and not found.claimed)

    def _examine(self, found: Found, entry: Entry, need: int, changed: bool) -> Found:
        """Tell whether an entry's tags are what they were. Raises ValueError."""
        recorded = dict(read_tags(entry.tags))
        self._known.tags.put(found.place.entry, tuple(recorded))
        if not recorded.keys() <= found.tags.keys():
            return found._replace(again=not found.claimed)
        soft = entry.generation[17:] != found.generation[17:]
        for tag, stamp in recorded.items():
            if found.tags[tag][:16] != stamp[:16]:
                if need == 2 or (need == 3 and changed):  # it was not known what they are now
                    return found._replace(again=self.fills and not found.claimed)
                return found
            soft = soft or found.tags[tag] != stamp
        return found._replace(entry=entry, soft=soft)

    def _rest(self, place: Place) -> Generator[Step, Any, Any]:
        services = self._exchange.services
        if services is None:
            return None
        try:
            return (yield Wait(services.fetch(place.entry), self._cache.fetch_timeout))
        except WaitTimeout:
            return None
