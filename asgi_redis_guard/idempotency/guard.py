"""`Idempotency`: requests with an `Idempotency-Key` take effect once, and retries get the same response. Pure.

The semantics are those of draft-ietf-httpapi-idempotency-key-header-07.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..core.checks import bytes_faults, choice_faults, name_faults, seconds_faults, several
from ..core.client_ip import TrustedProxies
from ..core.exchange import Exchange
from ..core.guard import OneRoundGuard, OnRefused, refusal_faults
from ..core.identity import Identity, KeyPart
from ..core.keys import digest
from ..core.paths import PathPatterns
from ..core.problem import nobody
from ..core.steps import PASS, Admission, Answer, Body, Pass
from ..errors import BodyTooLarge, ConfigurationError
from . import refusals
from .admitting import Admitting
from .fingerprint import fingerprint_of
from .key_field import key_of
from .operations import ALL, Claim
from .options import LONGEST_LEASE, LONGEST_TTL, LONGEST_WAIT, header_faults, method_faults
from .responder import running


class Idempotency(OneRoundGuard):
    """Carry out a request with an `Idempotency-Key` once; answer the next ones with the same key as that one was.

    The first runs under a `lease` in seconds, which is renewed: what a killed process has begun may begin again after
    that. Its response is recorded for `ttl` seconds before its head is sent, where it has 2xx, 3xx or 4xx but 307,
    308, 409, 425 and 429; after another status, an exception or a cancellation the request may run again. A retry gets
    the same status, fields and body with `Idempotent-Replayed: true`; while the first runs, a 409 with `Retry-After`,
    or within `wait` seconds what that is answered; with another method, target or body, a 422. Bodies of responses over
    `max_response` bytes, and streams, are not kept: a retry gets a 409 that says so. Bodies of requests over `max_body`
    bytes get a 413.

    `key` says whose the keys are, as for `RateLimit`; `methods` which requests may have one, `required` that they must.
    `on_outage`: while Redis is away `closed` answers 503, `open` runs unguarded. `paths`, `trusted_proxies`,
    `unidentified`, `exempt`, `exempt_preflight` and `on_refused` are as for `RateLimit`; guards with different names
    have different records. WebSockets pass. Raises `ConfigurationError`.
    """

    kind = "idempotency"
    inside = frozenset(("jwt", "sessions", "csrf"))
    operations = ALL

    def __init__(
        self,
        *,
        methods: Iterable[str] = ("POST", "PATCH"),
        required: bool = False,
        key: KeyPart | Iterable[KeyPart] = "user",
        ttl: float = 86_400,
        lease: float = 30,
        wait: float = 0,
        max_body: int = 1 << 20,
        max_response: int = 1 << 20,
        on_outage: Literal["closed", "open"] = "closed",
        unidentified: Literal["refuse", "allow"] = "refuse",
        paths: Iterable[str] = (),
        exempt: Iterable[str] = (),
        exempt_preflight: bool = True,
        trusted_proxies: Iterable[str] | TrustedProxies = (),
        name: str | None = None,
        header: str = "idempotency-key",
        on_refused: OnRefused | None = None,
    ) -> None:
        methods = several(methods)
        ConfigurationError.raise_for(
            refusal_faults(on_refused)
            + method_faults(methods)
            + seconds_faults("ttl", ttl, 1, LONGEST_TTL)
            + seconds_faults("lease", lease, 1, LONGEST_LEASE)
            + seconds_faults("wait", wait, 0, LONGEST_WAIT)
            + bytes_faults("max_body", max_body)
            + bytes_faults("max_response", max_response)
            + choice_faults("on_outage", on_outage, ("closed", "open"))
            + choice_faults("unidentified", unidentified, ("refuse", "allow"))
            + name_faults("name", name)
            + header_faults(header)
        )
        self.ttl, self.lease, self.wait, self.max_body = ttl, lease, wait, max_body
        self.is_open = on_outage == "open"
        self.reads_body = max_body
        self.responder = running(max_response)
        self._methods = frozenset(method.upper() for method in methods)
        self._required = required
        self._header, self._field = header, header.lower().encode()
        self._allows_nobody = unidentified == "allow"
        self._paths = PathPatterns(paths, option="paths", lenient=True)
        self.concern(name or "idempotency", exempt, exempt_preflight, on_refused)
        self.identity = Identity(key, TrustedProxies.of(trusted_proxies), "GUARD_IDEMPOTENCY_KEY")
        self.needs = self.identity.needs
        self._space = name or (digest(*self._paths.patterns).decode() if self._paths else "default")
        self.claims = frozenset([("idempotency", self._space)])

    def ask(self, exchange: Exchange) -> Pass | Answer | Admission:
        """Let pass what has no key; for the others the body is needed first."""
        if exchange.is_websocket or exchange.method.upper() not in self._methods:
            return PASS
        pattern = None
        if self._paths and (pattern := self._paths.find(exchange.paths)) is None:
            return PASS
        given = exchange.headers(self._field)
        if not given:
            return self.refuse(exchange, refusals.missing(self._header)) if self._required else PASS
        key = key_of(given)
        if key is None:
            return self.refuse(exchange, refusals.malformed(self._header))
        identity = self.identity.of(exchange, pattern)
        if identity is None:
            return PASS if self._allows_nobody else self.refuse(exchange, nobody())
        return self._admit(exchange, digest("request", self._space, *identity, "key", key))

    def _admit(self, exchange: Exchange, word: bytes) -> Admission:
        """Read the body, then run the request, or answer it as it stands."""
        try:
            body = yield Body(self.max_body)
        except BodyTooLarge:
            return self.refuse(exchange, refusals.too_large(self.max_body))
        fingerprint = fingerprint_of(exchange.scope, body)
        claim = Claim.of(exchange.keys, word, fingerprint, exchange.random, self.lease, self.ttl)
        return (yield from Admitting(self, exchange, claim).run())

    def __repr__(self) -> str:
        methods = ", ".join(sorted(self._methods))
        return f"<Idempotency {self.name}: {methods} by {', '.join(map(str, self.identity.parts))}>"
