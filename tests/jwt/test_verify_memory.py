"""The memory of verified tokens: it saves work and decides nothing."""

import copy
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from jwt import PyJWS

from asgi_redis_guard.jwt.keys import KeySet
from asgi_redis_guard.jwt.user import VerifiedUser
from asgi_redis_guard.jwt.verify import ClaimRules, TokenRefused, Verifier
from asgi_redis_guard.users import credentials_of
from tests.jwt.tokens import NOW, OTHER_SECRET, SECRET, b64, sign, unb64

Count = Callable[[], int]


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Count:
    """Count the signatures that are verified."""
    calls = []
    real = PyJWS.decode_complete

    def spy(*args: Any, **options: Any) -> Any:
        calls.append(args)
        return real(*args, **options)

    monkeypatch.setattr(PyJWS, "decode_complete", spy)
    return lambda: len(calls)


def verifier(key: Any = SECRET, cache_size: int = 4096, **rules: Any) -> Verifier:
    return Verifier(KeySet(key), ClaimRules(**rules), cache_size=cache_size)


def refused(verifier: Verifier, token: bytes, now: float = NOW) -> bool:
    try:
        verifier.verify(token, now)
    except TokenRefused:
        return True
    return False


def test_a_signature_is_verified_once(count: Count) -> None:
    verifies, token = verifier(), sign()
    assert len({id(verifies.verify(token, NOW + second)) for second in range(5)}) == 1
    assert count() == 1


def test_the_memory_can_be_switched_off(count: Count) -> None:
    verifies, token = verifier(cache_size=0), sign()
    for _ in range(3):
        verifies.verify(token, NOW)
    assert count() == 3


def test_a_remembered_token_does_not_outlive_its_end() -> None:
    verifies, token = verifier(leeway=5), sign()
    assert not refused(verifies, token)
    assert not refused(verifies, token, NOW + 64.9)
    assert refused(verifies, token, NOW + 65)
    assert refused(verifies, token, NOW - 20)


def test_the_longest_life_is_checked_for_remembered_tokens_too() -> None:
    verifies, token = verifier(max_lifetime=100), sign(iat=None, exp=NOW + 100)
    assert not refused(verifies, token)
    assert refused(verifies, token, NOW - 1)


def test_the_memory_is_bounded_and_forgets_the_oldest(count: Count) -> None:
    verifies = verifier(cache_size=10)
    tokens = [sign(jti=str(number)) for number in range(25)]
    for token in tokens:
        verifies.verify(token, NOW)
        assert len(verifies._cache) <= 10
    assert count() == 25
    for token in tokens[-10:]:
        verifies.verify(token, NOW)
    assert count() == 25
    verifies.verify(tokens[0], NOW)
    assert count() == 26


def test_garbage_neither_enters_the_memory_nor_pushes_good_tokens_out(count: Count) -> None:
    verifies, token = verifier(cache_size=2), sign()
    verifies.verify(token, NOW)
    for number in range(50):
        for bad in (
            sign(which=1, jti=str(number)),
            sign(exp=NOW - number),
            sign(aud=f"other-{number}"),
            token[:-number] if number else b"",
        ):
            assert refused(verifies, bad)
    assert len(verifies._cache) == 1
    before = count()
    verifies.verify(token, NOW)
    assert count() == before


def test_a_token_that_is_not_valid_yet_is_accepted_when_its_time_has_come() -> None:
    verifies, token = verifier(), sign(nbf=NOW + 10)
    assert refused(verifies, token)
    assert not refused(verifies, token, NOW + 10)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_the_memory_is_keyed_on_the_whole_token(part: int) -> None:
    """Another token that shares two of its three parts with a remembered one is not mistaken for it."""
    verifies, good = verifier(), sign()
    verifies.verify(good, NOW)
    other = sign(sub="mallory", which=1, header={"kid": "x"}).split(b".")
    mixed = good.split(b".")
    mixed[part] = other[part]
    assert refused(verifies, b".".join(mixed))
    assert refused(verifies, good[:-16] + other[2][-16:])


def test_verifiers_do_not_share_their_memory() -> None:
    token = sign(iss="a", aud="x")
    assert not refused(verifier(audiences=frozenset("x")), token)
    assert refused(verifier(audiences=frozenset("y")), token)
    assert refused(verifier(), token)
    assert refused(verifier(OTHER_SECRET, audiences=frozenset("x")), token)
    assert refused(verifier(audiences=frozenset("x"), issuers=frozenset("b")), token)
    assert refused(verifier(audiences=frozenset("x"), typ="at+jwt"), token)


def test_no_claim_is_shared_between_requests() -> None:
    verifies = verifier()
    token = sign(roles=["user"], scope="read")
    one = VerifiedUser(verifies.verify(token, NOW), ("", "t-1"))
    two = VerifiedUser(verifies.verify(token, NOW), ("", "t-1"))
    one.claims["roles"].append("admin")
    one.claims["sub"] = "root"
    assert two.claims["roles"] == ["user"]
    assert two.claims["sub"] == two.identity == "alice"
    assert VerifiedUser(verifies.verify(token, NOW), ("", "t-1")).claims["roles"] == ["user"]
    assert isinstance(one.token.scopes, tuple)
    assert isinstance(one.token.payload, bytes)


def test_what_was_signed_is_the_same_under_every_signature_of_it() -> None:
    """ECDSA signs differently every time, and everybody can turn a signature (r, s) into (r, -s)."""
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    from tests.jwt.tokens import public_pem

    verifies = verifier(public_pem("p256"))
    token = sign(algorithm="ES256", jti=None)
    signed, _, signature = token.rpartition(b".")
    raw = unb64(signature)
    turned = raw[:32] + (order - int.from_bytes(raw[32:])).to_bytes(32)
    twin = signed + b"." + b64(turned)
    assert twin != token
    assert verifies.verify(token, NOW).signed == verifies.verify(twin, NOW).signed
    assert verifies.verify(sign(algorithm="ES256", jti=None), NOW).signed == verifies.verify(token, NOW).signed
    assert (
        verifies.verify(sign(algorithm="ES256", jti=None, sub="bob"), NOW).signed != verifies.verify(token, NOW).signed
    )


def test_a_user_is_shared_by_requests_and_cannot_be_changed() -> None:
    user = VerifiedUser(verifier().verify(sign(), NOW), ("", "t-1"))
    with pytest.raises(AttributeError, match="immutable"):
        user.tenant = "a"  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="immutable"):
        del user.token
    credentials = credentials_of(("read",))
    with pytest.raises(AttributeError, match="immutable"):
        credentials.zone = "a"  # type: ignore[attr-defined]


def test_a_user_can_be_copied_and_sent_to_another_process() -> None:
    user = VerifiedUser(verifier().verify(sign(scope="read"), NOW), ("", "t-1"))
    for other in (copy.copy(user), copy.deepcopy(user), pickle.loads(pickle.dumps(user))):
        assert (other.identity, other.claims, other.revocation_id) == (user.identity, user.claims, user.revocation_id)
    credentials = pickle.loads(pickle.dumps(credentials_of(("read",))))
    assert credentials.scopes == ["read"]


def test_loops_in_several_threads_may_share_the_memory() -> None:
    verifies = verifier(cache_size=4)
    tokens = [sign(jti=str(number)) for number in range(16)]
    faults: list[Exception] = []

    def work() -> None:
        try:
            for number in range(2000):
                verifies.verify(tokens[number % 16], NOW)
        except Exception as error:
            faults.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert faults == []
