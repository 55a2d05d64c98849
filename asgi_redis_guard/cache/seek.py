"""One request's way through the cache: looked up, waited for, answered, or sent to the app. Pure: yields what it wants.

Whatever ends it (a refusal further out, a client that leaves) while it has taken a fill on itself gives that back.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from ..core.exchange import Exchange
from ..core.script import Replies
from ..core.steps import Answer, Ask, Pass, RequestEdits, Step, Verdict, Wait
from ..errors import RedisUnavailable, WaitTimeout
from .conditional import CONDITIONAL_FIELDS, validators
from .credentials import is_somebody
from .entry import Entry
from .forwarded import Forwarded, Learning
from .found import Filled, Found, Miss
from .freshening import Freshening
from .hot import Hot
from .leading import Leading
from .look import Look
from .operations import TOPIC, Asker, Place, release
from .recording import Fill, Recording
from .serving import HIT, JOINED, STALE
from .status import Reason
from .wish import Wish

if TYPE_CHECKING:
    from .guard import ResponseCache

#: Looks at one resource for one request; where the ground moves faster than that, the app answers.
_MOST_LOOKS = 8

_LOOKUP = Generator[Step, Any, Any]


class Seek:
    """The way of one request."""

    __slots__ = (
        "_apart",
        "_cache",
        "_exchange",
        "_leading",
        "_look",
        "_place",
        "_resource",
        "_route",
        "_until",
        "_waits",
        "_wish",
    )

    def __init__(self, cache: ResponseCache, exchange: Exchange, resource: bytes, wish: Wish) -> None:
        self._cache = cache
        self._exchange = exchange
        self._resource = resource
        self._wish = wish
        self._leading = Leading(exchange.services)
        self._place: Place | None = None
        self._waits: Found | None = None
        self._until: float | None = None
        self._route = cache.variants.route(exchange)
        self._apart = cache.variants.is_apart(exchange, self._route)
        token = exchange.random(8).hex().encode() if exchange.services is None else exchange.services.identity
        asker = Asker(token, self._fills, cache.beta)
        level = cache.level if cache.options.read_from_replicas else None
        self._look = Look(cache.variants, cache.codec, exchange, resource, self._route, asker, level)

    def ask_primary(self) -> None:
        """Ask no replica."""
        self._look.ask_primary()

    def run(self, hot: Hot | None = None, replies: Replies | None = None) -> Generator[Step, Any, Verdict]:
        """Go the way, from what has come back about `hot` if that was asked.

        The verdict of one that was cut short gives back what was taken.
        """
        try:
            verdict: Verdict = yield from self._seek(hot, replies)
            self._leading.claim = None  # the responder's from here on
            return verdict
        except RedisUnavailable as error:
            left = self._leading.scatter()
            place = self._place if self._fills else None
            return self._cache.without_answer(self._exchange, place, error.leaves_doubt or left)
        except GeneratorExit:
            if self._waits is not None and self._leading.is_left_with(self._waits.place):
                self._leading.claim = self._waits._replace(claimed=True)
            claim = self._leading.claim
            return self._fill(claim, "miss") if claim is not None else Pass()
        finally:
            self._leading.hand_over()

    def _seek(self, hot: Hot | None, replies: Replies | None) -> _LOOKUP:
        yield from self._prepare()
        reason: Reason = "uri-miss"
        for _ in range(_MOST_LOOKS):
            if hot is not None and replies is not None:
                self._look.names = hot.names
                found = yield from self._look.read(hot.place, hot.digests, replies, hot.entry)
                hot = None
            else:
                variant = self._cache.variants.variant(self._exchange, self._look.names, self._route)
                if variant is None:
                    return self._keyless()
                self._place = Place.of(self._exchange.keys, self._resource, variant)
                found = yield from self._look.at(self._place)
            if found.again:
                continue
            found = yield from self._lead(found)
            if found.entry is not None:
                reason = "request" if found.is_fresh else "stale"
                if (answer := self._use(found)) is not None:
                    return answer
            elif found.names:
                reason = "vary-miss"
            if self._wish.control.only_if_cached:
                return self._cache.refuse(self._exchange, self._cache.serving.not_cached())
            if found.claimed or not self._coordinates(found):
                return self._fill(found, reason)
            landing = yield from self._wait(found)
            if landing is not None:
                return landing
        return self._forward("bypass", "contended")

    def _prepare(self) -> _LOOKUP:
        """Tell Redis what it could not be told before, and let guards in front say who asks."""
        while owed := self._cache.owed.some():
            operations = [operation for operation, _ in owed]
            told = yield Ask(operations, last=True)
            self._cache.level.told_of(operations, told)
            self._cache.owed.paid(owed)
        if b":user" in self._look.names and not is_somebody(self._exchange.fact("user")):
            yield Wait(None, 0.0)  # guards in front of this one have passed by then

    def _lead(self, found: Found) -> _LOOKUP:
        """Take what was claimed, or give back what others of this process have left to this request."""
        self._leading.part(found.place)
        if found.claimed:
            return self._leading.claimed(found)
        if self._leading.is_left_with(found.place):
            yield Ask([release(self._exchange.keys, found.place, found.token)], last=True)
        return found

    def _coordinates(self, found: Found) -> bool:
        """Whether the request waits for another's fill."""
        if found.entry is not None and (found.entry.must_validate or found.is_fresh):
            return False  # each of them has to ask (RFC 9111 §5.2.2.4), or this one alone wants what is newer
        if found.alone or self._wish.reloads:
            return False
        return self._fills and self._exchange.services is not None

    @property
    def _fills(self) -> bool:
        """Whether the request may fill the cache: a whole response to a client that wants no other.

        Nobody waits for what will be kept for nobody: clients would hold others up with made-up credentials.
        """
        wish = self._wish
        if self._exchange.method != "GET" or wish.ranged or self._apart:
            return False
        return not wish.control.no_store and not wish.control.only_if_cached

    # Using.

    def _use(self, found: Found) -> Answer | None:
        """Answer from what was found if that may be; None if the app has to be asked."""
        entry, clock, wish = found.entry, found.clock, self._wish
        if entry is None or entry.must_validate:
            return None
        if wish.reloads:
            needless = found.is_fresh and wish.reloads_needlessly(entry.headers)
            return self._hit(found, entry, stale=False) if needless else None
        left = -1.0 if found.soft else (entry.fresh_until - clock) / 1e6
        age = max(0, clock - entry.born) / 1e6
        if wish.accepts(age, left, not found.soft and self._cache.rules.is_max_stale_allowed(entry)):
            return self._hit(found, entry, stale=left <= 0)
        if clock < entry.stale_until > entry.fresh_until and not entry.never_stale:
            wants_fresh = wish.control.max_age is not None or wish.control.min_fresh is not None
            return None if wants_fresh else self._hit(found, entry, stale=True)
        return None

    def _hit(self, found: Found, entry: Entry, stale: bool) -> Answer:
        """Answer; where this request has the fill, it is done behind the answer."""
        background = edits = None
        if found.claimed:
            background, edits = self._fill_of(found, "stale")
        elif not stale and self._wish.is_plain:
            self._cache.remember(self._exchange, found, entry, self._look)
        if background is None:
            self._leading.land(Filled(entry, found.clock))
        reuse = STALE if stale else HIT
        return self._cache.serving.answer(self._exchange, entry, found.clock, reuse, background=background, edits=edits)

    # Waiting.

    def _wait(self, found: Found) -> _LOOKUP:
        """Wait for another request's fill, in this process or elsewhere; None is to look again."""
        services = self._exchange.services
        if services is None:
            return self._fill(found, "miss")
        flight = services.flights.find(found.place.flight)
        self._waits = found
        try:
            if not self._leading.leads and flight is not None:
                landing = yield Wait(flight, self._patience(services.clock()))
                return self._landed(found, landing)
            self._leading.begin(found.place)
            gone = services.gone(TOPIC, found.place.word, found.place.fill)
            yield Wait(gone, self._patience(services.clock()))
        except WaitTimeout:
            if self._leading.is_left_with(found.place):
                return self._fill(found._replace(claimed=True), "miss")
            self._leading.scatter()
            return self._fill(found, "miss")
        return None

    def _patience(self, now: float) -> float:
        """Return the seconds that are left to wait: for all fills together as many as was said."""
        if self._until is None:
            self._until = now + self._cache.wait
        return max(0.0, self._until - now)

    def _landed(self, found: Found, landing: Any) -> Verdict | None:
        if landing.kind == "lead":
            self._leading.take_over(found.place, landing.lead)
            return None
        if landing.kind == "alone":
            return self._fill(found, "miss")
        if not isinstance(landing.value, Filled):
            self._look.refresh()
            return None
        entry, clock = landing.value
        if clock < found.clock:
            return None  # from before this one looked: who knows what was invalidated in between
        if not entry.must_validate and self._wish.accepts(
            max(0, clock - entry.born) / 1e6, (entry.fresh_until - clock) / 1e6, False
        ):
            return self._cache.serving.answer(self._exchange, entry, clock, JOINED)
        return None

    # Asking the app.

    def _fill(self, found: Found, reason: Reason) -> Pass:
        """Let the app answer, and keep what it says if it may be kept."""
        if self._wish.ranged or (self._exchange.method != "GET" and found.entry is None):
            return self._forward(reason)
        if self._exchange.method != "GET":
            miss = Miss(self._exchange, found, self._route, reason)
            return Pass(responder=Freshening(self._cache, miss))
        responder, edits = self._fill_of(found, reason)
        return Pass(responder=responder, edits=edits)

    def _fill_of(self, found: Found, reason: Reason) -> tuple[Recording, RequestEdits | None]:
        fields = []
        if found.entry is not None:
            fields = validators(found.entry.headers)
        takes_off = bool(fields) or (self._wish.conditional and self._cache.takes_off(found, self._route))
        edits = RequestEdits(CONDITIONAL_FIELDS, tuple(fields)) if takes_off else None
        lead = self._leading.give() if found.claimed else None
        miss = Miss(self._exchange, found, self._route, reason, lead, validated=bool(fields))
        return (Fill if found.claimed else Recording)(self._cache, miss), edits

    def _keyless(self) -> Pass:
        """Let the app answer a request of which it cannot be told what is its own; learn what the route declares."""
        self._cache.telling.event(self._exchange, "bypass", "key")
        return Pass(responder=Learning(self._cache, self._exchange, self._look.names, self._route))

    def _forward(self, reason: Reason, detail: str | None = None) -> Pass:
        telling = self._cache.telling
        telling.event(self._exchange, "bypass" if reason == "bypass" else "miss", detail or reason)
        return Pass(responder=Forwarded(telling, reason, detail))
