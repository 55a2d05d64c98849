"""From the times of a family to those of its tokens, by clocks that agree and clocks that do not."""

from typing import Any

import pytest

from asgi_redis_guard.errors import RefreshRefused
from asgi_redis_guard.jwt.service.access import AccessTokens
from asgi_redis_guard.jwt.service.families import Begun, Rotation, Verdict
from asgi_redis_guard.jwt.service.family_note import FamilyNote
from asgi_redis_guard.jwt.service.issuing import Issuing, Life, limits_of, narrowed, with_claims
from asgi_redis_guard.jwt.service.options import Options
from asgi_redis_guard.jwt.service.pair import TokenPair
from asgi_redis_guard.jwt.service.refresh_token import RefreshKeys, RefreshToken
from asgi_redis_guard.jwt.signing import KeyRing
from tests.jwt.services import ISSUER, REFRESH_KEY, claims_of
from tests.jwt.tokens import NOW, SECRET

OPTIONS = Options(issuer=ISSUER, access_ttl=600, refresh_ttl=10_000, lifetime=50_000)
LIMITS = limits_of(OPTIONS)
KEYS = RefreshKeys(REFRESH_KEY)
TOKEN = RefreshToken(b"f" * 22, 7)
SERVER = round(NOW * 1000)  # ms


def pair(life: Life, now: float = NOW, **note: Any) -> TokenPair:
    tokens = AccessTokens(KeyRing(SECRET), ISSUER, (ISSUER,))
    return Issuing(OPTIONS, KEYS).pair(tokens, FamilyNote(user="alice", **note), TOKEN, 3, life, now)


def times(life: Life, now: float = NOW) -> tuple[float, float]:
    """`iat` and `exp`, in seconds from `NOW`."""
    claims = claims_of(pair(life, now).access_token)
    return claims["iat"] - NOW, claims["exp"] - NOW


def life(left: int = 50_000_000, idle: int = 10_000_000) -> Life:
    """That of a token that is made now, of a family that is from a minute ago and has so many ms left."""
    return Life(SERVER - 60_000, SERVER, SERVER + min(idle, left), SERVER + left)


def test_tokens_begin_by_the_clock_that_is_behind_and_end_by_this_host_s() -> None:
    assert times(life()) == (0, 600)
    assert times(life(), NOW + 100) == (0, 700)
    assert times(life(), NOW - 100) == (-100, 500)
    assert times(life(), NOW + 0.9) == (0, 600)


@pytest.mark.parametrize(("skew", "allowed"), [(0, 0), (299, 299), (3600, 300), (-3600, -3600)])
def test_no_access_token_outlives_its_family(skew: float, allowed: float) -> None:
    """By the clock of its host, which may be ahead of the server's by five minutes."""
    assert times(life(left=90_000), NOW + skew)[1] == 90 + allowed
    assert times(life(left=600_000), NOW + skew)[1] == times(life(left=700_000), NOW + skew)[1] == 600 + allowed


def test_a_refresh_token_is_told_to_end_when_it_does() -> None:
    assert pair(life()).refresh_expires_at == NOW + 10_000
    assert pair(life(left=5_000_000)).refresh_expires_at == NOW + 5_000
    assert pair(life(), NOW + 100).refresh_expires_at == NOW + 10_100


def test_the_time_of_login_is_that_of_the_family_and_the_name_tells_family_and_number() -> None:
    made = pair(life())
    claims = claims_of(made.access_token)
    assert (claims["auth_time"], claims["jti"], claims["gen"]) == (NOW - 60, "f" * 22 + ".7", 3)
    assert made.refresh_token == KEYS.text(b"f" * 22, 7)


def test_a_family_that_was_just_begun_is_as_old_as_its_first_token() -> None:
    begun = Begun(0, SERVER + LIMITS.idle, SERVER + LIMITS.lifetime)
    assert Life.of_first(begun, LIMITS) == Life(SERVER, SERVER, begun.till, begun.ends)


def test_all_answers_to_one_refresh_begin_when_the_first_was_given() -> None:
    def said(till: int, ends: int) -> Rotation:
        return Rotation(Verdict.SAME, 2, 0, 0, till, ends, (SERVER - 60_000) * 1000, 1, b"", b"", b"")

    usual = said(SERVER + LIMITS.idle, SERVER + 40_000_000)
    for later in (0, 5, 19):
        assert Life.of_next(usual, LIMITS, NOW + later) == Life(SERVER - 60_000, SERVER, usual.till, usual.ends)
    last = said(SERVER + 90_000, SERVER + 90_000)  # its family ends first, so that nothing tells when it was made
    assert Life.of_next(last, LIMITS, NOW) == Life(SERVER - 60_000, SERVER, last.till, last.ends)


def test_families_that_are_over_are_remembered_for_as_long_as_any_verifier_could_accept_their_tokens() -> None:
    assert LIMITS.keep == (600 + 600) * 1000
    assert (LIMITS.idle, LIMITS.lifetime, LIMITS.grace, LIMITS.most_replays) == (10_000_000, 50_000_000, 20_000, 100)


def test_scopes_get_fewer_and_never_more() -> None:
    note = FamilyNote(user="alice", scopes=("a", "b"))
    assert narrowed(note, None) is note
    assert narrowed(note, ("b",)).scopes == ("b",)
    assert narrowed(note, ()).scopes == ()
    for scopes in (("c",), ("a", "c")):
        with pytest.raises(RefreshRefused):
            narrowed(note, scopes)


def test_claims_of_the_moment_stand_on_top_of_those_of_the_login() -> None:
    note = FamilyNote(user="alice", claims={"a": 1, "b": 1})
    assert with_claims(note, {}) is note
    assert with_claims(note, {"b": 2}).claims == {"a": 1, "b": 2}
    with pytest.raises(ValueError, match="claims: sub given"):
        with_claims(note, {"sub": "bob"})
