"""Hostile bytes against the verifier: it returns a token that was signed or raises `TokenRefused`, nothing else."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard.jwt.keys import KeySet
from asgi_redis_guard.jwt.verify import ClaimRules, TokenRefused, VerifiedToken, Verifier
from tests.jwt.tokens import FAMILIES, NOW, SECRET, forge, public_pem, sign, unb64

ALGORITHMS = ["HS256", "RS256", "ES256", "EdDSA"]
GOOD = {name: sign(algorithm=name) for name in ALGORITHMS}
#: A lone key and several take different ways through the verifier.
VERIFIERS = {
    name: [
        Verifier(KeySet(public_pem(FAMILIES[name])), ClaimRules()),
        Verifier(KeySet([public_pem(FAMILIES[name], 1), public_pem(FAMILIES[name])]), ClaimRules()),
    ]
    for name in ALGORITHMS
}

json_values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
claim_names = st.sampled_from(["sub", "jti", "iss", "aud", "exp", "nbf", "iat", "scope", "scp", "scopes"]) | st.text(
    max_size=5
)
header_names = st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "jku", "x5c", "x5u", "zip", "enc", "cty"])


def outcomes(verifiers: list[Verifier], token: bytes) -> list[VerifiedToken]:
    """Return what was accepted; anything but `TokenRefused` fails the test."""
    accepted = []
    for verifier in verifiers:
        try:
            accepted.append(verifier.verify(token, NOW))
        except TokenRefused as refusal:
            text = str(refusal)
            assert text.isascii()
            assert text.isprintable()
            assert not {'"', "\\"} & {*text}
    return accepted


def same_signed_content(one: bytes, other: bytes) -> bool:
    head, _, signature = one.rpartition(b".")
    other_head, _, other_signature = other.rpartition(b".")
    return head == other_head and unb64(signature) == unb64(other_signature)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_with_any_byte_changed_is_never_accepted(algorithm: str) -> None:
    """Every place, and at each a bit, the next letter and a dot."""
    good = GOOD[algorithm]
    for place, byte in enumerate(good):
        for other in (byte ^ 1, byte + 1, ord(b".")):
            mutant = good[:place] + bytes([other & 255]) + good[place + 1 :]
            if mutant != good and outcomes(VERIFIERS[algorithm], mutant):
                assert same_signed_content(mutant, good)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ALGORITHMS),
    st.integers(0, 600),
    st.integers(0, 40),
    st.binary(max_size=8) | st.sampled_from([b".", b"=", b"==", b"-", b"_", b"A"]),
)
def test_a_token_with_any_stretch_replaced_is_never_accepted(algorithm: str, at: int, length: int, new: bytes) -> None:
    good = GOOD[algorithm]
    at %= len(good) + 1
    mutant = good[:at] + new + good[at + length :]
    if mutant != good and outcomes(VERIFIERS[algorithm], mutant):
        assert same_signed_content(mutant, good)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(ALGORITHMS),
    st.binary(max_size=400) | st.from_regex(rb"[\w-]{0,40}(\.[\w-]{0,40}){0,4}", fullmatch=True),
)
def test_bytes_that_were_never_signed_are_refused(algorithm: str, token: bytes) -> None:
    assert not outcomes(VERIFIERS[algorithm], token)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(header_names, json_values, max_size=5), st.sampled_from([SECRET, b"", b"guess"]))
def test_any_header_is_refused_or_harmless(header: dict[str, Any], secret: bytes) -> None:
    token = forge(header, secret=secret)
    for algorithm in ALGORITHMS:
        accepted = outcomes(VERIFIERS[algorithm], token)
        assert not accepted or (secret == SECRET and algorithm == header["alg"] == "HS256")
    named = forge({"alg": "HS256", **header}, secret=SECRET)
    assert all(token.subject == "alice" for token in outcomes(VERIFIERS["HS256"], named))


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(claim_names, json_values, max_size=8), st.booleans())
def test_any_signed_claims_are_refused_or_well_formed(given_claims: dict[str, Any], with_end: bool) -> None:
    payload = json.dumps({**given_claims, **({"exp": NOW + 1} if with_end else {})}).encode()
    for token in outcomes(VERIFIERS["HS256"], sign(payload)):
        assert isinstance(token.subject, str)
        assert isinstance(token.issuer, str)
        assert token.token_id is None or (isinstance(token.token_id, str) and token.token_id)
        assert all(isinstance(scope, str) for scope in token.scopes)
        for when in (token.expires_at, token.not_before, token.issued_at):
            assert when is None or (math.isfinite(when) and not isinstance(when, bool))
        assert token.expires_at is not None
        assert token.expires_at > NOW
        assert given_claims.get("aud") in (None, [])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_signed_payload_is_refused_or_well_formed(payload: bytes) -> None:
    for token in outcomes(VERIFIERS["HS256"], sign(payload)):
        assert json.loads(token.payload)["exp"] > NOW
