"""Tokens that nobody who has the key has signed, or that are no tokens at all."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.jwt.keys import ALGORITHMS, KeySet
from asgi_redis_guard.jwt.verify import ClaimRules, TokenRefused, Verifier
from tests.jwt.tokens import FAMILIES, NOW, SECRET, b64, certificate_pem, claims, forge, jwk, public_pem, sign, unb64


def refusal(token: bytes, key: Any = SECRET, **options: Any) -> str:
    verifier = Verifier(KeySet(key), ClaimRules(), **options)
    with pytest.raises(TokenRefused) as caught:
        verifier.verify(token, NOW)
    return str(caught.value)


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", "null"])
@pytest.mark.parametrize("signature", [b"", b"AA", b64(b"x" * 32)])
def test_a_token_that_says_it_is_not_signed_is_refused(name: str, signature: bytes) -> None:
    token = forge({"alg": name, "typ": "JWT"}) + signature
    for key in (SECRET, public_pem("rsa"), [SECRET, SECRET[::-1]]):
        assert refusal(token, key)


@pytest.mark.parametrize("header", [{}, {"alg": None}, {"alg": 1}, {"alg": ["HS256"]}, {"alg": {"HS256": 1}}])
def test_a_token_without_an_algorithm_is_refused(header: dict[str, Any]) -> None:
    for key in (SECRET, [SECRET, SECRET[::-1]]):
        assert refusal(forge(header, secret=SECRET), key)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_algorithm_in_the_header_chooses_nothing(algorithm: str) -> None:
    """The same signature under every other name, for one key and for several."""
    key = public_pem(FAMILIES[algorithm])
    _, body, signature = sign(algorithm=algorithm).split(b".")
    for other in [name for name in ALGORITHMS if name != algorithm]:
        forged = b".".join((b64(json.dumps({"alg": other}).encode()), body, signature))
        assert refusal(forged, key)
        assert refusal(forged, [key, public_pem(FAMILIES[algorithm], 1)])


@pytest.mark.parametrize("name", ["rsa", "p256", "ed25519"])
def test_a_public_key_is_never_a_secret(name: str) -> None:
    """CVE-2022-29217: HS256 with the text of a public key that everybody has."""
    pem = public_pem(name)
    texts = [
        pem,
        pem.strip(),
        certificate_pem(name),
        json.dumps(jwk({"rsa": "RS256", "p256": "ES256"}.get(name, "EdDSA"))),
    ]
    for text in texts:
        for keys in (pem, [pem, public_pem(name, 1)]):
            assert refusal(forge({"alg": "HS256"}, secret=text.encode()), keys)
    with pytest.raises(ConfigurationError):
        KeySet(pem, ["HS256"])


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": jwk("HS256")},
        {"jwk": {"kty": "oct", "k": b64(b"mine").decode()}},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "file:///etc/passwd"},
        {"x5c": ["AAAA"]},
    ],
)
def test_a_key_that_the_token_brings_along_is_not_used(extra: dict[str, Any]) -> None:
    assert refusal(forge({"alg": "HS256", **extra}, secret=b"mine"))


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"]},
        {"crit": ["http://example.com/unknown"], "http://example.com/unknown": True},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"crit": []},
        {"crit": "exp"},
        {"crit": [1]},
        {"crit": None, "b64": False},
        {"kid": 1},
        {"kid": ["a"]},
        {"kid": None, "crit": ["kid"]},
    ],
)
def test_a_header_that_must_be_understood_and_is_not_refuses_the_token(header: dict[str, Any]) -> None:
    token = forge({"alg": "HS256", **header}, secret=SECRET)
    assert refusal(token)
    assert refusal(token, [SECRET, SECRET[::-1]])


def test_a_detached_payload_is_not_fetched_from_anywhere() -> None:
    head = b64(json.dumps({"alg": "HS256", "b64": False, "crit": ["b64"]}).encode())
    signature = hmac.digest(SECRET, head + b"." + json.dumps(claims()).encode(), hashlib.sha256)
    assert refusal(head + b".." + b64(signature))


GOOD = sign()
HEAD, BODY, SIGNATURE = GOOD.split(b".")


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b".",
        b"..",
        b"...",
        b"a.b.c",
        GOOD + b".",
        b"." + GOOD,
        GOOD + b"." + SIGNATURE,
        GOOD + GOOD,
        HEAD + b"." + BODY,
        HEAD + b"." + BODY + b".",
        HEAD + b".." + SIGNATURE,
        b"." + BODY + b"." + SIGNATURE,
        HEAD + b"..." + BODY + b"." + SIGNATURE,
        GOOD + b"=",
        GOOD + b"==",
        GOOD + b"\n",
        GOOD + b" ",
        b" " + GOOD,
        GOOD + b"\x00",
        GOOD[:40] + b"\x00" + GOOD[40:],
        GOOD[:40] + b"+/" + GOOD[42:],
        b"\xff\xfe" + GOOD,
        "tök.en.é".encode(),
        b"\xf0\x9f\x98\x80.\xf0.\x80",
        GOOD.replace(b".", b","),
        BODY + b"." + HEAD + b"." + SIGNATURE,
        b".".join((HEAD, BODY, SIGNATURE, BODY, SIGNATURE)),
    ],
    ids=range(28),
)
def test_what_is_no_token_is_refused(token: bytes) -> None:
    assert refusal(token)
    assert refusal(token, public_pem("rsa"))
    assert refusal(token, [SECRET, SECRET[::-1]])


@pytest.mark.parametrize("size", range(0, len(GOOD), 7))
def test_a_truncated_token_is_refused(size: int) -> None:
    assert refusal(GOOD[:size])


def test_a_token_may_be_as_long_as_allowed_and_no_longer() -> None:
    def of(size: int) -> bytes:
        room = size - len(sign(pad=""))
        token = sign(pad="x" * (room * 3 // 4))
        assert abs(len(token) - size) < 4
        return token

    Verifier(KeySet(SECRET), ClaimRules(), max_size=1000).verify(of(990), NOW)
    assert refusal(of(1010), max_size=1000) == "The access token is too long"
    assert refusal(b"A" * 10_000_000) == "The access token is too long"


@pytest.mark.parametrize("deep", ["[" * 3000, '{"a":' * 1500, "[" * 1500 + "]" * 1500])
def test_json_that_is_nested_deeply_is_refused(deep: str) -> None:
    hostile = deep.encode()
    for token in (
        forge(hostile, secret=SECRET),
        sign(hostile),
        sign(json.dumps(claims())[:-1].encode() + b',"a":' + hostile),
    ):
        assert refusal(token, max_size=65_536)
        assert refusal(token, [SECRET, SECRET[::-1]], max_size=65_536)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b"{",
        b"\xff\xfe{}",
        b'{"exp":\xff}',
        b'{"sub":"\\ud800","exp":1e11}',
        b"{}x",
    ],
)
def test_a_signed_payload_that_is_no_json_object_is_refused(payload: bytes) -> None:
    assert refusal(sign(payload))


@pytest.mark.parametrize("header", [b"", b"null", b"[]", b'"HS256"', b"{", b"\xff{}", b'{"alg":"HS256"', b"HS256"])
def test_a_header_that_is_no_json_object_is_refused(header: bytes) -> None:
    token = forge(header, secret=SECRET)
    assert refusal(token)
    assert refusal(token, [SECRET, SECRET[::-1]])


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "ES256", "RS256", "EdDSA"])
def test_a_signature_that_is_cut_stretched_or_empty_is_refused(algorithm: str) -> None:
    signed, _, text = sign(algorithm=algorithm).rpartition(b".")
    signature = unb64(text)
    spoiled = [
        signature[:-1],
        signature + b"\x00",
        b"\x00" + signature,
        b"\x00" * len(signature),
        signature * 2,
        b"\x30",
    ]
    for other in (*spoiled, signature[:1], bytes(reversed(signature))):
        assert refusal(signed + b"." + b64(other), public_pem(FAMILIES[algorithm]))


def test_a_refusal_tells_nothing_about_keys() -> None:
    for token in (sign(which=1), forge({"alg": "none"}) + b"AA", sign(algorithm="RS256")):
        text = refusal(token)
        assert text in ("The access token is invalid", "The access token is malformed")
