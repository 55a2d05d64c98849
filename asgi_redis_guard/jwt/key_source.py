"""Where the keys that a guard verifies with come from, where they are not its own: of others, or of a token service.

Pure: what it takes to have them is for the engine to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..core.exchange import Exchange
from .keys import KeySet
from .signing import KeyRing
from .verify import ClaimRules, VerifiedToken, Verifier


class ExchangeVerifier(Protocol):
    """Verifies the tokens of exchanges."""

    @property
    def rules(self) -> ClaimRules: ...

    @property
    def algorithms(self) -> tuple[str, ...]: ...

    def verify(self, token: bytes, exchange: Exchange, *, final: bool = False) -> VerifiedToken:
        """Return the verified token; raises `TokenRefused`, or what `foreign` says where keys are to be had first."""


class KeySource(Protocol):
    """What `JWTAuth(keys=…)` takes: `JWKSKeys`, or a `TokenService`."""

    @property
    def issuers(self) -> tuple[str, ...]:
        """The issuers whose tokens are accepted; empty for those that the guard names."""

    def verifier(self, rules: ClaimRules, *, max_size: int, cache_size: int) -> ExchangeVerifier: ...


class RingVerifier:
    """Verifies by the keys that a service has at the time: new ones forget what was verified by old ones."""

    def __init__(self, ring: Callable[[], KeyRing], rules: ClaimRules, *, max_size: int, cache_size: int) -> None:
        self.rules = rules
        self._ring = ring
        self._sizes = {"max_size": max_size, "cache_size": cache_size}
        self._made = self._of(ring())

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What is accepted."""
        return self._current().keys.algorithms

    def verify(self, token: bytes, exchange: Exchange, *, final: bool = False) -> VerifiedToken:
        """Return the verified token; raises `TokenRefused`."""
        return self._current().verify(token, exchange.now)

    def _current(self) -> Verifier:
        ring = self._ring()
        if self._made[0] is not ring:
            self._made = self._of(ring)
        return self._made[1]

    def _of(self, ring: KeyRing) -> tuple[KeyRing, Verifier]:
        return ring, Verifier(KeySet(ring.verify_keys()), self.rules, **self._sizes)
