"""`ConcurrencyLimit`: how many requests of one identity run at once. Pure: leases end by the server's clock.

A request holds a lease, not a count: one that a killed process leaves behind is over after its ttl, and giving one back
twice changes nothing.
"""

from __future__ import annotations

import logging
from binascii import b2a_base64
from collections.abc import Iterable
from typing import Literal, NamedTuple

from ..core.checks import choice_faults, is_within, name_faults
from ..core.client_ip import TrustedProxies
from ..core.exchange import Exchange
from ..core.guard import OneRoundGuard, OnRefused, refusal_faults
from ..core.identity import Identity, KeyPart
from ..core.keys import digest
from ..core.paths import PathPatterns
from ..core.problem import nobody, unavailable
from ..core.responder import Control, Head, Outcome, Responder
from ..core.script import Operation, OperationKind, Replies
from ..core.steps import PASS, Answer, Ask, Asking, Pass
from ..errors import ConfigurationError, RedisUnavailable
from .headers import concurrency_headers, expose_ours, put
from .options import Cost, checked_cost
from .refusals import for_group, too_many

logger = logging.getLogger("asgi_redis_guard.ratelimit")

TAKE = OperationKind.load(__package__, "concurrency.lua")
RENEW = OperationKind.load(__package__, "concurrency_renew.lua")
RELEASE = OperationKind.load(__package__, "concurrency_release.lua")

#: Leases of one identity: each is an entry of a sorted set.
_MOST_AT_ONCE = 100_000

#: Units of one request: each is an entry as well.
_MOST_UNITS = 1_000

#: Seconds.
_SHORTEST, _LONGEST = 1, 3_600


class Slot(NamedTuple):
    """One request's place in a limit: what it is counted under, what it is called, its units."""

    key: bytes
    identity: bytes
    name: str
    cost: int


class ConcurrencyLimit(OneRoundGuard):
    """Refuse requests with 429 while `amount` of the same identity are running.

    A request runs until its last byte is sent, the app fails, or the client is gone; a WebSocket until it is closed.
    Its lease lasts `ttl` seconds and is renewed as long as it runs, so that what a killed process held is free again
    after the ttl. Where it is lost (Redis was away for longer), the request goes on: this is a limit and no lock.

    `key`, `paths`, `trusted_proxies`, `unidentified`, `exempt`, `exempt_preflight` and `on_refused` are as for
    `RateLimit`. `cost`: how many units a request takes while it runs, a number or a function over the exchange; 0 only
    looks. `name` stands in headers and keys. `on_outage`: `local` counts what this process admits while Redis is away,
    `open` lets pass, `closed` answers 503. Raises `ConfigurationError`.
    """

    kind = "concurrency"
    refunds = True
    operations = (TAKE, RENEW, RELEASE)

    def __init__(
        self,
        amount: int,
        *,
        key: KeyPart | Iterable[KeyPart] = "address",
        cost: Cost = 1,
        ttl: float = 30,
        name: str | None = None,
        paths: Iterable[str] = (),
        exempt: Iterable[str] = (),
        exempt_preflight: bool = True,
        trusted_proxies: Iterable[str] | TrustedProxies = (),
        unidentified: Literal["refuse", "allow"] = "refuse",
        on_outage: Literal["local", "open", "closed"] = "local",
        on_refused: OnRefused | None = None,
    ) -> None:
        _check(amount, ttl, name, unidentified, on_outage, on_refused)
        self.amount, self.ttl = amount, ttl
        self.ttl_micros = round(ttl * 1_000_000)
        self._cost = cost if callable(cost) else checked_cost(cost, _MOST_UNITS)
        self._paths = PathPatterns(paths, option="paths", lenient=True)
        self.concern(name or "concurrency", exempt, exempt_preflight, on_refused)
        self.identity = Identity(key, TrustedProxies.of(trusted_proxies), "GUARD_CONCURRENCY_KEY")
        self.needs = self.identity.needs
        space = name or (digest(*self._paths.patterns).decode() if self._paths else "default")
        self._key_name = space.encode()
        self.claims = frozenset([("concurrency", self._key_name, self.identity.parts)])
        self._unidentified = unidentified
        self._on_outage = on_outage
        #: Units that run in this process and were admitted without Redis. There are no more than such requests.
        self._local: dict[bytes, int] = {}

    def ask(self, exchange: Exchange) -> Ask | Pass | Answer:
        """Take a lease, or refuse what cannot be told."""
        pattern = None
        if self._paths and (pattern := self._paths.find(exchange.paths)) is None:
            return PASS
        identity = self.identity.of(exchange, pattern)
        if identity is None:
            return PASS if self._unidentified == "allow" else self.refuse(exchange, nobody())
        cost = self._cost
        hashed = digest(*identity, *exchange.keys.salt)
        name = b2a_base64(exchange.random(12), newline=False).decode("ascii")
        key = exchange.keys.concurrency(self._key_name, hashed)
        slot = Slot(key, hashed, name, checked_cost(cost(exchange), _MOST_UNITS) if callable(cost) else cost)
        operation = Operation(TAKE, (key,), (self.amount, self.ttl_micros, slot.cost, name))
        return Ask((operation,), closed=self._on_outage == "closed", about=slot)

    def decide(self, exchange: Exchange, replies: Replies) -> Pass | Answer:
        """Let pass what got a lease; where another limit refuses, none was taken."""
        slot, ((passed, committed, values),) = replies.ask.about, replies
        if not passed:
            return self._refused(exchange, values[0])
        held = slot if committed and slot.cost else None
        return Pass(responder=Holder(self, exchange, values[0] + (0 if committed else slot.cost), held))

    def without_redis(self, exchange: Exchange, ask: Ask, error: RedisUnavailable) -> Pass | Answer:
        """Follow `on_outage`; a lease that may have been taken all the same is given back."""
        slot: Slot = ask.about
        doubtful = slot if error.leaves_doubt else None
        if self._on_outage == "closed":
            return self.refuse(exchange, unavailable("Requests cannot be counted now."))
        if self._on_outage == "open":
            return PASS if doubtful is None else Pass(responder=Holder(self, exchange, doubtful=doubtful))
        running = self._local.get(slot.identity, 0)
        if running + slot.cost > self.amount:
            return self._refused(exchange, self.amount - running)
        if slot.cost:
            self._local[slot.identity] = running + slot.cost
        remaining = self.amount - running - slot.cost
        return Pass(responder=Holder(self, exchange, remaining, doubtful=doubtful, local=slot))

    def headers(self, remaining: int) -> list[tuple[bytes, bytes]]:
        """Return the header fields for a response."""
        return concurrency_headers(self.name, self.amount, remaining)

    def give_back(self, slot: Slot) -> None:
        """Count a request no more that was admitted without Redis; for its responder, once."""
        left = self._local.pop(slot.identity, 0) - slot.cost
        if left > 0:
            self._local[slot.identity] = left

    def _refused(self, exchange: Exchange, remaining: int) -> Answer:
        answer = too_many(self.name, self.headers(remaining))
        if exchange.has(b"origin"):
            expose_ours(answer.headers)
        return for_group(self.refuse(exchange, answer))

    def __repr__(self) -> str:
        return f"<ConcurrencyLimit {self.name}: {self.amount} at once by {', '.join(map(str, self.identity.parts))}>"


class Holder(Responder):
    """One request's responder: keeps its lease, tells the state, gives back what was taken.

    `remaining` is None where nothing is told; `lease` is held, of `doubtful` nobody knows whether it was taken; `local`
    is counted in this process.
    """

    __slots__ = ("_exchange", "_lease", "_limit", "_local", "_remaining", "_taken")

    def __init__(
        self,
        limit: ConcurrencyLimit,
        exchange: Exchange,
        remaining: int | None = None,
        lease: Slot | None = None,
        *,
        doubtful: Slot | None = None,
        local: Slot | None = None,
    ) -> None:
        self._limit = limit
        self._exchange = exchange
        self._remaining = remaining
        self._lease = lease
        self._taken = lease or doubtful
        self._local = local

    def bind(self, control: Control) -> None:
        """Have the lease renewed until the end."""
        if self._lease is not None:
            key, _, name, cost = self._lease
            control.keep(Operation(RENEW, (key,), (self._limit.ttl_micros, cost, name)), self._limit.ttl, self._lost)

    def _lost(self) -> None:
        logger.debug("a request of %r is no longer counted: Redis was away for longer than its lease", self._limit)

    def start(self, head: Head) -> None:
        """Add or join the header fields."""
        if self._remaining is not None:
            put(head, self._limit.headers(self._remaining), self._exchange.has(b"origin"))

    def end(self, outcome: Outcome) -> Asking | None:
        """Give back what was taken, once."""
        local, self._local = self._local, None
        if local is not None:
            self._limit.give_back(local)
        taken, self._taken = self._taken, None
        return None if taken is None else _release(taken)


def _release(slot: Slot) -> Asking:
    yield Ask((Operation(RELEASE, (slot.key,), (slot.cost, slot.name)),))


def _check(
    amount: object, ttl: object, name: object, unidentified: object, on_outage: object, on_refused: OnRefused | None
) -> None:
    faults = refusal_faults(on_refused)
    if not isinstance(amount, int) or isinstance(amount, bool) or not 1 <= amount <= _MOST_AT_ONCE:
        faults.append(f"amount: {amount!r} given; allowed are whole numbers from 1 to {_MOST_AT_ONCE}")
    if not is_within(ttl, _SHORTEST, _LONGEST):
        faults.append(f"ttl: {ttl!r} given; allowed are {_SHORTEST} to {_LONGEST} seconds")
    faults += name_faults("name", name)
    faults += choice_faults("unidentified", unidentified, ("refuse", "allow"))
    faults += choice_faults("on_outage", on_outage, ("local", "open", "closed"))
    ConfigurationError.raise_for(faults)
