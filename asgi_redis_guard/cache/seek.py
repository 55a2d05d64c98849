"""One request's way through the cache: looked up, waited for, answered, or sent to the app. Pure: yields what it wants.

Whatever ends it (a refusal further out, a client that leaves) while it has taken a fill on itself gives that back.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ..core.exchange import Exchange
from ..core.script import Replies
from ..core.steps import Answer, Ask, Pass, RequestEdits, Step, Verdict, Wait
from ..errors import EntryUnreadable, RedisUnavailable, WaitTimeout
from .conditional import CONDITIONAL_FIELDS, validators
from .entry import identity, is_pass, total_length
from .fill import Fill, Passing, Told
from .found import Found, Landed
from .operations import INLINE, LEASE, TOPIC, Place, find, generation
from .status import Reason
from .tags import read_tags
from .wish import Wish

if TYPE_CHECKING:
    from .guard import ResponseCache

#: Looks at one resource for one request; where the ground moves faster than that, the app answers.
_MOST_LOOKS = 8

#: Invalidations that were not told, and are told in one round.
_MOST_OWED = 50

_LOOKUP = Generator[Step, Any, Any]


class Seek:
    """The way of one request."""

    __slots__ = (
        "_cache",
        "_claim",
        "_exchange",
        "_fresh_tags",
        "_known",
        "_lead",
        "_names",
        "_resource",
        "_wish",
        "route",
    )

    def __init__(self, cache: ResponseCache, exchange: Exchange, resource: bytes, wish: Wish) -> None:
        self._cache = cache
        self._exchange = exchange
        self._resource = resource
        self._wish = wish
        self._lead: Any = None
        self._claim: Found | None = None
        self.route = cache.variants.route(exchange)
        self._known = cache.variants.known
        self._names = self._known.names.get(resource) or cache.variants.learned(self.route).names
        self._fresh_tags = False

    def run(self) -> Generator[Step, Any, Verdict]:
        """Go the way; the verdict of one that was cut short gives back what was taken."""
        try:
            verdict: Verdict = yield from self._seek()
            self._lead = self._claim = None  # the responder's from here on
            return verdict
        except RedisUnavailable:
            if self._lead is not None:
                self._lead.scatter()
            return self._forward("bypass", "unavailable")
        except GeneratorExit:
            return self._fill(self._claim, "miss") if self._claim is not None else Pass()
        finally:
            if self._lead is not None:
                self._lead.hand_over()

    def _seek(self) -> _LOOKUP:
        while owed := self._cache.owed[:_MOST_OWED]:
            yield Ask(owed, last=True)
            del self._cache.owed[: len(owed)]
        if b":user" in self._names and self._exchange.fact("user") is None:
            yield Wait(None, 0.0)  # guards in front of this one have passed by then
        reason: Reason = "uri-miss"
        for _ in range(_MOST_LOOKS):
            variant = self._cache.variants.variant(self._exchange, self._names, self.route)
            if variant is None:
                return self._forward("bypass", "key")
            found = yield from self._look(Place.of(self._exchange.keys, self._resource, variant))
            if found.again:
                continue
            if found.claimed:
                self._claim = found
            if found.entry is not None:
                reason = "stale"
                if (answer := self._use(found)) is not None:
                    return answer
            elif found.names:
                reason = "vary-miss"
            if self._wish.control.only_if_cached:
                return self._cache.not_cached(self._exchange)
            if found.claimed or not self._coordinates(found):
                return self._fill(found, "request" if self._wish.reloads else reason)
            landing = yield from self._wait(found)
            if landing is not None:
                return landing
        return self._forward("bypass", "contended")

    def _coordinates(self, found: Found) -> bool:
        """Whether the request waits for another's fill."""
        return self._fills and not found.alone and self._exchange.services is not None

    @property
    def _fills(self) -> bool:
        """Whether the request may fill the cache: a whole response to a client that wants no other."""
        wish = self._wish
        return self._exchange.method == "GET" and not wish.ranged and not wish.reloads and not wish.control.no_store

    # Looking.

    def _look(self, place: Place) -> Generator[Step, Any, Found]:
        """Ask for a variant, its tags and, where it is needed, its fill."""
        cache, exchange = self._cache, self._exchange
        digests = cache.variants.expected_tags(exchange, place, self.route)
        known = self._known.generations
        expected = {tag: b"" if self._fresh_tags else known.get(tag) or b"" for tag in digests}
        everything = exchange.keys.every_tag
        text = b"".join([b"%b=%b;" % (tag, expected[tag]) for tag in sorted(expected)])
        chance = exchange.random(12)
        token = self._claim.token if self._claim is not None else chance[:8].hex().encode()
        operations = [find(place, self._names, text, token, self._fills, cache.spread(chance[8:]))]
        operations += [generation(exchange.keys.tag_of(tag), expected[tag]) for tag in expected]
        if not expected:
            operations.append(generation(everything, b""))
        replies = yield Ask(operations, last=True)
        return (yield from self._read(place, list(expected), token, replies))

    def _read(self, place: Place, digests: list[bytes], token: bytes, replies: Replies) -> Generator[Step, Any, Found]:
        looked, *stamps = replies
        mark, data, free, need = looked.values
        tags = dict(zip(digests or [b"*"], [stamp.values[0] for stamp in stamps], strict=True))
        known = self._known
        for tag, stamp in tags.items():
            if stamp and tag != b"*":
                known.generations.put(tag, stamp)
        names = mark[34:] if mark else self._names
        clock = replies.clock
        stamp = mark[:33] if mark else b"%016d.%016d" % (clock, clock)
        found = Found(place, names, stamp, tags, clock, token)
        if b"" in tags.values():  # one that was there when the process last looked is gone
            self._fresh_tags = True
            return found._replace(again=True)
        if names != self._names:
            known.names.put(self._resource, names)
            self._names = names
            return found._replace(again=True)
        changed = not all(stamp.passed for stamp in stamps)
        claimed = self._fills and bool(free) and (need == 1 or (need == 0 and changed))
        found = found._replace(claimed=claimed)
        if not data:
            return found
        if is_pass(data):
            passing = int(data[17:33]) > clock
            return found._replace(alone=passing) if passing or claimed else found
        return (yield from self._examine(found, data, need))

    def _examine(self, found: Found, data: bytes, need: int) -> Generator[Step, Any, Found]:
        """Read an entry, fetch the rest of a large one, and tell whether its tags are what they were."""
        try:
            size = total_length(data)
            if size > len(data) and len(data) >= INLINE:
                whole = yield from self._rest(found.place)
                if whole is None or identity(whole) != identity(data):
                    return found if whole is None or found.claimed else found._replace(again=True)
                data = whole
            entry = self._cache.codec.decode(found.place.entry, data)
            recorded = dict(read_tags(entry.tags))
        except (EntryUnreadable, ValueError):
            return found
        self._known.tags.put(found.place.entry, tuple(recorded))
        if not recorded.keys() <= found.tags.keys():
            return found._replace(again=not found.claimed)
        soft = entry.generation[17:] != found.generation[17:]
        for tag, stamp in recorded.items():
            if found.tags[tag][:16] != stamp[:16]:
                return found if need != 2 or found.claimed else found._replace(again=self._fills)
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

    # Using.

    def _use(self, found: Found) -> Answer | None:
        """Answer from what was found if that may be; None if the app has to be asked."""
        entry, clock, wish = found.entry, found.clock, self._wish
        if entry is None or wish.reloads or entry.must_validate:
            return None
        left = -1.0 if found.soft else (entry.fresh_until - clock) / 1e6
        age = max(0, clock - entry.born) / 1e6
        if wish.accepts(age, left, not entry.never_stale and not found.soft):
            return self._hit(found, stale=left <= 0)
        if clock < entry.stale_until > entry.fresh_until and not entry.never_stale:
            return self._hit(found, stale=True) if wish.control.max_age is None else None
        return None

    def _hit(self, found: Found, stale: bool) -> Answer:
        """Answer; where this request has the fill, it is done behind the answer."""
        background = edits = None
        if found.claimed:
            background, edits = self._fill_of(found, "stale")
        if self._lead is not None and background is None and found.entry is not None:
            self._lead.land(Landed(found.entry, found.clock))
        assert found.entry is not None  # noqa: S101 - `_use` has looked
        return self._cache.answer(
            self._exchange, found.entry, found.clock, stale=stale, background=background, edits=edits
        )

    # Waiting.

    def _wait(self, found: Found) -> _LOOKUP:
        """Wait for another request's fill, in this process or elsewhere; None is to look again."""
        cache, services = self._cache, self._exchange.services
        if services is None:
            return self._fill(found, "miss")
        flight = services.flights.find(found.place.flight)
        try:
            if self._lead is None and flight is not None:
                landing = yield Wait(flight, cache.wait)
                return self._landed(found, landing)
            if self._lead is None:
                self._lead = services.flights.begin(found.place.flight)
            yield Wait(services.gone(TOPIC, found.place.word, found.place.fill), min(cache.wait, 4 * LEASE))
        except WaitTimeout:
            if self._lead is not None:
                self._lead.scatter()
            return self._fill(found, "miss")
        return None

    def _landed(self, found: Found, landing: Any) -> Verdict | None:
        if landing.kind == "lead":
            self._lead = landing.lead
            return None
        if landing.kind == "alone":
            return self._fill(found, "miss")
        if not isinstance(landing.value, Landed):
            self._names = self._known.names.get(self._resource) or self._names
            return None
        entry, clock = landing.value
        if self._wish.accepts(max(0, clock - entry.born) / 1e6, (entry.fresh_until - clock) / 1e6, False):
            return self._cache.answer(self._exchange, entry, clock, joined=True)
        return None

    # Asking the app.

    def _fill(self, found: Found | None, reason: Reason) -> Pass:
        """Let the app answer, and keep what it says if it may be kept."""
        if found is None or self._exchange.method != "GET" or self._wish.ranged:
            return self._forward(reason)
        responder, edits = self._fill_of(found, reason)
        return Pass(responder=responder, edits=edits)

    def _fill_of(self, found: Found, reason: Reason) -> tuple[Passing, RequestEdits | None]:
        fields = []
        if found.entry is not None:
            fields = validators(found.entry.headers)
        takes_off = bool(fields) or (self._wish.conditional and self._cache.takes_off(found, self.route))
        edits = RequestEdits(CONDITIONAL_FIELDS, tuple(fields)) if takes_off else None
        kind = Fill if found.claimed else Passing
        lead = None
        if found.claimed:
            lead, self._lead = self._take_lead(found), None
        return kind(self._cache, self._exchange, found, lead, reason, self.route, validated=bool(fields)), edits

    def _take_lead(self, found: Found) -> Any:
        services = self._exchange.services
        if self._lead is not None or services is None or services.flights.find(found.place.flight) is not None:
            return self._lead
        return services.flights.begin(found.place.flight)

    def _forward(self, reason: Reason, detail: str | None = None) -> Pass:
        cache = self._cache
        cache.tell(self._exchange, "bypass" if reason == "bypass" else "miss", detail or reason)
        return Pass(responder=Told(cache, self._exchange, reason, detail))


def spread_of(chance: bytes, beta: float) -> int:
    """Return thousandths of a fill's time by which it is done early, at random (XFetch: -beta ln(u))."""
    drawn = (int.from_bytes(chance, "big") + 1) / 2 ** (8 * len(chance))
    return int(-beta * math.log(drawn) * 1000)
