"""Whatever is sent as a token of others, it is refused, and nothing but a refusal comes of it."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.jwt.jwks.foreign import ForeignVerifier
from asgi_redis_guard.jwt.jwks.source import JWKSKeys
from asgi_redis_guard.jwt.key_source import KeysAway
from asgi_redis_guard.jwt.keys import KeySet
from asgi_redis_guard.jwt.verify import ClaimRules, TokenRefused
from tests.drive import http_scope
from tests.jwt.publisher import key
from tests.jwt.tokens import NOW, b64, forge, sign

ISSUERS = ("https://a.example", "https://b.example")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def verifier(*, known: bool) -> ForeignVerifier:
    source = JWKSKeys(dict.fromkeys(ISSUERS))
    if known:
        for remote in source.remotes.values():
            remote.arrived(tuple(KeySet([key(), key("b", 1)]).keys), b"", None, NOW, 600)
    return ForeignVerifier(source, ClaimRules(frozenset(ISSUERS)), max_size=8192, cache_size=10)


KNOWN, UNKNOWN = verifier(known=True), verifier(known=False)
EXCHANGE = Exchange(http_scope(), NOW, bytes, Keys())


def refused(token: bytes) -> bool:
    for one in (KNOWN, UNKNOWN):
        for final in (False, True):
            try:
                one.verify(token, EXCHANGE, final=final)
            except (TokenRefused, KeysAway):
                continue
            return False
    return True


def test_a_good_token_is_not_refused() -> None:
    good = sign(algorithm="ES256", header={"kid": "a"}, iss=ISSUERS[0])
    assert KNOWN.verify(good, EXCHANGE).subject == "alice"
    assert refused(good[:-8] + b"AAAAAAAA")


@given(st.binary())
def test_bytes(token: bytes) -> None:
    assert refused(token)


@given(st.binary(), st.binary(), st.binary())
def test_three_parts_of_anything(header: bytes, payload: bytes, signature: bytes) -> None:
    assert refused(b".".join(map(b64, (header, payload, signature))))


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys(("alg", "kid", "typ", "crit", "b64", "zip"), VALUES)),
    st.fixed_dictionaries({}, optional=dict.fromkeys(("iss", "sub", "aud", "exp", "iat", "nbf", "jti"), VALUES)),
    st.booleans(),
)
def test_any_header_and_any_claims(header: dict[str, Any], claims: dict[str, Any], right: bool) -> None:
    if right:
        header, claims = {"alg": "ES256", **header}, {"iss": ISSUERS[0], "exp": NOW + 9, **claims}
    assert refused(forge(json.dumps(header).encode(), json.dumps(claims).encode(), b"secret"))
