"""What is read out of a set of keys that others publish: public keys that may verify, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.jwt.jwks.jwk_set import DocumentRefused, read_discovery, read_keys
from tests.jwt.publisher import key
from tests.jwt.tokens import SECRET, b64, private

NUMBERS = ("n", "e", "x", "y", "crv", "kty", "alg", "kid", "use", "key_ops")


def read(*keys: Any, algorithms: tuple[str, ...] = (), most: int = 100) -> list[tuple[Any, tuple[str, ...]]]:
    body = json.dumps({"keys": keys}).encode()
    return [(one.kid, one.algorithms) for one in read_keys(body, algorithms, most)]


def refused(*keys: Any) -> bool:
    try:
        return not read(*keys)
    except DocumentRefused:
        return True


def test_keys_are_bound_to_what_they_say_they_are_for() -> None:
    keys = [key("a"), key("b", algorithm="PS512"), {**key("c", algorithm="RS256"), "alg": None}]
    del keys[2]["alg"]
    assert read(*keys) == [("a", ("ES256",)), ("b", ("PS512",)), ("c", ("RS256",))]


def test_what_is_accepted_is_what_both_sides_name() -> None:
    lax = {name: value for name, value in key("c", algorithm="RS256").items() if name != "alg"}
    keys = (key("a"), key("b", algorithm="RS256"), lax)
    assert read(*keys, algorithms=("RS256", "PS256")) == [("b", ("RS256",)), ("c", ("RS256", "PS256"))]


@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"},
        {"use": ""},
        {"use": 7},
        {"key_ops": ["encrypt"]},
        {"key_ops": []},
        {"key_ops": "verify"},
        {"kid": 7},
        {"kid": None},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": "RS256"},
        {"alg": 7},
        {"kty": "oct", "k": b64(SECRET).decode()},
        {"kty": "RSA"},
        {"kty": ["EC"]},
        {"crv": "secp256k1"},
        {"x": 7},
        {"x": "!"},
        {"x": "AA"},
        {"y": None},
        {"d": "AA"},
        {"k": b64(SECRET).decode()},
    ],
)
def test_a_key_that_is_not_for_verifying_is_left_out_and_the_others_stay(members: dict[str, Any]) -> None:
    spoiled = {**key("x"), **members}
    assert refused(spoiled)
    assert read(spoiled, key("good")) == [("good", ("ES256",))]


def test_a_key_that_may_verify_among_other_things_is_taken() -> None:
    assert read({**key(), "key_ops": ["sign", "verify"]}, {**key("b"), "x5t": "x", "x5u": "https://evil.example"}) == [
        ("a", ("ES256",)),
        ("b", ("ES256",)),
    ]


def test_private_keys_that_were_published_verify_nothing() -> None:
    from jwt.algorithms import get_default_algorithms

    for algorithm, name in (("ES256", "p256"), ("RS256", "rsa"), ("EdDSA", "ed25519")):
        secret = get_default_algorithms()[algorithm].to_jwk(private(name), as_dict=True)
        assert refused({**secret, "alg": algorithm, "kid": "a"})


@pytest.mark.parametrize("bits", [1024, 16_384])
def test_rsa_keys_that_are_too_short_or_take_too_long_are_left_out(bits: int) -> None:
    modulus = (1 << (bits - 1)) | 1
    number = b64(modulus.to_bytes(bits // 8, "big")).decode()
    assert refused({"kty": "RSA", "alg": "RS256", "kid": "a", "n": number, "e": "AQAB"})


def test_a_set_with_too_many_keys_is_refused_whole() -> None:
    assert len(read(*[key(str(i)) for i in range(5)], most=5)) == 5
    with pytest.raises(DocumentRefused, match="6 keys are in it; 5 are the most"):
        read(*[key(str(i)) for i in range(6)], most=5)


@given(
    st.dictionaries(
        st.sampled_from(NUMBERS),
        st.one_of(
            st.none(),
            st.integers(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(),
            st.lists(st.text()),
            st.booleans(),
        ),
    ),
    st.sampled_from(["ES256", "RS256", "EdDSA"]),
)
def test_whatever_stands_in_a_key_it_is_taken_or_left_out(spoiled: dict[str, Any], algorithm: str) -> None:
    assert ("good", ("ES256",)) in read({**key("x", algorithm=algorithm), **spoiled}, key("good"))


@given(st.binary())
def test_whatever_is_fetched_is_taken_or_refused(body: bytes) -> None:
    for reading in (lambda: read_keys(body, (), 100), lambda: read_discovery(body, "https://a.example")):
        with pytest.raises(DocumentRefused):
            reading()
