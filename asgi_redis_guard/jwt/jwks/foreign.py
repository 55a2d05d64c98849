"""Verifying tokens that others have issued, by keys that they publish: which keys, and when to have them fetched.

Pure: a fetch is begun by the exchange's services, and waited for by the guard. Tokens are anybody's to make up: what
would be refused with any key causes no fetch, and a `kid` that nobody knows causes one per cool-down at the most.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Protocol

import orjson

from ...core.exchange import Exchange
from ...core.steps import Waitable
from ..key_source import KeysAway, KeysWanted
from ..keys import PUBLIC_ALGORITHMS, KeySet
from ..verify import COMPACT, ClaimRules, SignatureRefused, TokenRefused, VerifiedToken, Verifier
from .remote_keys import Held, RemoteKeys

#: Seconds more than a fetch may take, for whoever waits for it.
_PATIENCE = 1.0


class RemoteSource(Protocol):
    """Where keys of others come from: `JWKSKeys`. `remotes` has them by issuer; "" stands for whichever issuer."""

    @property
    def remotes(self) -> Mapping[str, RemoteKeys]: ...

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What is accepted; empty for what each key is for."""

    @property
    def timeout(self) -> float:
        """Seconds that a fetch takes at the most."""

    def fetch(self, remote: RemoteKeys, clock: Callable[[], float]) -> Awaitable[None]: ...


class _Parts(NamedTuple):
    """A token as it stands there, believed in nothing."""

    header: Mapping[str, Any]
    payload: bytes


class ForeignVerifier:
    """Verifies tokens of the issuers that a source has keys of.

    Good tokens are remembered as long as their issuer's keys stay what they are; the issuers share `cache_size`.
    """

    def __init__(self, source: RemoteSource, rules: ClaimRules, *, max_size: int, cache_size: int) -> None:
        self.source = source
        self.rules = rules
        self._max_size = max_size
        remotes = source.remotes
        self._cache_size = -(-cache_size // len(remotes))
        self._lone = next(iter(remotes.values())) if len(remotes) == 1 else None
        self._verifiers: dict[str, tuple[Held, Verifier]] = {}
        self._unsigned = Verifier(KeySet.of(()), rules, max_size=max_size, cache_size=0)

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What may be accepted."""
        return self.source.algorithms or PUBLIC_ALGORITHMS

    def verify(self, token: bytes, exchange: Exchange, *, final: bool = False) -> VerifiedToken:
        """Return the verified token; raises `TokenRefused`, `KeysAway`, and unless it is `final` `KeysWanted`."""
        if len(token) > self._max_size:
            raise TokenRefused("The access token is too long")
        now, parts, remote = exchange.now, None, self._lone
        if remote is None:
            parts = _parts_of(token)
            remote = self._remote_of(parts)
        state = remote.state(now)
        if state == "away" or (state == "wanted" and final and not remote.serves(now)):
            raise KeysAway(remote.pause_left(now))
        if state == "wanted" and not final:
            parts = parts or _parts_of(token)
            self._check_unsigned(parts, now)
            raise self._wanted(remote, exchange)
        if state == "due":
            self._begin(remote, exchange)
        try:
            return self._verifier_of(remote).verify(token, now)
        except SignatureRefused:
            self._unknown(remote, parts or _parts_of(token), exchange, final)
            raise

    def _unknown(self, remote: RemoteKeys, parts: _Parts, exchange: Exchange, final: bool) -> None:
        """Have keys fetched if that may help a token that no key has signed; returns where it does not."""
        kid, now = parts.header.get("kid"), exchange.now
        if remote.knows(kid):
            return
        self._check_unsigned(parts, now)
        if not final:
            if self._is_under_way(remote, exchange) or remote.claim(kid, now):
                raise self._wanted(remote, exchange)
        elif not remote.failures:
            remote.missed(kid, now)
        if remote.failures:
            raise KeysAway(remote.pause_left(now))

    def _remote_of(self, parts: _Parts) -> RemoteKeys:
        """Return the keys of who the token says has issued it; no other's will be tried."""
        issuer = _object(parts.payload).get("iss")
        remote = self.source.remotes.get(issuer) if isinstance(issuer, str) else None
        if remote is None:
            raise TokenRefused("The access token is from another issuer")
        return remote

    def _check_unsigned(self, parts: _Parts, now: float) -> None:
        if parts.header.get("alg") not in self.algorithms:
            raise TokenRefused("The access token is invalid")
        self._unsigned.check_unsigned(parts.header, parts.payload, now)

    def _verifier_of(self, remote: RemoteKeys) -> Verifier:
        """Return the verifier with the keys as they are: new keys forget what was verified by old ones."""
        held = remote.held
        if held is None:
            raise KeysAway(1.0)
        known = self._verifiers.get(remote.issuer)
        if known is None or known[0] is not held:
            keys = KeySet.of(held.keys)
            verifier = Verifier(keys, self.rules, max_size=self._max_size, cache_size=self._cache_size)
            known = self._verifiers[remote.issuer] = (held, verifier)
        return known[1]

    # Fetching.

    def _is_under_way(self, remote: RemoteKeys, exchange: Exchange) -> bool:
        return exchange.services is not None and exchange.services.flights.find(_work(remote)) is not None

    def _wanted(self, remote: RemoteKeys, exchange: Exchange) -> Exception:
        """Return what tells to wait for the fetch, which is begun unless it is under way."""
        joined = self._is_under_way(remote, exchange)
        flight = self._begin(remote, exchange)
        return KeysAway(1.0) if flight is None else KeysWanted(flight, self.source.timeout + _PATIENCE, joined)

    def _begin(self, remote: RemoteKeys, exchange: Exchange) -> Waitable | None:
        services = exchange.services
        if services is None:
            return None
        return services.share(_work(remote), lambda: self.source.fetch(remote, services.clock))


def _work(remote: RemoteKeys) -> tuple[str, RemoteKeys]:
    """What names the fetch among the flights of a loop."""
    return "jwks", remote


def _parts_of(token: bytes) -> _Parts:
    """Take a token apart; raises `TokenRefused`."""
    if COMPACT.fullmatch(token) is None:
        raise TokenRefused("The access token is malformed")
    header, payload, _ = token.split(b".")
    return _Parts(_object(_decoded(header)), _decoded(payload))


def _decoded(text: bytes) -> bytes:
    try:
        return urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        raise TokenRefused("The access token is malformed") from None


def _object(text: bytes) -> Mapping[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise TokenRefused("The access token is malformed")
    return found
