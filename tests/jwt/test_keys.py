"""What may be given as a key, and what each key may verify."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, x25519

from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.jwt.keys import ALGORITHMS, KeySet
from asgi_redis_guard.jwt.verify import ClaimRules, TokenRefused, Verifier
from tests.jwt.tokens import (
    FAMILIES,
    NOW,
    SECRET,
    certificate_pem,
    jwk,
    private,
    private_pem,
    public_pem,
    sign,
)

ASYMMETRIC = [name for name in ALGORITHMS if not name.startswith("HS")]


def accepts(keys: KeySet, token: bytes) -> bool:
    try:
        Verifier(keys, ClaimRules()).verify(token, NOW)
    except TokenRefused:
        return False
    return True


def refused(*args: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        KeySet(*args)
    return caught.value.faults


def spki(name: str, encoding: serialization.Encoding, form: serialization.PublicFormat) -> bytes:
    return private(name).public_key().public_bytes(encoding, form)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_accepts_its_own_key_and_refuses_another(algorithm: str) -> None:
    keys = KeySet(public_pem(FAMILIES[algorithm]), [algorithm])
    assert accepts(keys, sign(algorithm=algorithm))
    assert not accepts(keys, sign(algorithm=algorithm, which=1))


def test_ed448_is_eddsa_too() -> None:
    assert accepts(KeySet(public_pem("ed448")), sign(algorithm="EdDSA", key=private("ed448")))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_jwk_is_accepted_with_and_without_its_algorithm(algorithm: str) -> None:
    token = sign(algorithm=algorithm)
    assert accepts(KeySet(jwk(algorithm, alg=algorithm)), token)
    assert accepts(KeySet(jwk(algorithm), [algorithm]), token)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "ES512", "EdDSA"])
@pytest.mark.parametrize("form", [private_pem, certificate_pem])
def test_a_private_key_and_a_certificate_stand_for_the_public_key(algorithm: str, form: Any) -> None:
    keys = KeySet(form(FAMILIES[algorithm]))
    assert accepts(keys, sign(algorithm=algorithm))
    assert not hasattr(keys.keys[0].material, "private_bytes")


def test_a_private_jwk_stands_for_the_public_key() -> None:
    from jwt.algorithms import get_default_algorithms

    secret = get_default_algorithms()["ES256"].to_jwk(private("p256"), as_dict=True)
    keys = KeySet({**secret, "alg": "ES256"})
    assert accepts(keys, sign(algorithm="ES256"))
    assert not hasattr(keys.keys[0].material, "private_bytes")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_is_bound_to_the_algorithms_that_were_named(algorithm: str) -> None:
    token = sign(algorithm=algorithm)
    family = {name for name, kind in FAMILIES.items() if kind == FAMILIES[algorithm]}
    for other in family - {algorithm}:
        assert not accepts(KeySet(public_pem(FAMILIES[algorithm]), [other]), token)
    assert accepts(KeySet(public_pem(FAMILIES[algorithm]), sorted(family)), token)


@pytest.mark.parametrize(("key", "default"), [("secret", "HS256"), ("rsa", "RS256"), ("p384", "ES384")])
def test_without_algorithms_a_key_verifies_the_first_of_its_family_alone(key: str, default: str) -> None:
    keys = KeySet(public_pem(key))
    assert keys.algorithms == (default,)
    assert accepts(keys, sign(algorithm=default))


@pytest.mark.parametrize("algorithms", [["HS256", "RS256"], ["ES256", "HS512"], ["EdDSA", "HS384"]])
def test_secrets_and_public_keys_are_never_mixed(algorithms: list[str]) -> None:
    assert "must not be mixed" in refused(public_pem("rsa"), algorithms)[0]
    assert any("must not be mixed" in fault for fault in refused([SECRET, public_pem("rsa")]))
    assert any("must not be mixed" in fault for fault in refused({"keys": [jwk("HS256"), jwk("RS256")]}))


@pytest.mark.parametrize("name", ["none", "None", "", "HS1", "ES256K", "hs256", "RSA-OAEP", "dir"])
def test_an_algorithm_that_is_not_on_the_list_is_refused(name: str) -> None:
    assert repr(name) in refused(SECRET, [name])[0]


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_secret_is_at_least_as_long_as_its_hash(algorithm: str, size: int) -> None:
    assert KeySet("x" * size, [algorithm]).algorithms == (algorithm,)
    (fault,) = refused("x" * (size - 1), [algorithm])
    assert f"{size - 1} bytes" in fault
    assert "xxx" not in fault


@pytest.mark.parametrize("name", ["HS256", "HS384", "HS512"])
def test_a_short_secret_in_a_jwk_is_refused(name: str) -> None:
    assert "needs" in refused({"kty": "oct", "k": "c2hvcnQ", "alg": name})[0]


def test_rsa_keys_below_2048_bits_are_refused_in_every_form() -> None:
    pem = public_pem("rsa1024")
    assert "1024" in refused(pem)[0]
    assert "1024" in refused(private_pem("rsa1024"))[0]
    assert "1024" in refused(certificate_pem("rsa1024"))[0]


@pytest.mark.parametrize("key", ["k256"])
def test_a_curve_that_is_not_on_the_list_is_refused(key: str) -> None:
    assert "allowed are" in refused(public_pem(key))[0]


def test_keys_that_cannot_sign_tokens_are_refused() -> None:
    def pem(key: Any) -> bytes:
        return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    assert "X25519" in refused(pem(x25519.X25519PrivateKey.generate().public_key()))[0]
    assert "DSA" in refused(pem(dsa.generate_private_key(1024).public_key()))[0]


def test_text_that_only_looks_like_a_key_is_refused_and_not_repeated() -> None:
    for text in ("-----BEGIN PUBLIC KEY-----\nhunter2\n-----END PUBLIC KEY-----", private_pem("p256", b"hunter2")):
        (fault,) = refused(text)
        assert "no readable key" in fault
        assert "hunter2" not in fault


@pytest.mark.parametrize(
    "text",
    [
        spki("rsa", serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        spki("rsa", serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
        spki("ed25519", serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
    ],
    ids=["DER", "OpenSSH RSA", "OpenSSH Ed25519"],
)
def test_a_public_key_in_another_coat_never_becomes_a_secret(text: bytes) -> None:
    (fault,) = refused(text)
    assert fault.startswith("key (GUARD_JWT_KEY)")


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "ES256", "EdDSA"])
def test_a_jwk_and_a_set_may_be_given_as_text(algorithm: str) -> None:
    token = sign(algorithm=algorithm)
    assert accepts(KeySet(json.dumps(jwk(algorithm, alg=algorithm))), token)
    assert accepts(KeySet(json.dumps({"keys": [jwk(algorithm, alg=algorithm)]})), token)


@pytest.mark.parametrize("text", ['{"keys": []}', '{"kty": "???"}', '{"kty": "RSA", "n": "AQAB", "e": "AQAB"}'])
def test_a_jwk_that_is_none_never_becomes_a_secret(text: str) -> None:
    assert refused(text)[0].startswith("key (GUARD_JWT_KEY)")


@pytest.mark.parametrize("key", [(), "", b"", [], {}, {"keys": []}])
def test_no_key_is_a_fault(key: Any) -> None:
    assert "none given" in refused(key)[0]


def test_all_faults_are_told_at_once() -> None:
    faults = refused(["short", {"kty": "nonsense"}], ["HS256", "HS999"])
    assert len(faults) == 3
    assert all("short" not in fault for fault in faults)
