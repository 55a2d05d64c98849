"""How refused tokens are answered (RFC 6750 §3), to the letter."""

import json

import pytest

from asgi_redis_guard import Answer, Exchange, JWTAuth
from asgi_redis_guard.errors import ConfigurationError
from tests.drive import App, get
from tests.jwt.conftest import CountingManager, Guarded
from tests.jwt.tokens import NOW, SECRET, bearer, sign


async def test_without_credentials_the_challenge_has_no_error_code(
    guarded: Guarded, inner: App, manager: CountingManager
) -> None:
    response = await get(guarded())
    assert response.status == 401
    assert response["www-authenticate"] == 'Bearer realm="api"'
    assert response["content-type"] == "application/problem+json"
    assert response["cache-control"] == "no-store"
    assert response.json() == {
        "type": "about:blank",
        "title": "Unauthorized",
        "status": 401,
        "detail": "This resource asks for an access token.",
    }
    assert not inner.scopes
    assert manager.round_trips == 0


@pytest.mark.parametrize(
    "field", ["", "Bearer", "Bearer ", "bearer    ", "Basic YTpi", "Token abc", "Bearer\tabc", "BearerX abc", "abc"]
)
async def test_credentials_of_another_scheme_are_none(guarded: Guarded, field: str) -> None:
    response = await get(guarded(), headers={"authorization": field})
    assert (response.status, response["www-authenticate"]) == (401, 'Bearer realm="api"')


@pytest.mark.parametrize(
    ("token", "description"),
    [
        (sign(exp=NOW), "The access token expired"),
        (sign(nbf=NOW + 1), "The access token is not valid yet"),
        (sign(which=1), "The access token is invalid"),
        (b"garbage", "The access token is malformed"),
        (b"a" * 9000, "The access token is too long"),
        (sign() + b", Bearer " + sign(), "The access token is malformed"),
    ],
    ids=["expired", "early", "forged", "garbage", "long", "two in one field"],
)
async def test_a_bad_token_is_an_invalid_token(
    guarded: Guarded, inner: App, manager: CountingManager, token: bytes, description: str
) -> None:
    response = await get(guarded(), headers=bearer(token))
    assert response.status == 401
    challenge = f'Bearer realm="api", error="invalid_token", error_description="{description}"'
    assert response["www-authenticate"] == challenge
    assert response.json()["detail"] == f"{description}."
    assert not inner.scopes
    assert manager.round_trips == 0


async def test_two_credentials_are_an_invalid_request(guarded: Guarded, inner: App, manager: CountingManager) -> None:
    two = [(b"authorization", b"Bearer " + sign())] * 2
    for app, headers in (
        (guarded(), two),
        (guarded(cookie="token"), [two[0], (b"cookie", b"token=" + sign())]),
        (guarded(cookie="token"), [(b"cookie", b"token=a; token=b")]),
        (guarded(cookie="token"), [(b"cookie", b"token=a"), (b"cookie", b"token=b")]),
    ):
        response = await get(app, headers=headers)
        assert response.status == 400
        description = "More than one access token was sent"
        challenge = f'Bearer realm="api", error="invalid_request", error_description="{description}"'
        assert response["www-authenticate"] == challenge
    assert not inner.scopes
    assert manager.round_trips == 0


async def test_scopes_that_are_missing_are_named(guarded: Guarded, inner: App, manager: CountingManager) -> None:
    app = guarded(scopes=["read", "write"])
    response = await get(app, headers=bearer(sign(scope="read")))
    assert response.status == 403
    assert response["www-authenticate"] == (
        'Bearer realm="api", error="insufficient_scope", '
        'error_description="The access token does not grant what this resource asks for", scope="read write"'
    )
    assert manager.round_trips == 0, "what the token itself tells costs nothing"
    assert not inner.scopes
    assert (await get(app, headers=bearer(sign(scope="write read more")))).status == 200
    assert (await get(guarded(scopes="read write"), headers=bearer(sign(scp=["read", "write"])))).status == 200


async def test_the_app_can_answer_in_its_own_words(guarded: Guarded) -> None:
    seen: list[tuple[str, int, str]] = []

    def on_refused(exchange: Exchange, answer: Answer) -> Answer:
        seen.append((exchange.path, answer.status, answer.reason))
        headers = [field for field in answer.headers if field[0] == b"www-authenticate"]
        return Answer(418, [*headers, (b"content-type", b"application/json")], json.dumps("no").encode(), reason="tea")

    app = guarded(on_refused=on_refused, scopes=["x"])
    for headers in ({}, bearer(sign(which=1)), bearer(sign())):
        response = await get(app, "/p", headers)
        assert (response.status, response.json()) == (418, "no")
        assert response["www-authenticate"].startswith('Bearer realm="api"')
    assert seen == [("/p", 401, "unauthenticated"), ("/p", 401, "invalid_token"), ("/p", 403, "insufficient_scope")]


async def test_the_realm_stands_in_every_challenge(guarded: Guarded) -> None:
    app = guarded(realm="my api, v2 = it's here", scopes=["x"])
    for headers in ({}, bearer(b"x"), [(b"authorization", b"Bearer a")] * 2, bearer(sign())):
        assert (await get(app, headers=headers))["www-authenticate"].startswith(
            'Bearer realm="my api, v2 = it\'s here"'
        )


@pytest.mark.parametrize("realm", ['a"b', "a\\b", "ä", "a\nb", "a\r\nset-cookie: x", "\x7f"])
def test_a_realm_that_would_need_quoting_is_refused(realm: str) -> None:
    with pytest.raises(ConfigurationError, match="realm"):
        JWTAuth(SECRET, realm=realm)


@pytest.mark.parametrize("scope", ['a"b', "a\\b", "ä", "\x00"])
def test_a_scope_that_cannot_stand_in_a_challenge_is_refused(scope: str) -> None:
    with pytest.raises(ConfigurationError, match="scopes"):
        JWTAuth(SECRET, scopes=[scope])
