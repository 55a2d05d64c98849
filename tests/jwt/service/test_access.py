"""Access tokens by RFC 9068: what stands in one, what an app may add, and what is not taken for one."""

import datetime
import json
from dataclasses import replace
from typing import Any

import pytest
from jwt import PyJWS

from asgi_redis_guard import GuardMiddleware, JWTAuth
from asgi_redis_guard.jwt.keys import ALGORITHMS
from asgi_redis_guard.jwt.service.access import RESERVED, AccessTokens, Grant, scopes_of
from asgi_redis_guard.jwt.signing import KeyRing, SigningKey
from asgi_redis_guard.jwt.verify import TokenRefused
from tests.drive import App, get
from tests.jwt.tokens import FAMILIES, NOW, SECRET, bearer, private_pem, unb64

ISSUER, AUDIENCE = "https://issuer.example", "https://api.example"
GRANT = Grant(
    user="alice",
    client="web",
    token_id="t-1",
    issued_at=int(NOW),
    expires_at=int(NOW) + 600,
    auth_time=int(NOW) - 60,
    family="f" * 22,
    generation=3,
    scopes=("read", "write"),
    session="s-1",
    device="d-1",
    claims={"name": "Alice", "roles": ["admin"]},
)


def tokens(keys: Any = SECRET, issuer: str = ISSUER, audiences: tuple[str, ...] = (AUDIENCE,), **more: Any) -> Any:
    return AccessTokens(KeyRing.of(keys), issuer, audiences, **more)


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, read by hand."""
    header, payload, _ = token.encode().split(b".")
    return json.loads(unb64(header)), json.loads(unb64(payload))


def by_hand(typ: Any = "at+jwt", **changes: Any) -> str:
    """A token with other claims, signed as it should be; None takes one away."""
    claims = {**parts(tokens().write(GRANT))[1], **changes}
    payload = json.dumps({name: value for name, value in claims.items() if value is not None}).encode()
    return PyJWS().encode(payload, SECRET, "HS256", {"typ": typ} if typ else {"typ": ""})


def refusal(token: str | bytes, now: float = NOW, reader: Any = None) -> str:
    with pytest.raises(TokenRefused) as caught:
        (reader or tokens()).read(token, now)
    return str(caught.value).removeprefix("The access token")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_written_with_any_algorithm_is_read_again(algorithm: str) -> None:
    raw = SECRET if algorithm.startswith("HS") else private_pem(FAMILIES[algorithm])
    service = tokens(SigningKey(raw, algorithm=algorithm))
    read = service.read(service.write(GRANT), NOW)
    assert (read.user, read.client, read.token_id, read.family) == ("alice", "web", "t-1", "f" * 22)
    assert (read.generation, read.session, read.device) == (3, "s-1", "d-1")
    assert (read.scopes, read.expires_at) == (("read", "write"), NOW + 600)
    assert read.claims["roles"] == ["admin"]
    assert repr(read) == "<AccessToken of 'alice'>"


def test_a_token_says_what_rfc_9068_asks_for() -> None:
    header, claims = parts(tokens().write(GRANT))
    assert header == {"alg": "HS256", "kid": SigningKey(SECRET).kid, "typ": "at+jwt"}
    assert claims == {
        "iss": ISSUER,
        "sub": "alice",
        "aud": AUDIENCE,
        "exp": NOW + 600,
        "iat": NOW,
        "jti": "t-1",
        "client_id": "web",
        "scope": "read write",
        "auth_time": NOW - 60,
        "fam": "f" * 22,
        "gen": 3,
        "sid": "s-1",
        "dev": "d-1",
        "name": "Alice",
        "roles": ["admin"],
    }
    assert all(isinstance(claims[name], int) for name in ("iat", "exp", "auth_time"))


def test_what_there_is_not_is_not_said() -> None:
    _, claims = parts(tokens().write(replace(GRANT, scopes=(), session=None, device=None, claims={})))
    assert not {"scope", "sid", "dev", "name"} & set(claims)
    read = tokens().read(by_hand(sid=None, dev=None, scope=None), NOW)
    assert (read.session, read.device, read.scopes) == (None, None, ())


def test_several_audiences_stand_in_a_list_and_one_of_them_is_enough_for_a_reader() -> None:
    token = tokens(audiences=("a", "b")).write(GRANT)
    assert parts(token)[1]["aud"] == ["a", "b"]
    assert tokens(audiences=("b", "c")).read(token, NOW).user == "alice"
    assert refusal(token, reader=tokens(audiences=("c",))) == " is for another audience"


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_no_claim_of_an_app_takes_the_place_of_one_of_the_service(name: str) -> None:
    with pytest.raises(ValueError, match=f"claims: {name} given"):
        tokens().write(replace(GRANT, claims={name: "mine"}))


def test_all_claims_that_are_taken_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="claims: exp, sub given; the token service sets them itself"):
        tokens().write(replace(GRANT, claims={"sub": "bob", "exp": 0, "fine": 1}))


@pytest.mark.parametrize("value", [b"bytes", {1: 2}, object(), 2**64, "\ud800", {"a": {1}}])
def test_claims_are_what_json_can_hold(value: Any) -> None:
    with pytest.raises(ValueError, match="claims: "):
        tokens().write(replace(GRANT, claims={"x": value}))


def test_a_time_in_claims_is_its_text() -> None:
    day = datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)
    assert parts(tokens().write(replace(GRANT, claims={"since": day})))[1]["since"] == "2024-05-01T00:00:00+00:00"


def test_a_token_that_nobody_would_read_is_not_written() -> None:
    small = tokens(max_size=1000)
    with pytest.raises(ValueError, match=r"a token of \d+ bytes; allowed are 1000"):
        small.write(replace(GRANT, claims={"x": "y" * 600}))
    token = tokens().write(replace(GRANT, claims={"x": "y" * 600}))
    assert refusal(token, reader=small) == " is too long"


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "fam", "gen"])
def test_a_token_without_a_claim_of_the_profile_is_refused(name: str) -> None:
    assert refusal(by_hand(**{name: None})) == " lacks a required claim"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"client_id": 7}, "'s client_id is not a string"),
        ({"fam": ""}, "'s fam is not a string"),
        ({"fam": ["a"]}, "'s fam is not a string"),
        ({"sid": 7}, "'s sid is not a string"),
        ({"dev": {}}, "'s dev is not a string"),
        ({"gen": "3"}, "'s gen is not a number"),
        ({"gen": True}, "'s gen is not a number"),
        ({"gen": 3.0}, "'s gen is not a number"),
        ({"gen": -1}, "'s gen is not a number"),
        ({"sub": ""}, " lacks a required claim"),
        ({"jti": ""}, " lacks a required claim"),
        ({"jti": 7}, "'s jti is not a string"),
        ({"iss": "https://other.example"}, " is from another issuer"),
        ({"aud": "https://other.example"}, " is for another audience"),
        ({"typ": "JWT"}, " is of another type"),
        ({"typ": None}, " is of another type"),
        ({"typ": "rt+jwt"}, " is of another type"),
        ({"typ": 7}, " is of another type"),
    ],
)
def test_what_is_no_access_token_of_this_issuer_is_refused(changes: dict[str, Any], text: str) -> None:
    assert refusal(by_hand(**changes)) == text


def test_the_type_may_be_written_in_full() -> None:
    assert tokens().read(by_hand(typ="application/AT+JWT"), NOW).user == "alice"


def test_clocks_may_differ_by_the_leeway_both_ways() -> None:
    token, reader = tokens().write(GRANT), tokens(leeway=10)
    assert reader.read(token, NOW - 10).user == reader.read(token, NOW + 609.9).user == "alice"
    assert refusal(token, NOW - 10.1, reader) == " was issued in the future"
    assert refusal(token, NOW + 610, reader) == " expired"


@pytest.mark.parametrize("token", ["", "a.b.c", "rt1.x.1.y", "ключ.a.b", b"\xff.\xff.\xff"])
def test_what_is_no_token_is_refused(token: Any) -> None:
    assert refusal(token) in (" is malformed", " is invalid")


def test_what_would_be_revoked_is_read_whenever_it_holds_but_for_its_time() -> None:
    assert tokens().read_whenever(tokens().write(GRANT)).token_id == "t-1"
    assert tokens().read_whenever(by_hand(exp=7, iat=3, nbf=None)).token_id == "t-1"
    for token in ("", ".", "a.b.c", "a.W10.c", "a.eyJleHAiOiJ4In0.c", "ключ", b"\xff.\xff.\xff", by_hand(exp=None)):
        with pytest.raises(TokenRefused):
            tokens().read_whenever(token)
    forged = tokens().write(GRANT)[:-4] + "AAAA"
    with pytest.raises(TokenRefused, match="is invalid"):
        tokens().read_whenever(forged)


@pytest.mark.parametrize(
    ("given", "scopes"),
    [("read write", ("read", "write")), (["a", "b", "a"], ("a", "b")), ((), ()), ("", ()), (["a:b/c"], ("a:b/c",))],
)
def test_scopes_are_given_as_a_list_or_as_text(given: Any, scopes: tuple[str, ...]) -> None:
    assert scopes_of(given) == scopes


@pytest.mark.parametrize("given", [["a b"], ["a\\"], 'a"b', [""], [7], ["é"]])
def test_what_is_no_scope_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="scopes: "):
        scopes_of(given)


async def test_the_guard_of_this_package_accepts_what_is_written() -> None:
    ring = KeyRing(private_pem("ed25519"), private_pem("p256"))
    guard = JWTAuth(
        ring.verify_keys(), issuer=ISSUER, audience=AUDIENCE, typ="at+jwt", scopes=["read"], revocation=False
    )
    app = App()
    guarded = GuardMiddleware(app, [guard], redis="memory://", clock=lambda: NOW)
    answer = await get(guarded, headers=bearer(tokens(ring).write(GRANT).encode()))
    assert answer.status == 200
    assert app.scope["user"].claims["client_id"] == "web"
