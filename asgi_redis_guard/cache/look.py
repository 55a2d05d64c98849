"""Looking at a resource: its mark, a variant, its tags, and the fill where that is needed, in one round. Pure."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from ..core.exchange import Exchange
from ..core.script import Replies
from ..core.steps import Ask, Step, Wait
from ..errors import EntryUnreadable, WaitTimeout
from .codec import Codec
from .entry import Entry, head_of, identity, is_pass, total_length
from .found import Found
from .level import FirstLevel
from .operations import INLINE, SAME, Asker, Place, find_with, generation, is_claimed
from .tags import read_hints, read_tags
from .variants import Variants

#: Seconds that a large body may take on its way from Redis.
_FETCH = 2.0


class Look:
    """How one request looks at its resource. `names` is what its variants go by, as far as is known.

    `again` looks go on where the last one has told that something else is to be asked. With `level` replicas may be
    asked, as long as they have heard of all that it has heard of.
    """

    __slots__ = (
        "_asker",
        "_codec",
        "_exchange",
        "_fresh_tags",
        "_hints",
        "_known",
        "_level",
        "_resource",
        "_route",
        "_spoiled",
        "_variants",
        "names",
    )

    def __init__(
        self,
        variants: Variants,
        codec: Codec,
        exchange: Exchange,
        resource: bytes,
        route: bytes,
        asker: Asker,
        level: FirstLevel | None = None,
    ) -> None:
        self._variants = variants
        self._codec = codec
        self._exchange = exchange
        self._known = variants.known
        self._resource = resource
        self._route = route
        self._asker = asker
        self._level = level
        self._fresh_tags = False
        self._hints: tuple[str, ...] = ()
        self._spoiled = False
        self.names = variants.names(resource, route)

    def refresh(self) -> None:
        """Go by what has become known of the resource meanwhile."""
        self.names = self._known.names.get(self._resource) or self.names

    def at(self, place: Place) -> Generator[Step, Any, Found]:
        """Ask for a variant, its tags and, where it is needed, its fill."""
        keys, known = self._exchange.keys, self._known.generations
        digests = self._variants.expected_tags(self._exchange, place, self._route, self._hints)
        expected = {tag: b"" if self._fresh_tags else known.get(tag) or b"" for tag in digests}
        asker = self._asker._replace(fills=2) if self._spoiled else self._asker
        # Behind the tags: what it brings may have others than are expected, which nobody has read by then.
        everything = generation(keys.every_tag, b"")
        operations = [*find_with(keys, place, self.names, expected, asker), everything]
        replies = yield Ask(operations, last=True, replica=self._level is not None)
        return (yield from self.read(place, [*expected, b"*"], replies))

    def ask_primary(self) -> None:
        """Ask no replica from now on."""
        self._level = None

    def question(self, found: Found, entry: Entry, *, replica: bool) -> Ask:
        """Return what asks whether an entry is still there, and the same for its tags; perhaps a replica."""
        tags = dict(read_tags(entry.tags))
        operations = find_with(self._exchange.keys, found.place, found.names, tags, self._asker, head_of(entry))
        return Ask(operations, last=True, replica=replica)

    def read(
        self, place: Place, digests: Sequence[bytes], replies: Replies, seen: Entry | None = None
    ) -> Generator[Step, Any, Found]:
        """Read what was asked about a variant and the tags with these digests; `seen` is the entry that was named."""
        looked, *stamps = replies
        mark, data, free, need = looked.values
        tags = dict(zip(digests, [stamp.values[0] for stamp in stamps], strict=True))
        if self._is_behind(place, mark, tags, replies):
            return Found(place, self.names, b"", tags, replies.clock, self._asker.token, again=True)
        found = self._on(place, mark, tags, replies.clock)
        if found.again:
            return found
        changed = not all(stamp.passed for stamp in stamps)
        claimed = bool(self._asker.fills) and is_claimed(free, need, changed)
        found = found._replace(claimed=claimed)
        if not data:
            return found
        if is_pass(data):
            passing = int(data[17:33]) > found.clock
            return found._replace(alone=passing) if passing or claimed else found
        if data == SAME and seen is not None:
            return self._examine(found, seen, need, changed)
        try:
            return (yield from self._decoded(found, data, need, changed))
        except (EntryUnreadable, ValueError):  # garbage with a good beginning, or what another key has signed
            self._spoiled = bool(self._asker.fills)
            return found._replace(again=self._spoiled and not claimed)

    def _is_behind(self, place: Place, mark: bytes, tags: Mapping[bytes, bytes], replies: Replies) -> bool:
        """Tell whether a replica has said what is known to be out of date: then the primary is asked from now on."""
        level = self._level
        if level is None or not replies.ask.place.replica:
            return False
        if not level.is_behind([(place.resource, mark[:33]), *tags.items()]):
            return False
        self._level = None
        return True

    def _on(self, place: Place, mark: bytes, tags: dict[bytes, bytes], clock: int) -> Found:
        """Read a resource's mark and the generations of tags; `again` where other ones were to be asked about."""
        for tag, stamp in tags.items():
            if stamp and tag != b"*":
                self._known.generations.put(tag, stamp)
        names, _, hints = mark[34:].partition(b" ") if mark else (self.names, b"", b"")
        stamp = mark[:33] if mark else b"%016d.%016d" % (clock, clock)
        found = Found(place, names, stamp, tags, clock, self._asker.token)
        self._fresh_tags = b"" in tags.values()  # one that was there when the process last looked is gone
        if self._fresh_tags:
            return found._replace(again=True)
        if names == self.names:
            return found
        self._known.names.put(self._resource, names)
        self.names = names
        self._hints = read_hints(hints)
        return found._replace(again=True)

    def _decoded(self, found: Found, data: bytes, need: int, changed: bool) -> Generator[Step, Any, Found]:
        """Read an entry of which `data` is the beginning. Raises `EntryUnreadable` or ValueError."""
        if total_length(data) > len(data) >= INLINE:
            whole = yield from self._rest(found.place)
            if whole is None or identity(whole) != identity(data):
                self._level = None  # what a replica has may be of another time than the rest
                return found if whole is None or found.claimed else found._replace(again=True)
            data = whole
        return self._examine(found, self._codec.decode(found.place.entry, data), need, changed)

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
                    return found._replace(again=bool(self._asker.fills) and not found.claimed)
                return found
            soft = soft or found.tags[tag] != stamp
        return found._replace(entry=entry, soft=soft)

    def _rest(self, place: Place) -> Generator[Step, Any, Any]:
        services = self._exchange.services
        if services is None:
            return None
        try:
            return (yield Wait(services.fetch(place.entry, self._level is not None), _FETCH))
        except WaitTimeout:
            return None
