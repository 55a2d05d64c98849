"""The claims of a token, with the time given: what is accepted, and at which moment no longer."""

import json
from typing import Any

import pytest

from asgi_redis_guard.jwt.keys import KeySet
from asgi_redis_guard.jwt.verify import ClaimRules, TokenRefused, VerifiedToken, Verifier
from tests.jwt.tokens import NOW, SECRET, claims, sign


def verifier(**rules: Any) -> Verifier:
    return Verifier(KeySet(SECRET), ClaimRules(**rules))


def verify(token: bytes, now: float = NOW, **rules: Any) -> VerifiedToken:
    return verifier(**rules).verify(token, now)


def refusal(token: bytes, now: float = NOW, **rules: Any) -> str:
    with pytest.raises(TokenRefused) as caught:
        verify(token, now, **rules)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return str(caught.value).removeprefix("The access token")


def test_a_good_token_tells_who_it_speaks_for() -> None:
    token = verify(sign(iss="https://issuer", scope="read write"))
    assert (token.subject, token.issuer, token.token_id) == ("alice", "https://issuer", "t-1")
    assert (token.issued_at, token.expires_at, token.not_before) == (NOW - 10, NOW + 60, None)
    assert token.scopes == ("read", "write")
    assert json.loads(token.payload)["sub"] == "alice"
    assert "alice" in repr(token)
    assert "payload" not in repr(token)


@pytest.mark.parametrize(
    ("given", "scopes"),
    [
        ({"scope": "a b"}, ("a", "b")),
        ({"scope": ""}, ()),
        ({"scp": ["a", "b c"]}, ("a", "b c")),
        ({"scopes": ["a"]}, ("a",)),
        ({"scope": ["a", 1]}, ()),
        ({"scope": {"a": 1}, "scp": "b"}, ("b",)),
        ({"scope": "a", "scp": "b"}, ("a",)),
        ({"scope": True}, ()),
        ({}, ()),
    ],
)
def test_scopes_are_read_in_all_their_spellings(given: dict[str, Any], scopes: tuple[str, ...]) -> None:
    assert verify(sign(**given)).scopes == scopes


@pytest.mark.parametrize("leeway", [0, 0.5, 30, 600])
def test_a_token_ends_at_exp_plus_leeway_and_not_a_moment_later(leeway: float) -> None:
    token = sign(exp=NOW)
    assert verify(token, NOW + leeway - 0.001, leeway=leeway)
    assert refusal(token, NOW + leeway, leeway=leeway) == " expired"


@pytest.mark.parametrize("leeway", [0, 0.5, 30])
@pytest.mark.parametrize(("claim", "text"), [("nbf", " is not valid yet"), ("iat", " was issued in the future")])
def test_nbf_and_iat_may_be_ahead_by_the_leeway_and_no_more(leeway: float, claim: str, text: str) -> None:
    token = sign(**{claim: NOW})
    assert verify(token, NOW - leeway, leeway=leeway)
    assert refusal(token, NOW - leeway - 0.001, leeway=leeway) == text


def test_fractions_of_seconds_count() -> None:
    token = sign(exp=NOW + 0.25, iat=NOW + 0.125)
    assert verify(token, NOW + 0.125)
    assert refusal(token, NOW + 0.124)
    assert refusal(token, NOW + 0.25)


def test_times_are_checked_again_at_every_use() -> None:
    verifies = verifier()
    token = sign(nbf=NOW, iat=NOW)
    for now, good in [(NOW, True), (NOW + 59, True), (NOW + 60, False), (NOW + 30, True), (NOW - 1, False)]:
        try:
            verifies.verify(token, now)
        except TokenRefused:
            assert not good
        else:
            assert good


@pytest.mark.parametrize("name", ["exp", "iat", "sub", "jti", "iss", "whatever"])
def test_a_required_claim_must_be_there_and_not_null(name: str) -> None:
    given = claims(iss="i", whatever=0)
    assert verify(sign(given), required=frozenset([name]))
    assert refusal(sign({**given, name: None}), required=frozenset([name])) == " lacks a required claim"
    del given[name]
    assert refusal(sign(given), required=frozenset([name])) == " lacks a required claim"


def test_exp_is_required_unless_said_otherwise() -> None:
    assert refusal(sign(exp=None)) == " lacks a required claim"
    assert verify(sign(exp=None), required=frozenset())


def test_an_expected_issuer_must_match_wholly() -> None:
    issuers = frozenset(["https://a", "https://b"])
    assert verify(sign(iss="https://a"), issuers=issuers)
    assert verify(sign(iss="https://b"), issuers=issuers)
    for issuer in ("https://", "https://a/", "HTTPS://a", "https://a https://b", "", None):
        assert refusal(sign(iss=issuer), issuers=issuers) == " is from another issuer"
    assert verify(sign(iss="anybody"))


@pytest.mark.parametrize("audience", ["api", ["api"], ["other", "api"]])
def test_a_token_for_us_is_accepted(audience: Any) -> None:
    assert verify(sign(aud=audience), audiences=frozenset(["api", "api-2"]))


@pytest.mark.parametrize("audience", ["other", ["other"], "ap", "api ", "API", "", [""]])
def test_a_token_for_somebody_else_is_refused_also_where_no_audience_is_expected(audience: Any) -> None:
    token = sign(aud=audience)
    assert refusal(token, audiences=frozenset(["api"])) == " is for another audience"
    assert refusal(token) == " is for another audience"


@pytest.mark.parametrize("audience", [None, []])
def test_a_token_for_nobody_is_refused_where_an_audience_is_expected(audience: Any) -> None:
    token = sign(aud=audience)
    assert verify(token)
    assert refusal(token, audiences=frozenset(["api"])) == " is for another audience"


@pytest.mark.parametrize("audience", [1, True, {"api": 1}, ["api", 1], [None], [["api"]], 0])
def test_an_audience_of_another_shape_is_refused(audience: Any) -> None:
    assert "aud" in refusal(sign(aud=audience), audiences=frozenset(["api"]))


@pytest.mark.parametrize("wanted", ["at+jwt", "AT+JWT", "application/at+jwt"])
@pytest.mark.parametrize("given", ["at+jwt", "At+Jwt", "application/at+jwt", "APPLICATION/AT+JWT"])
def test_the_type_is_compared_as_a_media_type(wanted: str, given: str) -> None:
    assert verify(sign(header={"typ": given}), typ=wanted)


@pytest.mark.parametrize("given", ["JWT", "id+jwt", "at+jwt ", "xapplication/at+jwt", "text/at+jwt", None, ["at+jwt"]])
def test_a_token_of_another_type_is_refused(given: Any) -> None:
    assert refusal(sign(header={"typ": given}), typ="at+jwt") == " is of another type"


@pytest.mark.parametrize("name", ["sub", "jti", "iss"])
@pytest.mark.parametrize("value", [1, 1.5, True, False, ["a"], {"a": "b"}, 0, []])
def test_a_name_that_is_no_string_is_refused(name: str, value: Any) -> None:
    assert refusal(sign(**{name: value})) == f"'s {name} is not a string"


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value", ["true", "false", '"1800000000"', "[]", "{}", "1e13", "-1e13", "1e308", "123456789012345678901234567890"]
)
def test_a_time_that_is_none_is_refused(name: str, value: str) -> None:
    given = json.dumps(claims(**{name: "HERE"})).replace('"HERE"', value).encode()
    assert refusal(sign(given)) == f"'s {name} is not a time"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400", "0x10", "01", "1_000"])
def test_numbers_that_json_does_not_have_are_refused(value: str) -> None:
    given = json.dumps(claims(exp="HERE")).replace('"HERE"', value).encode()
    assert refusal(sign(given))


def test_an_empty_jti_is_none() -> None:
    assert verify(sign(jti="")).token_id is None


def test_a_life_beyond_the_longest_is_refused() -> None:
    assert verify(sign(iat=NOW, exp=NOW + 100), max_lifetime=100)
    assert "longer" in refusal(sign(iat=NOW, exp=NOW + 100.5), max_lifetime=100)
    assert "longer" in refusal(sign(iat=None, exp=NOW + 100.5), max_lifetime=100)
    assert verify(sign(iat=NOW, exp=NOW + 1e9))


def test_a_token_without_end_lives_longer_than_any_limit() -> None:
    token = sign(exp=None)
    assert "longer" in refusal(token, required=frozenset(), max_lifetime=100)
    assert verify(token, required=frozenset(), max_lifetime=float("inf"))
