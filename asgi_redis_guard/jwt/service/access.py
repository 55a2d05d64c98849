"""Access tokens in the profile of RFC 9068: what one says, how it is written, how it is read. Pure: no I/O, no clock.

    typ        at+jwt
    iss sub aud exp iat jti client_id     as RFC 9068 §2.2 has them; times in whole seconds
    scope      what is granted, separated by spaces (§2.2.3); not there if nothing is
    auth_time  when the user has logged in; the same after every refresh (§2.2.1)
    fam        the family of refresh tokens that it came with: what ends with `revoke_family`
    gen        the user's generation: exact where `revoke_user` and `iat` fall into one second
    sid, dev   the session and the device that it was issued to, where there is one

Law: no claim of an app takes the place of one of these.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import orjson

from ..keys import KeySet
from ..signing import KeyRing
from ..verify import ClaimRules, TokenRefused, VerifiedToken, Verifier

#: RFC 9068 §2.1.
TYP = "at+jwt"

#: RFC 9068 §2.2, and what this service goes by.
_REQUIRED = frozenset(("iss", "sub", "aud", "exp", "iat", "jti", "client_id", "fam", "gen"))

#: Claims that an app cannot set; verifiers take `scp` and `scopes` for what is granted where there is no `scope`.
RESERVED = _REQUIRED | {"nbf", "scope", "scp", "scopes", "auth_time", "sid", "dev"}

#: RFC 6749 §3.3.
_SCOPE = re.compile(r"[!#-\[\]-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What an access token says, but for who issues it and to whom. Times are whole seconds since the epoch."""

    user: str
    client: str
    token_id: str
    issued_at: int
    expires_at: int
    auth_time: int
    family: str
    generation: int
    scopes: tuple[str, ...] = ()
    session: str | None = None
    device: str | None = None
    claims: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, eq=False)
class AccessToken:
    """An access token whose signature and claims hold; `token` is what was verified."""

    token: VerifiedToken
    client: str
    family: str
    generation: int
    session: str | None
    device: str | None

    @property
    def user(self) -> str:
        """Whom it speaks for."""
        return self.token.subject

    @property
    def token_id(self) -> str:
        """Its `jti`."""
        return self.token.token_id or ""

    @property
    def scopes(self) -> tuple[str, ...]:
        """What it grants."""
        return self.token.scopes

    @property
    def expires_at(self) -> float:
        """When it ends, in seconds since the epoch."""
        return self.token.expires_at or 0.0

    @property
    def claims(self) -> dict[str, Any]:
        """All claims, parsed anew each time: a dictionary of the caller's own."""
        claims: dict[str, Any] = orjson.loads(self.token.payload)
        return claims

    def __repr__(self) -> str:
        return f"<AccessToken of {self.user!r}>"


class AccessTokens:
    """Writes and reads the access tokens of one issuer.

    `issuer` and `audiences` stand in each; who reads them expects that issuer and one of the audiences. `leeway` in
    seconds. What is longer than `max_size` bytes is neither written nor read.
    """

    def __init__(
        self, ring: KeyRing, issuer: str, audiences: tuple[str, ...], *, leeway: float = 0.0, max_size: int = 8192
    ) -> None:
        rules = ClaimRules(frozenset((issuer,)), frozenset(audiences), _REQUIRED, TYP, leeway)
        self._verifier = Verifier(KeySet(ring.verify_keys()), rules, max_size=max_size)
        self._ring = ring
        self._max_size = max_size
        self._fixed = {"iss": issuer, "aud": audiences[0] if len(audiences) == 1 else list(audiences)}

    def write(self, grant: Grant) -> str:
        """Return the signed token. Raises `ValueError` for claims that cannot stand in one."""
        check_claims(grant.claims)
        try:
            payload = orjson.dumps({**grant.claims, **self._fixed, **_said(grant)})
        except TypeError as error:  # orjson tells the type of what it cannot write, not the value
            raise ValueError(f"claims: {error}; allowed is what JSON can hold") from None
        token = self._ring.sign(payload, TYP).decode()
        if len(token) > self._max_size:
            raise ValueError(f"claims: they make a token of {len(token)} bytes; allowed are {self._max_size}")
        return token

    def read(self, token: str | bytes, now: float) -> AccessToken:
        """Return the verified token; raises `TokenRefused`. `now` is in seconds since the epoch."""
        try:
            data = token.encode("ascii") if isinstance(token, str) else token
        except UnicodeEncodeError:
            raise TokenRefused("The access token is malformed") from None
        return _access(self._verifier.verify(data, now))

    def read_whenever(self, token: str | bytes) -> AccessToken:
        """Return the token if all but its times hold, for who would revoke it; raises `TokenRefused`.

        Verifiers may be more lenient than this one, and their clocks ahead or behind.
        """
        return self.read(token, _just_before_the_end(token) if len(token) <= self._max_size else 0.0)


def text_of(token: str | bytes) -> str | bytes:
    """Return what was given for a token if it is text; raises TypeError for a pair, None and others."""
    if isinstance(token, str | bytes):
        return token
    raise TypeError(f"token: a {type(token).__name__} given; allowed is the text of a token")


def check_claims(claims: Mapping[str, Any]) -> None:
    """Raise `ValueError` for claims of an app that this service sets itself."""
    if taken := sorted(RESERVED.intersection(claims)):
        raise ValueError(f"claims: {', '.join(taken)} given; the token service sets them itself")


def scopes_of(scopes: str | Iterable[str]) -> tuple[str, ...]:
    """Return scopes in order, each once, given as a list or as text with spaces; raises `ValueError` for what is none.

    RFC 6749 §3.3: printable ASCII without quotes and backslashes.
    """
    if not isinstance(scopes, Iterable):
        raise ValueError(f"scopes: {scopes!r} given; allowed are text with spaces, and a list")
    words = scopes.split() if isinstance(scopes, str) else list(scopes)
    for word in words:
        if not isinstance(word, str) or not _SCOPE.fullmatch(word):
            raise ValueError(f"scopes: {word!r} given; allowed is printable ASCII without spaces, quotes, backslashes")
    return tuple(dict.fromkeys(words))


def _said(grant: Grant) -> dict[str, Any]:
    """The claims of a grant, in the order of this module's table."""
    said = {
        "sub": grant.user,
        "exp": grant.expires_at,
        "iat": grant.issued_at,
        "jti": grant.token_id,
        "client_id": grant.client,
        "scope": " ".join(grant.scopes) or None,
        "auth_time": grant.auth_time,
        "fam": grant.family,
        "gen": grant.generation,
        "sid": grant.session,
        "dev": grant.device,
    }
    return {name: value for name, value in said.items() if value is not None}


def _access(token: VerifiedToken) -> AccessToken:
    """Read the claims of this service out of a verified token; raises `TokenRefused` where one is of another kind."""
    claims = orjson.loads(token.payload)
    generation = claims["gen"]
    if generation.__class__ is not int or generation < 0:
        raise TokenRefused("The access token's gen is not a number")
    if not token.subject or not token.token_id:
        raise TokenRefused("The access token lacks a required claim")
    client, family = (_text(claims, name) for name in ("client_id", "fam"))
    session, device = (_text(claims, name) if name in claims else None for name in ("sid", "dev"))
    return AccessToken(token, client, family, generation, session, device)


def _just_before_the_end(token: str | bytes) -> float:
    """Return a time at which a token holds if it ever does; nothing else of what it says is believed unverified."""
    payload = (token.encode("utf-8", "replace") if isinstance(token, str) else token).split(b".", 2)[1:2]
    try:
        end = orjson.loads(urlsafe_b64decode(payload[0] + b"==")).get("exp") - 0.001
        return float(end)
    except (IndexError, ValueError, TypeError, AttributeError, OverflowError):
        return 0.0


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims[name]
    if not isinstance(value, str) or not value:
        raise TokenRefused(f"The access token's {name} is not a string")
    return value
