"""`RouteLock`: one request at a time for each key, or a few. Pure: time, randomness and the network come in.

A lock that is free is taken in the stack's round trip, and given back after the response.
"""

from __future__ import annotations

import logging
from binascii import b2a_base64
from collections.abc import Iterable
from typing import NamedTuple, Unpack

from ..core.client_ip import TrustedProxies
from ..core.documents import Unclear
from ..core.exchange import Exchange, Services
from ..core.guard import OneRoundGuard
from ..core.identity import is_key_word
from ..core.key_template import KeyTemplate
from ..core.paths import PathPatterns
from ..core.script import Replies
from ..core.steps import PASS, Admission, Answer, Ask, Body, Pass, Wait
from ..errors import BodyTooLarge, ConfigurationError, RedisUnavailable, WaitTimeout
from .claims import Claims, Name
from .held import HeldLock, Holder
from .operations import LOCK, SEMAPHORE, TOPIC
from .options import Options, RouteLockOptions, signature
from .refusals import away, busy, keyless, lost, too_large, waited

logger = logging.getLogger("asgi_redis_guard.locks")

#: Locks that one request may take.
_MOST_KEYS = 8

#: What the log says once of names in a key that are nobody's.
_UNKNOWN = (
    "%r refuses requests: neither the function of the route nor its path has a parameter called %s; in front of an app "
    "none is known yet, so that such a key is for @locked on the route"
)

#: A request that goes on without its lock.
_WITHOUT = Pass({"lock": None}, scope={"lock": None})


class Wish(NamedTuple):
    """The locks that a request wants; `since` is when they were asked for, by the loop's clock."""

    claims: Claims
    since: float


class RouteLock(OneRoundGuard):
    """Let one request at a time pass for each `key`, or with `permits` so many.

    `key` is a template, as `"import:{user}"`, or several: locks that are taken all or none. Its places are `{user}`,
    `{address}`, `{method}`, `{path}`, `{route}`, `{header:…}`, `{cookie:…}`, `{query:…}`, `{claim:…}`, `{json:a.b}`,
    and with `@locked` `{name}`, a parameter of the path or the function; `{header:x-tenant|user}` is the first that can
    be told. A request has its lock until its last byte is sent, it fails, or its client is gone; a WebSocket until it
    is closed. It is held for `ttl` seconds and renewed as long as the request runs, so that what a killed process
    held is free again after that. The handler finds it as `scope["lock"]` (`HeldLock`); where it is lost, the handler
    is cancelled, and the answer is a 503, or a connection that is cut off.

    Where others hold it, the answer is `on_busy` (409, 423, 429 or 503) at once, with the real time left in
    `Retry-After`; with `wait` the request is kept for so many seconds, first come, first served within a process, then
    503. `methods` and `paths` say which requests are meant, all by default. `unidentified`: what becomes of those that
    do not tell a part of the key, 400 or they `allow` it to run without. `max_body`: the most that is read of a body
    for `{json:…}`, else 413. `on_outage`: 503 while Redis is away, or `open` to run without. Raises
    `ConfigurationError`.
    """

    kind = "lock"
    inside = frozenset(("jwt", "sessions", "csrf"))
    provides = frozenset(("lock",))
    __signature__ = signature()

    def __init__(self, key: str | Iterable[str], **options: Unpack[RouteLockOptions]) -> None:
        given = Options.of(options)
        self.ttl, self.wait, self.on_busy, self.permits = given.ttl, given.wait, given.on_busy, given.permits
        self._methods = _methods(given.methods)
        self._paths = PathPatterns(given.paths, option="paths", lenient=True)
        self.concern(given.name or "lock", given.exempt, given.exempt_preflight, given.on_refused)
        self.templates = _templates(key, TrustedProxies.of(given.trusted_proxies))
        self.needs = frozenset().union(*(template.needs for template in self.templates))
        self.reads_body = given.max_body if any(template.reads_body for template in self.templates) else 0
        self.reads_arguments = any(template.reads_arguments for template in self.templates)
        space = "lock" if self.permits is None else "semaphore"
        self.claims = frozenset((space, template.template) for template in self.templates)
        kinds = LOCK if self.permits is None else SEMAPHORE
        acquire = kinds.acquire if len(self.templates) == 1 else kinds.acquire_all
        self.operations = (acquire, kinds.renew, kinds.release)
        self._unidentified = given.unidentified
        self._unknown: set[str] = set()
        self.is_closed = given.on_outage == "closed"

    def ask(self, exchange: Exchange) -> Ask | Pass | Answer | Admission:
        """Ask for the lock, or stand in line where others of this process do."""
        if self._methods and exchange.method.upper() not in self._methods:
            return PASS
        if self._paths and self._paths.find(exchange.paths) is None:
            return PASS
        return self._read_first(exchange) if self.reads_body else self._want(exchange, None)

    def decide(self, exchange: Exchange, replies: Replies) -> Pass | Answer | Admission:
        """Let pass who has got the lock; for the others it is busy, or worth waiting for."""
        wish: Wish = replies.ask.about
        fence = wish.claims.fence(replies)
        if fence is not None:
            return self._hold(exchange, wish.claims, fence, wish.since)
        if all(passed for passed, _, _ in replies):  # free, and held back by another lock of this request
            return self.go_on(exchange, self._ask_for(exchange, wish.claims))
        if self.wait and exchange.services is not None:
            return self._wait(exchange, exchange.services, wish.claims)
        return self.refuse(exchange, busy(self.on_busy, wish.claims.left))

    def without_redis(self, exchange: Exchange, ask: Ask, error: RedisUnavailable) -> Pass | Answer:
        """Follow `on_outage`; a lock that may have been taken all the same is given back."""
        wish: Wish = ask.about
        if exchange.services is not None and error.leaves_doubt:
            exchange.services.give_back(wish.claims.release(), self.ttl)
        return self._without(exchange)

    def names(self, exchange: Exchange, body: bytes | None) -> list[Name] | None:
        """Return the names of the locks that a request wants; None if it does not tell a part of one.

        Raises `Unclear`.
        """
        found: list[Name] = []
        for template in self.templates:
            name = template.of(exchange, body)
            if name is None:
                return None
            found.append(plain_name(name))
        return found

    def _want(self, exchange: Exchange, body: bytes | None) -> Ask | Pass | Answer | Admission:
        try:
            names = self.names(exchange, body)
        except Unclear:  # never allowed: the app may see the very thing that others have locked
            return self._keyless(exchange, body)
        if names is None:
            return PASS if self._unidentified == "allow" else self._keyless(exchange, body)
        upper = exchange.fact("lock")
        if isinstance(upper, HeldLock) and not (names := upper.lacks(exchange.keys, names, self.permits)):
            return PASS  # this request has it already: it would wait for itself
        token = b2a_base64(exchange.random(15), newline=False).decode("ascii")
        claims = Claims.of(exchange.keys, names, token, self.ttl, self.permits)
        services = exchange.services
        if self.wait and services is not None and services.flights.find((TOPIC, claims.word)) is not None:
            return self._wait(exchange, services, claims)  # behind those who came before
        return self._ask_for(exchange, claims)

    def _keyless(self, exchange: Exchange, body: bytes | None) -> Answer:
        """Refuse what does not tell a part of the key, and say which; a name that nothing has is the app's mistake."""
        untold = [place for template in self.templates for place in template.untold(exchange, body)]
        names = frozenset().union(*(template.names for template in self.templates))
        if unknown := sorted(names.difference(exchange.parameters, self._unknown)):
            self._unknown.update(unknown)
            logger.warning(_UNKNOWN, self, ", ".join(unknown))
        return self.refuse(exchange, keyless(untold))

    def _ask_for(self, exchange: Exchange, claims: Claims) -> Ask:
        since = 0.0 if exchange.services is None else exchange.services.leases.time()
        return claims.take(closed=self.is_closed, about=Wish(claims, since))

    def _read_first(self, exchange: Exchange) -> Admission:
        """Read the body, for it tells what is to be locked."""
        try:
            body = yield Body(self.reads_body)
        except BodyTooLarge:
            return self.refuse(exchange, too_large(self.reads_body))
        return (yield from self.go_on(exchange, self._want(exchange, body)))

    def _wait(self, exchange: Exchange, services: Services, claims: Claims) -> Admission:
        """Wait in line; of several locks, for one after the other until all are free at once."""
        until = services.leases.time() + self.wait
        while True:
            turn = services.turn(claims.sought())
            try:
                replies = yield Wait(turn, max(0.0, until - services.leases.time()), heeds_client=True)
            except WaitTimeout:
                return self._without(exchange) if turn.error else self.refuse(exchange, waited(claims.left))
            except RedisUnavailable:
                return self._without(exchange)
            fence = claims.fence(replies)
            if fence is not None:
                return self._hold(exchange, claims, fence, turn.since)

    def _hold(self, exchange: Exchange, claims: Claims, fence: int, since: float) -> Pass:
        """Keep what was taken; where the reply came so late that it is over by now, its holder finds out."""
        services = exchange.services
        if services is None:
            return Pass()
        upper = exchange.fact("lock")
        keys = upper.keys if isinstance(upper, HeldLock) else frozenset()
        holder = Holder(services, claims, fence, since, lambda: self.refuse_late(exchange, lost()), keys)
        facts = {"lock": holder.lock}
        return Pass(facts, scope=facts, responder=holder)

    def _without(self, exchange: Exchange) -> Pass | Answer:
        return self.refuse(exchange, away()) if self.is_closed else _WITHOUT

    def __repr__(self) -> str:
        of = "" if self.permits is None else f", {self.permits} at once"
        return f"<RouteLock {self.name}: {', '.join(template.template for template in self.templates)}{of}>"


def plain_name(name: tuple[str | bytes, ...]) -> Name:
    """Return what a template made as the name of a lock; one of text alone is the lock that `manager.lock` calls so."""
    return name[1:] if len(name) == 2 and name[0] == "" else name


def _methods(given: Iterable[str]) -> frozenset[str]:
    """The methods in capitals; frameworks answer HEAD by what they have for GET."""
    methods = frozenset(method.upper() for method in given)
    return methods | {"HEAD"} if "GET" in methods else methods


def _templates(key: object, proxies: TrustedProxies) -> tuple[KeyTemplate, ...]:
    several = (key,) if isinstance(key, str) or not isinstance(key, Iterable) else tuple(key)
    if not several:
        raise ConfigurationError("key (GUARD_LOCK_KEY): none given; say what is locked, as 'import:{user}'")
    if len(several) > _MOST_KEYS or len(set(several)) < len(several):
        raise ConfigurationError(f"key (GUARD_LOCK_KEY): {key!r} given; allowed are 1 to {_MOST_KEYS} different ones")
    ConfigurationError.raise_for(
        [
            f"key (GUARD_LOCK_KEY): {one!r} given, a text that is the same for all requests; allowed is '{{{one}}}'"
            for one in several
            if isinstance(one, str) and is_key_word(one)
        ]
    )
    return tuple(KeyTemplate(one, proxies, option="key (GUARD_LOCK_KEY)") for one in several)
