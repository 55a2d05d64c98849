"""Several keys at once: rotation, key ids, JWK sets."""

from typing import Any

import pytest

from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.jwt.keys import KeySet
from tests.jwt.test_keys import accepts
from tests.jwt.tokens import OTHER_SECRET, SECRET, jwk, public_pem, sign


def named(kid: Any, which: int = 0, algorithm: str = "HS256") -> bytes:
    return sign(algorithm=algorithm, which=which, header={"kid": kid})


def test_old_and_new_secret_are_both_accepted_while_they_rotate() -> None:
    keys = KeySet([SECRET, OTHER_SECRET])
    assert accepts(keys, sign())
    assert accepts(keys, sign(which=1))
    assert not accepts(keys, sign(key=b"a third secret that nobody gave us, 32+ bytes"))


def test_keys_of_several_families_stand_beside_each_other() -> None:
    keys = KeySet([public_pem("rsa"), public_pem("p256"), public_pem("ed25519")])
    assert keys.algorithms == ("RS256", "ES256", "EdDSA")
    assert all(accepts(keys, sign(algorithm=name)) for name in keys.algorithms)
    assert not accepts(keys, sign(algorithm="ES384"))


def test_a_known_kid_picks_its_key_alone() -> None:
    keys = KeySet({"old": SECRET, "new": OTHER_SECRET})
    assert accepts(keys, named("old", 0))
    assert accepts(keys, named("new", 1))
    assert not accepts(keys, named("old", 1))
    assert not accepts(keys, named("new", 0))


def test_an_unknown_kid_is_refused_where_every_key_has_one() -> None:
    keys = KeySet({"old": SECRET, "new": OTHER_SECRET})
    for kid in ("", "OLD", "old ", "../../dev/null", "' OR 1=1", "old\x00"):
        assert not accepts(keys, named(kid))


def test_a_token_without_kid_may_be_signed_by_any_key() -> None:
    keys = KeySet({"old": SECRET, "new": OTHER_SECRET})
    assert accepts(keys, sign())
    assert accepts(keys, sign(which=1))


def test_keys_without_kid_serve_tokens_with_one() -> None:
    assert accepts(KeySet(SECRET), named("whatever"))
    assert not accepts(KeySet(SECRET), named("whatever", 1))


def test_a_set_of_jwks_is_known_by_its_kids() -> None:
    keys = KeySet({"keys": [jwk("ES256", kid="a"), jwk("ES256", 1, kid="b")]})
    assert [key.kid for key in keys.keys] == ["a", "b"]
    assert accepts(keys, named("a", 0, "ES256"))
    assert not accepts(keys, named("a", 1, "ES256"))
    assert not accepts(keys, named("c", 0, "ES256"))


def test_the_kid_of_a_mapping_goes_before_the_jwks_own() -> None:
    keys = KeySet({"mine": jwk("ES256", kid="theirs"), "other": jwk("ES256", 1)})
    assert accepts(keys, named("mine", 0, "ES256"))
    assert not accepts(keys, named("theirs", 0, "ES256"))


def test_keys_for_encryption_in_a_set_are_left_out() -> None:
    keys = KeySet({"keys": [jwk("RS256", use="enc", alg="RSA-OAEP"), jwk("RS256", 1, use="sig", alg="RS256")]})
    assert len(keys.keys) == 1
    assert accepts(keys, sign(algorithm="RS256", which=1))
    assert not accepts(keys, sign(algorithm="RS256"))


def test_a_key_for_encryption_alone_is_a_fault() -> None:
    for given in (jwk("RS256", use="enc"), {"keys": [jwk("RS256", use="enc")]}, {"a": jwk("RS256", use="enc")}):
        with pytest.raises(ConfigurationError, match="GUARD_JWT_KEY"):
            KeySet(given)


def test_the_algorithm_of_a_jwk_binds_it_more_closely() -> None:
    keys = KeySet(jwk("RS256", alg="PS512"))
    assert keys.algorithms == ("PS512",)
    assert accepts(keys, sign(algorithm="PS512"))
    assert not accepts(keys, sign(algorithm="RS256"))


@pytest.mark.parametrize("members", [{"alg": "ES256"}, {"alg": "HS256"}, {"alg": "none"}, {"alg": "RSA-OAEP"}])
def test_a_jwk_with_an_algorithm_of_another_family_is_a_fault(members: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="GUARD_JWT_KEY"):
        KeySet(jwk("RS256", **members))


@pytest.mark.parametrize("spoiled", [{"n": None}, {"n": "!"}, {"e": 3}, {"kty": "EC"}, {"kty": None}, {"n": ""}])
def test_a_spoiled_jwk_is_a_fault(spoiled: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="GUARD_JWT_KEY"):
        KeySet(jwk("RS256", **spoiled))


def test_the_repr_of_a_key_does_not_show_it() -> None:
    assert SECRET.decode()[:8] not in repr(KeySet(SECRET).keys)
