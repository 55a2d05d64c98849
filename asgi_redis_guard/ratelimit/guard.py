"""`RateLimit`: counts requests against one or more limits. Pure: the server's clock decides, in the program."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Literal

from ..core.asgi import Headers
from ..core.client_ip import TrustedProxies
from ..core.exchange import Exchange
from ..core.guard import OneRoundGuard, OnRefused, refusal_faults
from ..core.keys import Keys, digest, is_short
from ..core.paths import PathPatterns
from ..core.problem import problem, unavailable
from ..core.responder import Head, Responder
from ..core.script import Replies
from ..core.steps import PASS, Answer, Ask, Pass
from ..errors import ConfigurationError, RedisUnavailable
from .headers import limit_headers, merge, passed_headers, policy_member, state_template
from .identity import Identity, KeyPart
from .local import LocalLimits
from .policy import KINDS, Algorithm, LimitState, make_limits, read_states

#: The problem type that the draft registers for a violated quota.
_QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"


#: Units that a request may take; a request of more than a limit has never fits.
_MOST_UNITS = 1_000_000_000

#: How many units a request takes.
Cost = int | Callable[[Exchange], int]


class RateLimit(OneRoundGuard):
    """Refuse requests beyond `limits`, such as `"100/minute", "1000/hour"`, with 429.

    All limits of a stack are decided together: a request that any of them refuses is counted by none. `key` says whose
    requests are counted together: `address`, `user`, `path`, `header:<name>`, a function over the exchange, or several
    of them. `paths`: only these path patterns, counted together unless `path` is part of the key. `algorithm`: `gcra`
    (evenly spaced, `burst` at once), `fixed` (windows that begin with a first request), `counter` (the same, with the
    part of the window before that is not older than a period), `log` (exact, one entry a request). `name` stands in
    headers and keys; limits of one name, period and key share their count. `cost`: how many units a request takes, a
    number or a function over the exchange; 0 only looks, so that the headers are there.

    `trusted_proxies`: whose `X-Forwarded-For` is believed. `unidentified`: what happens to a request whose key cannot
    be told, `refuse` (400) or `allow`. `on_outage`: `local` counts in this process while Redis is away, for at most
    `local_keys` identities; `open` lets pass; `closed` answers 503. `legacy_headers` adds `X-RateLimit-*` (reset in
    seconds). `on_refused(exchange, answer)` may return another answer. Raises `ConfigurationError`.
    """

    kind = "ratelimit"
    refunds = True
    operations = tuple(KINDS.values())

    def __init__(
        self,
        *limits: str,
        key: KeyPart | Iterable[KeyPart] = "address",
        cost: Cost = 1,
        name: str | None = None,
        algorithm: Algorithm = "gcra",
        burst: int | None = None,
        paths: Iterable[str] = (),
        exempt: Iterable[str] = (),
        exempt_preflight: bool = True,
        trusted_proxies: Iterable[str] | TrustedProxies = (),
        unidentified: Literal["refuse", "allow"] = "refuse",
        on_outage: Literal["local", "open", "closed"] = "local",
        on_refused: OnRefused | None = None,
        local_keys: int = 10_000,
        legacy_headers: bool = False,
    ) -> None:
        _check(on_outage, unidentified, local_keys, on_refused)
        proxies = TrustedProxies.of(trusted_proxies)
        self._paths = PathPatterns(paths, option="paths", lenient=True)
        self._selective = bool(self._paths)
        self.limits = make_limits(limits, algorithm, burst, name, self._paths.patterns)
        self.concern(name or "ratelimit", exempt, exempt_preflight, on_refused)
        self.identity = Identity(key, proxies)
        self.needs = self.identity.needs
        self.claims = frozenset((limit.key_name, self.identity.parts) for limit in self.limits)
        self._cost = cost if callable(cost) else _checked_cost(cost)
        self._unidentified = unidentified
        self._on_outage = on_outage
        self._closed = on_outage == "closed"
        self._remembered = lru_cache(maxsize=8192)(self._make_ask)
        self._local = LocalLimits(self.limits, max_keys=local_keys)
        self._legacy = legacy_headers
        self._policy = b", ".join(policy_member(limit) for limit in self.limits)
        self._template = state_template(self.limits)

    def ask(self, exchange: Exchange) -> Ask | Pass | Answer:
        """Count the request against all limits, or refuse it."""
        pattern = None
        if self._selective and (pattern := self._matching(exchange)) is None:
            return PASS
        identity = self.identity.of(exchange, pattern)
        if identity is None:
            return PASS if self._unidentified == "allow" else self.refuse(exchange, _nobody())
        make = self._remembered if is_short(identity) else self._make_ask
        cost = self._cost
        return make(exchange.keys, identity, _checked_cost(cost(exchange)) if callable(cost) else cost)

    def decide(self, exchange: Exchange, replies: Replies) -> Pass | Answer:
        """Let pass what is within all limits."""
        if replies.passed:
            return Pass(responder=LimitResponder(self, replies))
        return self._judge(exchange, read_states(self.limits, replies))

    def without_redis(self, exchange: Exchange, ask: Ask, error: RedisUnavailable) -> Pass | Answer:
        """Follow `on_outage`."""
        if self._on_outage == "open":
            return PASS
        if self._on_outage == "closed":
            return self.refuse(exchange, unavailable("Requests cannot be counted now."))
        identity, cost = ask.about
        return self._judge(exchange, self._local.decide(identity, cost, exchange.now))

    def _matching(self, exchange: Exchange) -> str | None:
        return next((found for path in exchange.paths if (found := self._paths.match(path)) is not None), None)

    def _make_ask(self, keys: Keys, identity: tuple[str | bytes, ...], cost: int) -> Ask:
        hashed = digest(*identity)
        operations = [limit.operation(keys, hashed, cost) for limit in self.limits]
        return Ask(operations, closed=self._closed, about=(hashed, cost))

    def headers(self, states: Replies | list[LimitState]) -> Headers:
        """Return the header fields for a response."""
        if isinstance(states, Replies):
            if not self._legacy:
                return passed_headers(self._policy, self._template, states.flat)
            states = read_states(self.limits, states)
        return limit_headers(self._policy, states, legacy=self._legacy)

    def _judge(self, exchange: Exchange, states: list[LimitState]) -> Pass | Answer:
        violated = [state.limit.name for state in states if not state.allowed]
        if not violated:
            return Pass(responder=LimitResponder(self, states))
        fields = self.headers(states)
        answer = problem(
            429,
            "rate_limited",
            "The request exceeds a rate limit; retry after the time given.",
            type=_QUOTA_EXCEEDED,
            headers=fields,
            members={"violated-policies": violated},
        )
        return self.refuse(exchange, answer)

    def __repr__(self) -> str:
        limits = ", ".join(f"{limit.amount} per {limit.period} s" for limit in self.limits)
        return f"<RateLimit {self.name}: {limits} by {', '.join(map(str, self.identity.parts))}>"


class LimitResponder(Responder):
    """Puts the state of the limits on the response."""

    __slots__ = ("_limit", "_states")

    def __init__(self, limit: RateLimit, states: Replies | list[LimitState]) -> None:
        self._limit = limit
        self._states = states

    def start(self, head: Head) -> None:
        """Add or join the header fields."""
        merge(head.headers, self._limit.headers(self._states))


def _checked_cost(cost: int) -> int:
    if cost.__class__ is not int or not 0 <= cost <= _MOST_UNITS:
        raise ConfigurationError(f"cost: {cost!r} given; allowed are whole numbers from 0 to {_MOST_UNITS}")
    return cost


def _nobody() -> Answer:
    return problem(400, "unidentified", "The request does not tell whose it is.")


def _check(on_outage: str, unidentified: str, local_keys: int, on_refused: OnRefused | None) -> None:
    faults = refusal_faults(on_refused)
    if on_outage not in ("local", "open", "closed"):
        faults.append(f"on_outage (GUARD_LIMIT_ON_OUTAGE): {on_outage!r} given; allowed are 'local', 'open', 'closed'")
    if unidentified not in ("refuse", "allow"):
        faults.append(f"unidentified: {unidentified!r} given; allowed are 'refuse' and 'allow'")
    if local_keys < 1:
        faults.append(f"local_keys: {local_keys} given; allowed are 1 and above")
    ConfigurationError.raise_for(faults)
