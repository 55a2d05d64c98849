"""`JWKSKeys`: the published keys of those who issue the tokens that `JWTAuth` verifies. Options and a handle.

Law: nothing is fetched by constructing one. What is known of keys is shared by all guards and loops that have it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ...core.checks import is_within, seconds_faults, several
from ...errors import ConfigurationError, KeysUnavailable
from ..keys import PUBLIC_ALGORITHMS
from ..verify import ClaimRules
from .fetch import Fetcher
from .foreign import ForeignVerifier
from .remote_keys import RemoteKeys, Terms
from .url import url_faults


@dataclass(frozen=True, slots=True)
class JWKSStatus:
    """What is known of the keys of one issuer: how many, how old in seconds (None: none), and what fails."""

    issuer: str
    url: str | None
    keys: int
    age: float | None
    failures: int
    reason: str


class JWKSKeys:
    """Keys that issuers publish as JWK sets (RFC 7517), fetched when they are needed: `JWTAuth(keys=JWKSKeys(url))`.

    `url` is that of the set. `issuer` instead, or as well: whose tokens are accepted; without `url`, the issuer is
    asked where its keys are (OpenID Connect Discovery 1.0). For several tenants, `url` maps each issuer to the URL of
    its keys, or to None to have it discovered: a token is verified with the keys of the issuer that it names and no
    others. `algorithms`: what is accepted of what a key is for; without it, what the key names, else the first of its
    family. Needs httpx: `pip install asgi-redis-guard[jwks]`.

    Times are in seconds. Keys serve for as long as `Cache-Control` says, at least 60 s (or `lifetime`, if that is less)
    and at most `longest`, and for `lifetime` where it says nothing; after four fifths of that they are fetched anew
    while the old ones serve. While they cannot be had, those that are known serve for `stale_if_error` more, then
    tokens are answered with 503. A token with a `kid` that nobody knows has them fetched again, once per `cooldown` and
    no oftener, whoever sends what. A fetch takes `timeout` at the most, a set has `max_size` bytes and `max_keys` keys
    at the most.
    `loopback_http` allows `http://` on this host, for tests. `context`: what certificates are checked against.
    Raises `ConfigurationError`.
    """

    def __init__(
        self,
        url: str | Mapping[str, str | None] | None = None,
        *,
        issuer: str | None = None,
        algorithms: Iterable[str] = (),
        lifetime: float = 600.0,
        longest: float = 86_400.0,
        stale_if_error: float = 21_600.0,
        cooldown: float = 30.0,
        timeout: float = 5.0,
        max_size: int = 524_288,
        max_keys: int = 100,
        loopback_http: bool = False,
        context: ssl.SSLContext | None = None,
    ) -> None:
        wanted = several(algorithms)
        terms = Terms(wanted, lifetime, longest, stale_if_error, cooldown, timeout, max_size, max_keys, loopback_http)
        places = _places(url, issuer)
        ConfigurationError.raise_for([*_place_faults(places, loopback_http), *_faults(terms, context)])
        self._terms = terms
        self._fetcher = Fetcher(terms, context)
        #: What is known of each issuer's keys; "" stands for whichever issuer.
        self.remotes: Mapping[str, RemoteKeys] = MappingProxyType(
            {whose: RemoteKeys(whose, where, terms) for whose, where in places.items()}
        )

    @property
    def issuers(self) -> tuple[str, ...]:
        """The issuers whose tokens are accepted; empty where only a URL was given."""
        return tuple(filter(None, self.remotes))

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What is accepted; empty for what each key is for."""
        return self._terms.algorithms

    @property
    def timeout(self) -> float:
        """Seconds that a fetch takes at the most."""
        return self._terms.timeout

    def verifier(self, rules: ClaimRules, *, max_size: int, cache_size: int) -> ForeignVerifier:
        """Return what verifies tokens by these keys; for guards."""
        return ForeignVerifier(self, rules, max_size=max_size, cache_size=cache_size)

    async def load(self) -> None:
        """Fetch all keys now, so that the first request need not wait; raises `KeysUnavailable` for what failed."""
        await asyncio.gather(*[self.fetch(remote, time.time) for remote in self.remotes.values()])
        failed = [
            f"{remote.issuer or remote.url}: {remote.reason}" for remote in self.remotes.values() if remote.failures
        ]
        if failed:
            raise KeysUnavailable("; ".join(failed))

    async def fetch(self, remote: RemoteKeys, clock: Callable[[], float]) -> None:
        """Fetch the keys of one issuer; never raises. For guards, which see to it that one does it for all."""
        await self._fetcher.fetch(remote, clock)

    def status(self, now: float | None = None) -> list[JWKSStatus]:
        """Tell what is known of each issuer's keys, for a health check."""
        at = time.time() if now is None else now
        return [_status(remote, at) for remote in self.remotes.values()]

    def __repr__(self) -> str:
        return f"<JWKSKeys {', '.join(map(repr, self.remotes.values()))}>"


def _status(remote: RemoteKeys, now: float) -> JWKSStatus:
    held = remote.held
    return JWKSStatus(
        remote.issuer,
        remote.url,
        0 if held is None else len(held.keys),
        None if held is None else max(0.0, now - remote.fetched),
        remote.failures,
        remote.reason,
    )


def _places(url: object, issuer: str | None) -> dict[str, str | None]:
    """Where the keys of which issuer are; "" stands for whichever issuer."""
    if isinstance(url, Mapping):
        if issuer is not None:
            raise ConfigurationError("issuer: given beside a mapping of issuers; allowed is one or the other")
        return dict(url)
    if url is None and issuer is None:
        return {}
    return {issuer or "": url}  # type: ignore[dict-item]  # it is examined next


def _place_faults(places: Mapping[str, str | None], loopback_http: bool) -> list[str]:
    if not places:
        return ["url: none given; the URL of a JWK set, or an issuer, is needed"]
    faults = []
    for issuer, url in places.items():
        if url is not None:
            faults += url_faults("url", url, loopback_http)
        if url is None:
            faults += url_faults("issuer", issuer, loopback_http)
            if isinstance(issuer, str) and "?" in issuer:
                faults.append(f"issuer: {issuer!r} given; allowed to be discovered are URLs without a query")
        elif not isinstance(issuer, str):
            faults.append(f"issuer: {issuer!r} given; allowed are the names of issuers, as `iss` has them")
        elif not issuer and len(places) > 1:
            faults.append("issuer: one without a name given beside others")
    return faults


def _faults(terms: Terms, context: object) -> list[str]:
    faults = [
        f"algorithms: {name!r} given; allowed are {', '.join(PUBLIC_ALGORITHMS)}, for keys that are published"
        for name in terms.algorithms
        if name not in PUBLIC_ALGORITHMS
    ]
    faults += seconds_faults("lifetime", terms.lifetime, 1, 604_800)
    faults += seconds_faults("longest", terms.longest, 60, 604_800)
    faults += seconds_faults("stale_if_error", terms.stale_if_error, 0, 604_800)
    faults += seconds_faults("cooldown", terms.cooldown, 1, 3600)
    faults += seconds_faults("timeout", terms.timeout, 0.01, 60)
    if terms.max_size.__class__ is not int or not is_within(terms.max_size, 1024, 16 << 20):
        faults.append(f"max_size: {terms.max_size!r} given; allowed are 1024 to {16 << 20} bytes")
    if terms.max_keys.__class__ is not int or not is_within(terms.max_keys, 1, 1000):
        faults.append(f"max_keys: {terms.max_keys!r} given; allowed are 1 to 1000")
    if context is not None and not isinstance(context, ssl.SSLContext):
        faults.append(f"context: {context!r} given; allowed is an ssl.SSLContext")
    if importlib.util.find_spec("httpx") is None:
        faults.append("httpx: not installed; pip install asgi-redis-guard[jwks]")
    return faults
