"""All keys of an issuer: who signs, who verifies, what is published, and how one takes the place of another."""

import itertools
import json
from typing import Any

import pytest

from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.jwt.keys import KeySet
from asgi_redis_guard.jwt.signing import KeyRing, SigningKey
from asgi_redis_guard.jwt.verify import ClaimRules, TokenRefused, Verifier
from tests.jwt.tokens import NOW, OTHER_SECRET, SECRET, claims, private_pem

PAYLOAD = json.dumps(claims()).encode()
OLD, NEW = SigningKey(private_pem("p256"), kid="old"), SigningKey(private_pem("ed25519"), kid="new")


def accepts(keys: Any, token: bytes) -> bool:
    try:
        Verifier(KeySet(keys), ClaimRules()).verify(token, NOW)
    except TokenRefused:
        return False
    return True


def signed(ring: KeyRing) -> bytes:
    return ring.sign(PAYLOAD, "at+jwt")


def faults(*keys: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        KeyRing(*keys, **options)
    return caught.value.faults


def test_the_active_key_signs_and_all_verify() -> None:
    ring = KeyRing(NEW, OLD)
    assert ring.active is NEW
    assert ring.algorithms == ("EdDSA", "ES256")
    for signer in (NEW, OLD):
        assert accepts(ring.verify_keys(), signer.sign(PAYLOAD, "at+jwt"))
        assert accepts(ring.public_jwks(), signer.sign(PAYLOAD, "at+jwt"))
    assert accepts(KeyRing(NEW).verify_keys(), signed(ring))
    assert not accepts(KeyRing(OLD).verify_keys(), signed(ring))


def test_all_public_keys_are_published_the_active_one_first() -> None:
    jwks = KeyRing(OLD, SigningKey(private_pem("rsa"), kid="older"), upcoming=[NEW]).public_jwks()
    assert [jwk["kid"] for jwk in jwks["keys"]] == ["old", "new", "older"]
    assert not {"d", "p", "q", "k"} & {name for jwk in jwks["keys"] for name in jwk}


def test_of_secrets_nothing_is_published() -> None:
    ring = KeyRing(SECRET, OTHER_SECRET)
    assert ring.public_jwks() == {"keys": []}
    assert accepts(ring.verify_keys(), signed(ring))
    assert accepts(ring.verify_keys(), signed(KeyRing(OTHER_SECRET)))
    assert SECRET.decode() not in repr(ring)


def test_a_ring_may_be_given_as_one_key_in_any_form() -> None:
    assert KeyRing.of(SECRET).active.kid == KeyRing.of(SigningKey(SECRET)).active.kid == KeyRing(SECRET).active.kid
    ring = KeyRing(OLD)
    assert KeyRing.of(ring) is ring


def test_what_cannot_stand_in_one_ring_is_told_at_once() -> None:
    assert "must not be mixed" in faults(SECRET, OLD)[0]
    assert "two with the kid 'old'" in faults(OLD, NEW, OLD)[0]
    assert len(faults(b"short", 7)) == 2
    for alone in (NEW, SECRET, NEW.verify_key()):
        assert "one key given" in faults(OLD, upcoming=alone)[0]


STEPS = [KeyRing(OLD), KeyRing(OLD, upcoming=[NEW]), KeyRing(NEW, OLD), KeyRing(NEW)]


@pytest.mark.parametrize(("before", "after"), list(itertools.pairwise(STEPS)))
def test_processes_of_two_neighbouring_steps_of_a_rotation_accept_each_other(before: KeyRing, after: KeyRing) -> None:
    assert accepts(before.verify_keys(), signed(after))
    assert accepts(after.verify_keys(), signed(before))


def test_skipping_the_first_step_of_a_rotation_would_refuse_tokens() -> None:
    assert not accepts(STEPS[0].verify_keys(), signed(STEPS[2]))
    assert not accepts(STEPS[0].public_jwks(), signed(STEPS[2]))
