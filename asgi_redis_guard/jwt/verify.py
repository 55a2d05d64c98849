"""From bytes to a verified token: size, header, signature, claims, in this order, without I/O and without a clock.

Signatures are PyJWT's work. Times are compared here with the `now` that is given, on every use of a token, also when
the rest of the verification is remembered.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson
from jwt import PyJWS
from jwt.algorithms import HMACAlgorithm
from jwt.exceptions import PyJWTError

from .keys import KeySet, VerifyKey

#: RFC 7515 §3.1: three parts of base64url. Anything else never reaches a parser.
COMPACT = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


class _CheckedHMAC(HMACAlgorithm):
    """HMAC whose secret was checked when it was given; PyJWT would examine it again for every token."""

    def prepare_key(self, key: str | bytes) -> bytes:
        return key if isinstance(key, bytes) else key.encode()


_HASHES = {"HS256": HMACAlgorithm.SHA256, "HS384": HMACAlgorithm.SHA384, "HS512": HMACAlgorithm.SHA512}


class TokenRefused(Exception):
    """This token is not accepted; the text is fit for `error_description` and tells nothing about keys."""


class SignatureRefused(TokenRefused):
    """No key of those that are known has made the signature."""


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What the claims must be. Times in seconds. Empty `issuers` or `audiences` mean that none is expected."""

    issuers: frozenset[str] = frozenset()
    audiences: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset(("exp",))
    typ: str | None = None
    leeway: float = 0.0
    max_lifetime: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedToken:
    """A token whose signature and claims hold; its times hold at the moment that `check_times` was last called for.

    `payload` is kept as bytes, so that no two requests share a mutable claim. `signed` is the SHA-256 of what was
    signed, which no re-encoding of the signature changes. `since` and `until` bound the time in which it is accepted,
    `until` itself not included. Compared by identity: one object stands for a token as long as it is remembered.
    """

    payload: bytes
    subject: str
    issuer: str
    token_id: str | None
    scopes: tuple[str, ...]
    expires_at: float | None
    not_before: float | None
    issued_at: float | None
    signed: bytes
    since: float
    until: float

    def __repr__(self) -> str:
        return f"<VerifiedToken of {self.subject!r}>"


class Verifier:
    """Verifies tokens against one configuration and remembers the last `cache_size` good ones.

    The memory is keyed on the SHA-256 of the whole token and belongs to this configuration alone; only good tokens
    enter it, so that garbage cannot push them out.
    """

    def __init__(self, keys: KeySet, rules: ClaimRules, *, max_size: int = 8192, cache_size: int = 4096) -> None:
        self.keys = keys
        self.rules = rules
        self.max_size = max_size
        self._cache: dict[bytes, VerifiedToken] = {}
        self._cache_size = cache_size
        self._jws = PyJWS(algorithms=list(keys.algorithms))
        for name, hash_alg in _HASHES.items():
            if name in keys.algorithms:
                self._jws.unregister_algorithm(name)
                self._jws.register_algorithm(name, _CheckedHMAC(hash_alg))

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What may be accepted."""
        return self.keys.algorithms

    def verify(self, token: bytes, now: float) -> VerifiedToken:
        """Return the verified token; raises `TokenRefused`. `now` is seconds since the epoch."""
        if len(token) > self.max_size:
            raise TokenRefused("The access token is too long")
        known = sha256(token).digest()
        verified = self._cache.get(known)
        if verified is None:
            verified = self._verify(token)
            self.check_times(verified, now)
            self._remember(known, verified)
        else:
            self.check_times(verified, now)
        return verified

    def check_unsigned(self, header: Mapping[str, Any], payload: bytes, now: float) -> None:
        """Check what needs no key, whoever may have written it; raises `TokenRefused`."""
        self._check_type(header)
        self.check_times(self._claims(payload, b""), now)

    def check_times(self, token: VerifiedToken, now: float) -> None:
        """Compare `exp`, `nbf` and `iat` with `now` (RFC 7519 §4.1); raises `TokenRefused`."""
        if not token.since <= now < token.until:
            raise TokenRefused(self._untimely(token, now))

    def _untimely(self, token: VerifiedToken, now: float) -> str:
        """Say which of a token's times is the one that does not hold."""
        leeway = self.rules.leeway
        if token.expires_at is not None and now >= token.expires_at + leeway:
            return "The access token expired"
        if token.not_before is not None and now < token.not_before - leeway:
            return "The access token is not valid yet"
        if token.issued_at is not None and now < token.issued_at - leeway:
            return "The access token was issued in the future"
        return "The access token is valid for longer than is accepted here"

    def _span(self, expires: float | None, not_before: float | None, issued: float | None) -> tuple[float, float]:
        """Return from when and until when a token with these times is accepted."""
        leeway, most = self.rules.leeway, self.rules.max_lifetime
        since = max(-math.inf if time is None else time - leeway for time in (not_before, issued))
        until = math.inf if expires is None else expires + leeway
        if most is None or most == math.inf:
            return since, until
        if expires is None or (issued is not None and expires - issued > most):
            return since, -math.inf
        return (since if issued is not None else max(since, expires - most)), until

    def _remember(self, known: bytes, verified: VerifiedToken) -> None:
        cache = self._cache
        if self._cache_size <= 0:
            return
        if len(cache) >= self._cache_size:
            with contextlib.suppress(KeyError, RuntimeError, StopIteration):  # another thread's loop was at it as well
                del cache[next(iter(cache))]
        cache[known] = verified

    def _verify(self, token: bytes) -> VerifiedToken:
        if COMPACT.fullmatch(token) is None:
            raise TokenRefused("The access token is malformed")
        decoded = self._decode(token)
        self._check_type(decoded["header"])
        return self._claims(decoded["payload"], sha256(token.rpartition(b".")[0]).digest())

    def _check_type(self, header: Mapping[str, Any]) -> None:
        wanted = self.rules.typ
        if wanted is None:
            return
        given = header.get("typ")
        if not isinstance(given, str) or _media_type(given) != _media_type(wanted):
            raise TokenRefused("The access token is of another type")

    def _decode(self, token: bytes) -> dict[str, Any]:
        """Verify the signature with the key that may have made it; return header and payload."""
        for key in self._candidates(token):
            try:
                return self._jws.decode_complete(token, key.material, algorithms=key.algorithms)
            except PyJWTError:
                continue
            except Exception:  # noqa: S112  (a parser or backend that stumbles over hostile bytes)
                continue
        raise SignatureRefused("The access token is invalid")

    def _candidates(self, token: bytes) -> Sequence[VerifyKey]:
        """The keys to try: a lone key as it is; of several those that `alg` and `kid` leave."""
        keys = self.keys.keys
        if len(keys) == 1:
            return keys
        try:
            header = self._jws.get_unverified_header(token)
        except Exception:  # whatever a parser makes of hostile bytes
            raise TokenRefused("The access token is malformed") from None
        return self.keys.candidates(header.get("kid"), header.get("alg"))

    def _claims(self, payload: bytes, signed: bytes) -> VerifiedToken:
        try:
            claims = orjson.loads(payload)
        except orjson.JSONDecodeError:
            claims = None
        if not isinstance(claims, dict):
            raise TokenRefused("The access token is malformed")
        rules = self.rules
        if any(claims.get(name) is None for name in rules.required):
            raise TokenRefused("The access token lacks a required claim")
        issuer = _text(claims, "iss")
        if rules.issuers and issuer not in rules.issuers:
            raise TokenRefused("The access token is from another issuer")
        _check_audience(claims.get("aud"), rules.audiences)
        expires, not_before, issued = (_time(claims, name) for name in ("exp", "nbf", "iat"))
        since, until = self._span(expires, not_before, issued)
        return VerifiedToken(
            payload=payload,
            subject=_text(claims, "sub") or "",
            issuer=issuer or "",
            token_id=_text(claims, "jti") or None,
            scopes=_scopes(claims),
            expires_at=expires,
            not_before=not_before,
            issued_at=issued,
            signed=signed,
            since=since,
            until=until,
        )


def _media_type(typ: str) -> str:
    """RFC 7515 §4.1.9: the prefix may be left out, and case does not matter."""
    return typ.lower().removeprefix("application/")


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is not None and not isinstance(value, str):
        raise TokenRefused(f"The access token's {name} is not a string")
    return value


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 §2): seconds, fractions allowed."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 1e12:
        raise TokenRefused(f"The access token's {name} is not a time")
    return value


def _check_audience(audience: object, accepted: frozenset[str]) -> None:
    """RFC 7519 §4.1.3: a token for somebody is refused by everybody else, also by those who expect no audience."""
    values = audience if isinstance(audience, list) else [] if audience is None else [audience]
    if not all(isinstance(value, str) for value in values):
        raise TokenRefused("The access token's aud is neither a string nor a list of strings")
    if (values or accepted) and accepted.isdisjoint(values):
        raise TokenRefused("The access token is for another audience")


def _scopes(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """The scopes granted: `scope` (RFC 9068 §2.2.3, separated by spaces), or `scp` or `scopes` as others write it."""
    for name in ("scope", "scp", "scopes"):
        value = claims.get(name)
        if isinstance(value, str):
            return tuple(value.split())
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
    return ()
