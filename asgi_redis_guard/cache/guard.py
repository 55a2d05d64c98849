"""`ResponseCache`: answers requests from what is stored, and keeps what the app answers. Pure.

It stands behind authentication and limits, in front of the app: a hit has passed them all in the same round trip.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Unpack

from ..core.asgi import Headers
from ..core.exchange import Exchange
from ..core.guard import OneRoundGuard
from ..core.keys import Keys
from ..core.responder import Responder
from ..core.script import Operation, Replies
from ..core.steps import PASS, Admission, Answer, Ask, Asking, Pass, RequestEdits
from ..core.warnings import Warnings
from ..errors import OperationFailed, RedisUnavailable
from ..observability.events import emit
from . import declaring
from .age import put_age
from .conditional import answer_for, make_etag
from .entry import Entry, head_of
from .events import CacheEvent, CacheOutcome
from .found import Found
from .hot import Hot, Hots, question
from .level import FirstLevel
from .operations import ALL, SAME, TOPIC, Place
from .options import Options, ResponseCacheOptions, signature
from .owed import Owed
from .plan import Plan
from .policy import CachePolicy, name_of
from .request_key import FIELDS, RequestKeys
from .rules import client_control
from .seek import Seek
from .status import Reason, append, forward, hit
from .tags import read_tags
from .told import Told, Unsure, Waking
from .unsafe import Invalidating
from .variants import Variants
from .wish import Wish

logger = logging.getLogger("asgi_redis_guard.cache")
_warnings = Warnings(logger)

#: Seconds that a large body may take on its way from Redis.
_FETCH = 2.0

#: Stands first in what is stored of a response: whether it is private, and the seconds that clients may keep it for.
CLIENT_TTL = b"guard-client-ttl"

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
        self.hooks = tuple(given.on_event)
        self.owed = Owed()
        self.wait = given.wait
        self.pass_for = given.pass_for
        self.cache_status = given.cache_status
        self.fetch_timeout = _FETCH
        self.beta = round(given.early * 1000)
        self.hots = Hots(given.remembered)
        self.level = FirstLevel(given.memory_ttl)
        if given.memory_ttl:
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
        if self.hooks:
            self.tell(exchange, "hit", "memory", status=hot.answered[0], size=len(hot.answered[2]))
        return hot.answer(clock, self.cache_status)

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
        if replies.passed and flat[2] == SAME and flat[4] == 0:
            if self.hooks:
                self.tell(exchange, "hit", status=hot.answered[0], size=len(hot.answered[2]))
            if self.level.ttl:
                self.level.confirm(hot, replies.clock, exchange.now)
            return hot.answer(replies.clock, self.cache_status)
        self.hots.forget(self.hots.key(exchange), exchange, hot)
        return self._seek(exchange, hot, replies)

    def without_redis(self, exchange: Exchange, ask: Ask, error: RedisUnavailable) -> Pass:
        """Let the app answer."""
        return self.without_answer(exchange, ask.about.place, error)

    def without_answer(self, exchange: Exchange, place: Place | None, error: RedisUnavailable) -> Pass:
        """Let the app answer where Redis does not, which was asked about a place last."""
        self.tell(exchange, "bypass", "unavailable")
        if place is not None and (error.maybe_executed or isinstance(error, OperationFailed)):
            return Pass(responder=Unsure(self, exchange, place))
        return Pass(responder=Told(self, "bypass", "unavailable"))

    def _seek(self, exchange: Exchange, hot: Hot | None = None, replies: Replies | None = None) -> Pass | Admission:
        """Look for what is stored, or let the app answer."""
        declaring.MAKING.set(None)  # a request of the app to itself: what its route declares is not for the one around
        if self.variants.learned(route := self.variants.route(exchange)).idle_until > exchange.now:
            declaring.MAKING.set(Waking(self.variants, route))
            return PASS
        resource = self.requests.target(exchange.scope)
        wish = Wish.of(exchange, self.options.hears_clients)
        if resource is None or wish.bypass:
            self.tell(exchange, "bypass", wish.bypass or "host")
            return Pass(responder=Told(self, "bypass", wish.bypass or "host"))
        return Seek(self, exchange, resource, wish).run(hot, replies)

    def _unsafe(self, exchange: Exchange) -> Pass:
        declaring.MAKING.set(None)
        if exchange.method in _SAFE:
            return Pass(responder=Told(self, "method", None))
        return Pass(responder=Invalidating(self, exchange))

    # Answering.

    def answer(
        self,
        exchange: Exchange,
        entry: Entry,
        clock: int,
        *,
        stale: bool = False,
        joined: bool = False,
        forwarded: tuple[Reason, int | None] | None = None,
        stored: bool = False,
        quiet: bool = False,
        background: Responder | None = None,
        edits: RequestEdits | None = None,
    ) -> Answer:
        """Return what is sent of a stored response at `clock`, the server's µs."""
        age = max(0, (clock - entry.born) // 1_000_000)
        ttl = (entry.fresh_until - clock) // 1_000_000
        fields = entry.headers
        if fields and fields[0][0] == CLIENT_TTL:
            private, seconds = fields[0][1].split()
            fields = [*fields[1:], (b"cache-control", client_control(age, private == b"1", int(seconds)))]
        status, headers, body = answer_for(
            exchange.scope["headers"],
            exchange.method,
            entry.status,
            fields,
            entry.body,
            now=exchange.now,
            ranges=self.options.ranges,
        )
        put_age(headers, age)
        if self.cache_status is not None:
            append(headers, self._said(ttl, stale, joined, forwarded, stored))
        if not quiet:
            self.tell(
                exchange,
                "stale" if stale else "joined" if joined else "hit",
                status=status,
                size=len(body),
            )
        return Answer(status, headers, body, reason="stale" if stale else "hit", background=background, edits=edits)

    def _said(
        self, ttl: int, stale: bool, joined: bool, forwarded: tuple[Reason, int | None] | None, stored: bool
    ) -> bytes:
        name = self.cache_status or ""
        if forwarded is not None:
            reason, status = forwarded
            return forward(name, reason, fwd_status=status, ttl=ttl, stored=stored)
        if joined:
            return forward(name, "miss", ttl=ttl, collapsed=True)
        return hit(name, ttl, "stale" if stale else None)

    def not_cached(self, exchange: Exchange) -> Answer:
        """Return what a client gets that wants nothing but what is stored (RFC 9111 §5.2.1.7)."""
        headers = [(b"content-length", b"0"), (b"cache-control", b"no-store")]
        if self.cache_status is not None:
            append(headers, hit(self.cache_status).replace(b"; hit", b"") + b"; detail=not-cached")
        return self.refuse(exchange, Answer(504, headers, reason="not_cached"))

    def kept_fields(self, plan: Plan, status: int, body: bytes) -> Headers:
        """Return the fields that are stored of a response.

        In the `app` profile with an entity tag where the app gives none, so that clients that ask get a 304, and with
        what clients may do; a time that they may keep it for is put in when it is sent, and stands first.
        """
        headers = plan.headers
        if self.options.is_http or plan.client_ttl is None:
            return headers
        if status == 200 and not any(name == b"etag" for name, _ in headers):
            headers = [*headers, (b"etag", make_etag(body))]
        if plan.client_ttl >= 1:
            return [(CLIENT_TTL, b"%d %d" % (plan.private, plan.client_ttl)), *headers]
        return [*headers, (b"cache-control", client_control(0, plan.private, 0))]

    def given_fields(self, entry: Entry) -> Headers:
        """Return the fields of a stored response without what `kept_fields` has added for clients."""
        if self.options.is_http:
            return entry.headers
        ours = (b"cache-control", client_control(0, entry.private, 0))
        return [field for field in entry.headers if field[0] != CLIENT_TTL and field != ours]

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

    def warm_up(self, exchange: Exchange, found: Found, token: bytes, fills: bool) -> None:
        """Remember an answer from what was found by a request that would fill it, or would not."""
        entry = found.entry
        if entry is None or any(name in (b"cache-status", CLIENT_TTL) for name, _ in entry.headers):
            return
        answered = answer_for(
            exchange.scope["headers"],
            exchange.method,
            entry.status,
            entry.headers,
            entry.body,
            now=exchange.now,
            ranges=self.options.ranges,
        )
        tags = dict(read_tags(entry.tags))
        keys = [exchange.keys.tag_of(tag) for tag in tags]
        ask = question(found.place, found.names, tags, keys, token, fills, self.beta, head_of(entry))
        hot = Hot(found.place, found.names, ask, tuple(tags), entry, answered)
        if self.level.ttl:
            self.level.confirm(hot, found.clock, exchange.now)
        self.hots.put(self.hots.key(exchange), exchange, hot)

    def owe(self, operations: Iterable[Operation]) -> None:
        """Note invalidations that Redis could not be told: nothing stored is used here before it was."""
        self.owed.add(operations)

    # Telling.

    def tell(
        self,
        exchange: Exchange,
        outcome: CacheOutcome,
        reason: str = "",
        *,
        status: int | None = None,
        size: int = 0,
        seconds: float = 0.0,
    ) -> None:
        """Give an event to the hooks."""
        if self.hooks:
            event = CacheEvent(self.name, outcome, exchange.method, exchange.path, reason, status, size, seconds)
            emit(self.hooks, event)

    def warn(self, exchange: Exchange, scope: Any, sentence: str, policy: CachePolicy | None) -> None:
        """Warn once for a route; where neither a decorator nor the framework says which it is, once for all."""
        endpoint = (scope or {}).get("endpoint")
        where = policy.where if policy is not None else ""
        where = where or (repr(self) if endpoint is None else name_of(endpoint))
        _warnings.tell("not-cached", f"{where}: {sentence}")

    def __repr__(self) -> str:
        return f"<ResponseCache {self.name}: {self.options.profile}>"
