"""What a token service verifies with, and how: its keys, its access tokens, and the guard for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from ..core.steps import Ask
from ..errors import TokenInvalid, TokenRevoked
from ..redis.asking import carry_out
from .access import TYP, AccessToken, AccessTokens
from .guard import JWTAuth
from .key_source import RingVerifier
from .keys import KeyLike
from .questions import Questions
from .service_revocation import Revoking
from .signing import KeyRing, SigningKey
from .verify import ClaimRules, TokenRefused

if TYPE_CHECKING:
    from .middleware import JWTAuthOptions


class Verifying(Revoking):
    """The part of `TokenService` that knows its keys."""

    _keys: KeyRing
    _access: AccessTokens

    @property
    def keys(self) -> KeyRing:
        """The keys that sign and verify now."""
        return self._keys

    def use_keys(self, keys: KeyRing | SigningKey | KeyLike) -> None:
        """Sign and verify with other keys from now on: one step of a rotation, without a new service or guard."""
        ring, options = KeyRing.of(keys), self.options
        self._access = AccessTokens(
            ring, options.issuer, options.audiences, leeway=options.leeway, max_size=options.max_size
        )
        self._keys = ring

    def public_jwks(self) -> dict[str, list[dict[str, Any]]]:
        """Return the JWK set (RFC 7517) that others verify access tokens with."""
        return self._keys.public_jwks()

    async def verify(self, token: str | bytes) -> AccessToken:
        """Return the access token if it holds and is not revoked; raises `TokenInvalid`, `TokenRevoked`.

        It counts as revoked by itself, with its login, with its user (by generation, exactly, and by the cutoffs of a
        `RevocationList`), and by `revoke_all_before`. What does not hold costs no round trip, and nothing does while
        `revocation` is a mirror that is current. Raises `RedisUnavailable`.
        """
        try:
            access = self._access.read(token, self._clock())
        except TokenRefused as error:
            raise TokenInvalid(str(error)) from None
        if await self._is_revoked(Questions.about(access.token, self._redis.keys, self._namespace)):
            raise TokenRevoked("The access token was revoked")
        return access

    async def _is_revoked(self, questions: Questions) -> bool:
        known = self.revocation.look(self._redis.keys, questions)
        if known is not None:
            return known
        replies = await carry_out(self._redis, Ask(questions.operations()))
        return not replies.passed or self.revocation.remembers(self._redis.keys, questions)

    def _known(self, token: str | bytes) -> AccessToken | None:
        try:
            return self._access.read_whenever(token)
        except TokenRefused:
            return None

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
