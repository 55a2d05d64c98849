"""`ResponseCache`: answers requests from what is stored, and keeps what the app answers. Pure.

It stands behind authentication and limits, in front of the app: a hit has passed them all in the same round trip.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from ..core.exchange import Exchange, Services
from ..core.guard import OneRoundGuard
from ..core.keys import Keys
from ..core.script import Operation, Replies
from ..core.steps import PASS, Admission, Answer, Ask, Asking, Pass
from ..errors import RedisUnavailable
from . import declaring
from .entry import Entry
from .forwarded import Forwarded, Waking
from .found import Found
from .hot import Hot, Hots
from .level import FirstLevel
from .look import Look
from .operations import ALL, LEASE, SAME, TOPIC, Place, release
from .options import Options, ResponseCacheOptions, signature
from .outside import ClientFields, is_timed
from .owed import Owed
from .request_key import FIELDS, RequestKeys
from .seek import Seek
from .serving import Serving
from .telling import Telling
from .unsafe import Invalidating
from .variants import Variants
from .wish import Wish

#: What CORS middlewares answer with, or leave out, often without saying so in `Vary`.
_CORS = frozenset((b"origin",))

_READING = frozenset(("GET", "HEAD"))
_SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "QUERY"))


class ResponseCache(OneRoundGuard):
    """Cache responses: those of routes with `@cached`, or with `profile="http"` those that say so themselves.

    `app` (the default) keeps what is declared: by `@cached`, by `ttl`, `swr` and `sie` for every 200 that nothing
    forbids, or by a response's `Guard-Cache-Control`. `http` is a shared cache by RFC 9111. Neither keeps for everybody
    what was the answer to somebody. Raises `ConfigurationError`.
    """

    kind = "cache"
    inside = frozenset(("jwt", "sessions", "csrf"))
    unique = True
    operations = ALL
    __signature__ = signature()

    def __init__(self, **options: Unpack[ResponseCacheOptions]) -> None:
        self.options = given = Options.of(options)
        given.check()
        self.concern(given.name, given.exempt)
        self.rules = given.rules()
        self.requests = RequestKeys(hosts=given.hosts, sort_query=given.sort_query, ignore_query=given.ignore_query)
        self.codec = given.codec()
        self.variants = Variants(self.rules.credentials, FIELDS if given.is_http else FIELDS | _CORS)
        declaring.there_is_a_cache()
        self.telling = Telling(self.name, given.cache_status, given.on_event, repr(self))
        self.serving = Serving(self.telling, ranges=given.ranges)
        self.client_fields = ClientFields(marks=given.is_http)
        self.owed = Owed()
        self.wait = given.wait
        self.pass_for = given.pass_for
        self.beta = round(given.early * 1000)
        self.hots = Hots(given.remembered)
        self.level = FirstLevel(given.memory_ttl, replicas=given.read_from_replicas)
        if given.memory_ttl or given.read_from_replicas:
            self.topic, self.eager = TOPIC, True

    def ask(self, exchange: Exchange) -> Ask | Pass | Answer | Admission:
        """Ask about what was answered before to the same request; whatever else is a longer way."""
        if exchange.method != "GET" and exchange.method not in _READING:
            return self._unsafe(exchange)
        if exchange.is_websocket:
            return PASS
        hot = None if self.owed else self.hots.get(self.hots.key(exchange), exchange)
        if hot is None:
            return self._seek(exchange)
        return hot.ask if not self.level.ttl else self._at_once(exchange, hot) or hot.ask

    def _at_once(self, exchange: Exchange, hot: Hot) -> Answer | None:
        """Answer from the first level, if that may be."""
        services = exchange.services
        if services is None or not services.hears(TOPIC):
            return None
        clock = self.level.clock_for(hot, exchange.now)
        if clock is None:
            return None
        if self.telling.hooks:
            self.telling.event(exchange, "hit", "memory", status=hot.answered[0], size=len(hot.answered[2]))
        return hot.answer(clock, self.telling.field)

    def told(self, word: bytes) -> bool:
        """Take word of an invalidation."""
        self.level.told(word)
        return False

    def missed(self, keys: Keys) -> Asking:
        """Rely on Redis again for everything: words may have been missed."""
        self.level.start_over()
        yield from ()

    def decide(self, exchange: Exchange, replies: Replies) -> Pass | Answer | Admission:
        """Answer if what is stored is what it was, and fresh."""
        hot: Hot = replies.ask.about
        flat = replies.flat
        if replies.ask.place.replica and self.level.is_behind(hot.stamps(flat[1])):
            return self._seek(exchange, behind=True)
        if replies.passed and flat[2] == SAME and flat[4] == 0:
            if self.telling.hooks:
                self.telling.event(exchange, "hit", status=hot.answered[0], size=len(hot.answered[2]))
            if self.level.ttl:
                self.level.confirm(hot, replies.clock, exchange.now)
            return hot.answer(replies.clock, self.telling.field)
        self.hots.forget(self.hots.key(exchange), exchange, hot)
        return self._seek(exchange, hot, replies)

    def without_redis(self, exchange: Exchange, ask: Ask, error: RedisUnavailable) -> Pass:
        """Let the app answer."""
        return self.without_answer(exchange, ask.about.place, error.leaves_doubt)

    def without_answer(self, exchange: Exchange, place: Place | None, doubt: bool) -> Pass:
        """Let the app answer where Redis does not, which may have given the fill of a place where there is `doubt`."""
        self.telling.event(exchange, "bypass", "unavailable")
        if place is not None and doubt and exchange.services is not None:
            self._give_back(exchange, exchange.services, place)
        return Pass(responder=Forwarded(self.telling, "bypass", "unavailable"))

    def _give_back(self, exchange: Exchange, services: Services, place: Place) -> None:
        """Give back the fill that this process may have; a server that is back may carry out what nobody waits for.

        Another request of this process that leads uses it, or gives it back; it may be waiting for it without knowing.
        """
        flight = services.flights.find(place.flight)
        if flight is None:
            services.give_back(Ask([release(exchange.keys, place, services.identity)]), LEASE)
        else:
            flight.marked = True
            services.wake(TOPIC, place.word)

    def _seek(
        self, exchange: Exchange, hot: Hot | None = None, replies: Replies | None = None, *, behind: bool = False
    ) -> Pass | Admission:
        """Look for what is stored, or let the app answer; `behind`: a replica did not know what is known here."""
        declaring.is_made_by(None)  # a request of the app to itself: what its route declares is not for the one around
        if self.variants.learned(route := self.variants.route(exchange)).idle_until > exchange.now:
            declaring.is_made_by(Waking(self.variants, route), lasting=True)
            return PASS
        resource = self.requests.target(exchange.scope)
        wish = Wish.of(exchange, self.options.hears_clients)
        if resource is None or wish.bypass:
            self.telling.event(exchange, "bypass", wish.bypass or "host")
            return Pass(responder=Forwarded(self.telling, "bypass", wish.bypass or "host"))
        seek = Seek(self, exchange, resource, wish)
        if behind:
            seek.ask_primary()
        return seek.run(hot, replies)

    def _unsafe(self, exchange: Exchange) -> Pass:
        declaring.is_made_by(None)
        if exchange.method in _SAFE:
            return Pass(responder=Forwarded(self.telling, "method", None))
        return Pass(responder=Invalidating(self, exchange))

    # What a fill needs.

    def jittered(self, exchange: Exchange) -> float:
        """Return what a lifetime is multiplied by."""
        spread = self.options.spread
        return 1.0 if not spread else 1.0 - spread * int.from_bytes(exchange.random(2), "big") / 65_536

    def takes_off(self, found: Found, route: bytes) -> bool:
        """Tell whether a fill takes conditions off its request: not on routes that nobody has declared anything for."""
        if found.alone:
            return False
        return self.options.is_http or self.variants.learned(route).policy is not None or bool(self.rules.default)

    def remember(self, exchange: Exchange, found: Found, entry: Entry, look: Look) -> None:
        """Remember the answer that is made of what a look has found, and how to ask whether it is still right."""
        if is_timed(entry.headers) or any(name == b"cache-status" for name, _ in entry.headers):
            return
        ask = look.question(found, entry, replica=self.options.read_from_replicas)
        hot = Hot(found, ask, entry, self.serving.timeless(exchange, entry))
        if self.level.ttl:
            self.level.confirm(hot, found.clock, exchange.now)
        self.hots.put(self.hots.key(exchange), exchange, hot)

    def owe(self, operations: Iterable[Operation]) -> None:
        """Note invalidations that Redis could not be told: nothing stored is used here before it was."""
        self.owed.add(operations)

    def __repr__(self) -> str:
        return f"<ResponseCache {self.name}: {self.options.profile}>"
