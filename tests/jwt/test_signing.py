"""What tokens are signed with: which keys may, what they are called, and what of them is told."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt import PyJWK, PyJWS
from jwt.algorithms import get_default_algorithms

from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.jwt.keys import ALGORITHMS, KeySet
from asgi_redis_guard.jwt.signing import SigningKey, thumbprint
from asgi_redis_guard.jwt.verify import ClaimRules, Verifier
from tests.jwt.tokens import FAMILIES, NOW, SECRET, certificate_pem, claims, private, private_pem, public_pem

PAYLOAD = json.dumps(claims()).encode()
KEY_PAIRS = sorted({family for family in FAMILIES.values() if family != "secret"})


def key_for(algorithm: str) -> Any:
    """A secret, or the private key as PEM text."""
    return SECRET if algorithm.startswith("HS") else private_pem(FAMILIES[algorithm])


def private_jwk(algorithm: str, **members: Any) -> dict[str, Any]:
    key = private(FAMILIES[algorithm])
    return {**get_default_algorithms()[algorithm].to_jwk(key, as_dict=True), **members}


def refused(*args: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        SigningKey(*args, **options)
    return caught.value.faults


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_signs_what_others_verify(algorithm: str) -> None:
    key = SigningKey(key_for(algorithm), algorithm=algorithm)
    token = key.sign(PAYLOAD, "at+jwt")
    # An implementation of its own reads it, with the key that was there from the beginning.
    public = private(FAMILIES[algorithm]) if algorithm.startswith("HS") else private(FAMILIES[algorithm]).public_key()
    read = PyJWS().decode_complete(token, public, algorithms=[algorithm])
    assert read["payload"] == PAYLOAD
    assert read["header"] == {"alg": algorithm, "kid": key.kid, "typ": "at+jwt"}
    assert Verifier(KeySet([key.verify_key()]), ClaimRules(typ="at+jwt")).verify(token, NOW).subject == "alice"


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [("rsa", "RS256"), ("p256", "ES256"), ("p384", "ES384"), ("p521", "ES512"), ("ed25519", "EdDSA")],
)
def test_without_an_algorithm_a_key_signs_with_the_first_of_its_family(key: str, algorithm: str) -> None:
    assert SigningKey(private_pem(key)).algorithm == algorithm
    assert SigningKey(SECRET).algorithm == "HS256"


@pytest.mark.parametrize("algorithm", ["HS512", "PS384", "ES256", "EdDSA"])
def test_a_private_jwk_says_itself_what_it_is_for_and_what_it_is_called(algorithm: str) -> None:
    jwk = private_jwk(algorithm, alg=algorithm, kid="summer")
    for form in (jwk, json.dumps(jwk), json.dumps(jwk).encode()):
        key = SigningKey(form)
        assert (key.algorithm, key.kid) == (algorithm, "summer")
        read = PyJWS().decode_complete(key.sign(b"{}", "JWT"), _public(jwk))
        assert read["header"]["kid"] == "summer"
    assert SigningKey(jwk, kid="winter").kid == "winter"


def _public(jwk: dict[str, Any]) -> Any:
    return PyJWK({name: value for name, value in jwk.items() if name not in ("d", "p", "q", "dp", "dq", "qi")})


def test_a_key_is_called_by_the_thumbprint_of_rfc_7638() -> None:
    example = {  # RFC 7638 §3.1
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF"
        "V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0z"
        "gdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCu"
        "r-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    }
    assert thumbprint(example) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    okp = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}  # RFC 8037 A.3
    assert thumbprint(okp) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("family", KEY_PAIRS)
def test_the_name_of_a_key_pair_is_that_of_its_public_key_in_every_form(family: str) -> None:
    algorithm = next(name for name, kind in FAMILIES.items() if kind == family)
    key = SigningKey(private_pem(family))
    assert key.kid == SigningKey(private_jwk(algorithm)).kid == thumbprint(key.public_jwk() or {})


def test_the_name_of_a_secret_is_its_own_and_tells_nothing() -> None:
    key, other = SigningKey(SECRET), SigningKey(SECRET[::-1])
    assert key.kid == SigningKey(SECRET).kid != other.kid
    assert len(key.kid) == 22
    assert key.kid != thumbprint({"kty": "RSA", "n": "", "e": ""})
    assert SECRET.decode() not in key.kid


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if not name.startswith("HS")])
def test_what_is_published_is_public(algorithm: str) -> None:
    jwk = SigningKey(key_for(algorithm), algorithm=algorithm, kid="k").public_jwk()
    assert jwk is not None
    assert jwk["use"] == "sig"
    assert (jwk["alg"], jwk["kid"]) == (algorithm, "k")
    assert not {"d", "p", "q", "dp", "dq", "qi", "oth", "k", "key_ops"} & set(jwk)
    assert not hasattr(PyJWK(jwk).key, "private_bytes")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_secret_has_nothing_to_publish(algorithm: str) -> None:
    assert SigningKey(SECRET, algorithm=algorithm).public_jwk() is None


def test_no_change_to_what_was_given_out_changes_the_key() -> None:
    key = SigningKey(private_pem("p256"))
    jwk = key.public_jwk() or {}
    jwk["alg"] = "none"
    key.verify_key()["alg"] = "none"
    assert (key.public_jwk() or {})["alg"] == key.verify_key()["alg"] == "ES256"


@pytest.mark.parametrize("make", [public_pem, certificate_pem])
def test_a_public_key_cannot_sign(make: Any) -> None:
    (fault,) = refused(make("p256"))
    assert "signing needs the private one" in fault
    (fault,) = refused(_public(private_jwk("ES256"))._jwk_data)
    assert "signing needs the private one" in fault


def test_what_verifiers_refuse_is_refused_here_too() -> None:
    assert "32 or more" in refused(b"short")[0]
    assert "64 or more" in refused(SECRET[:63], algorithm="HS512")[0]
    assert "this key is for RS256" in refused(private_pem("rsa"), algorithm="ES256")[0]
    assert "algorithm: 'none' given" in refused(SECRET, algorithm="none")[0]
    assert "2048 or more" in refused(private_pem("rsa1024"))[0]
    assert "allowed are RSA" in refused(private_pem("k256"))[0]
    assert "no readable key" in refused(private_pem("p256", b"pw"))[0]
    assert "encryption" in refused(private_jwk("ES256", use="enc"))[0]
    assert "none given" in refused("")[0]


@pytest.mark.parametrize("key", [None, 7, [SECRET], {"k1": SECRET}, {"keys": []}, rsa])
def test_what_is_no_key_is_refused(key: Any) -> None:
    (fault,) = refused(key)
    assert fault.startswith("key: a ")


@pytest.mark.parametrize("kid", ["", 7, "x" * 256, "a\nb", "ключ"])
def test_a_key_id_is_printable(kid: Any) -> None:
    assert refused(SECRET, kid=kid)[0].startswith("kid: ")


def test_faults_name_no_variable_of_the_environment_and_no_secret() -> None:
    for fault in (*refused(b"hunter2"), *refused(SECRET, algorithm="RS256"), *refused(public_pem("rsa"), kid="")):
        assert "GUARD_" not in fault
        assert "hunter2" not in fault


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "EdDSA"])
def test_a_key_is_shown_by_its_name_alone(algorithm: str) -> None:
    key = SigningKey(key_for(algorithm))
    assert repr(key) == f"<SigningKey {key.kid!r} for {algorithm}>"
