"""What a token service verifies with, and how: its keys, its access tokens, and the guard for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack

from ...core.exchange import Exchange
from ...core.steps import Ask
from ...errors import ConfigurationError, RedisUnavailable, TokenInvalid, TokenRevoked
from ...redis.asking import carry_out
from ...redis.manager import RedisManager
from ..guard import JWTAuth
from ..keys import KeyLike, KeySet
from ..revocation.questions import MISSING, Questions
from ..revocation.revocation_list import RevocationList
from ..signing import KeyRing, SigningKey
from ..verify import ClaimRules, TokenRefused, VerifiedToken, Verifier
from .access import TYP, AccessToken, AccessTokens, text_of
from .options import Options

if TYPE_CHECKING:
    from ..middleware import JWTAuthOptions


class Verifying:
    """The part of `TokenService` that knows its keys, and what is revoked."""

    _keys: KeyRing
    _access: AccessTokens

    def __init__(
        self,
        redis: RedisManager,
        keys: KeyRing | SigningKey | KeyLike,
        revocation: RevocationList | None,
        options: Options,
        clock: Callable[[], float],
    ) -> None:
        self.options = options
        self._redis = redis
        self._clock = clock
        self._namespace = options.namespace
        self._issuer = self._namespace or None
        #: The blacklist that access tokens are in.
        self.revocation = revocation or RevocationList(
            redis,
            max_lifetime=options.access_ttl,
            by_issuer=options.by_issuer,
            wait_replicas=options.wait_replicas or 0,
        )
        ConfigurationError.raise_for(_revocation_faults(self.revocation, redis, options))
        self.use_keys(keys)

    @property
    def redis(self) -> RedisManager:
        """The manager that it asks by."""
        return self._redis

    @property
    def clock(self) -> Callable[[], float]:
        """Tells the present time, in seconds since the epoch."""
        return self._clock

    @property
    def keys(self) -> KeyRing:
        """The keys that sign and verify now."""
        return self._keys

    def use_keys(self, keys: KeyRing | SigningKey | KeyLike) -> None:
        """Sign and verify with other keys from now on: one step of a rotation, without a new service or guard.

        Raises `ConfigurationError`.
        """
        ring, options = KeyRing.of(keys), self.options
        self._access = AccessTokens(
            ring, options.issuer, options.audiences, leeway=options.leeway, max_size=options.max_size
        )
        self._keys = ring

    def public_jwks(self) -> dict[str, list[dict[str, Any]]]:
        """Return the JWK set (RFC 7517) that others verify access tokens with."""
        return self._keys.public_jwks()

    def read(self, token: str | bytes, *, whenever: bool = False) -> AccessToken | None:
        """Return an access token of this service without asking Redis, so revoked ones too; None for any other.

        `whenever`: also one whose time is over, or has not come.
        """
        try:
            return self._access.read_whenever(token) if whenever else self._access.read(text_of(token), self._clock())
        except TokenRefused:
            return None

    async def verify(self, token: str | bytes) -> AccessToken:
        """Return the access token if it holds and is not revoked; raises `TokenInvalid`, `TokenRevoked`.

        It counts as revoked by itself, with its login, with its user (by generation, exactly, and by the cutoffs of a
        `RevocationList`), and by `revoke_all_before`. What does not hold costs no round trip, and nothing does while
        `revocation` is a mirror that is current. Raises `RedisUnavailable`.
        """
        try:
            access = self._access.read(text_of(token), self._clock())
        except TokenRefused as error:
            raise TokenInvalid(str(error)) from None
        if await self.is_revoked(access):
            raise TokenRevoked("The access token was revoked")
        return access

    async def is_revoked(self, access: AccessToken) -> bool:
        """Tell whether an access token that was read is revoked, by whatever it may be. Raises `RedisUnavailable`."""
        questions = Questions.about(access.token, self._redis.keys, self._namespace)
        known = self.revocation.look(self._redis.keys, questions)
        if known is not None:
            return known
        losses = self._redis.links.losses
        losses.heed()
        replies = await carry_out(self._redis, Ask(questions.operations()))
        if not replies.passed or self.revocation.remembers(self._redis.keys, questions):
            return True
        if losses.lost:
            raise RedisUnavailable(MISSING)
        return False

    # For `JWTAuth(keys=…)`.

    @property
    def issuers(self) -> tuple[str, ...]:
        """Whose tokens these are."""
        return (self.options.issuer,)

    def verifier(self, rules: ClaimRules, *, max_size: int, cache_size: int) -> RingVerifier:
        """Return what verifies tokens by the keys of this service, whichever these are at the time; for guards."""
        return RingVerifier(lambda: self._keys, rules, max_size=max_size, cache_size=cache_size)

    def guard(self, **options: Unpack[JWTAuthOptions]) -> JWTAuth:
        """Return a guard that lets requests with access tokens of this service through; `options` are of `JWTAuth`.

        It has the keys of this service, also after `use_keys`, its issuer, audience, leeway and revocation list.
        """
        own: JWTAuthOptions = {
            "keys": self,
            "audience": self.options.audiences,
            "typ": TYP,
            "leeway": self.options.leeway,
            "max_size": self.options.max_size,
            "revocation": self.revocation,
        }
        own.update(options)
        return JWTAuth(**own)


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


def _revocation_faults(revocation: RevocationList, redis: RedisManager, options: Options) -> list[str]:
    if not isinstance(revocation, RevocationList):
        return [f"revocation: {revocation!r} given; allowed is a RevocationList of the same manager"]
    faults = []
    if revocation.redis is not redis:
        faults.append("revocation: a list of another Redis given; allowed is one of the same manager")
    if revocation.by_issuer is not options.by_issuer:
        faults.append(f"revocation: by_issuer is {revocation.by_issuer}; that of the service is {options.by_issuer}")
    if revocation.max_lifetime < options.access_ttl:
        faults.append(f"revocation: max_lifetime is {revocation.max_lifetime:g}; allowed is access_ttl or more")
    if options.wait_replicas not in (None, revocation.wait_replicas):
        own = options.wait_replicas
        faults.append(f"revocation: wait_replicas is {revocation.wait_replicas}; that of the service is {own}")
    return faults
