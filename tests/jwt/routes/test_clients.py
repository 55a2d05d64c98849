"""OAuth clients at the routes: who they are, what is theirs, and what they get who are somebody else."""

from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, RedisManager
from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.errors import RefreshRefused
from asgi_redis_guard.jwt.routes.app import TokenRoutes
from asgi_redis_guard.jwt.routes.clients import Presented
from asgi_redis_guard.jwt.routes.cookie_transport import CookieTransport
from asgi_redis_guard.jwt.routes.grants import Call
from tests.drive import get, http_scope
from tests.jwt.routes.test_app import error_of
from tests.jwt.routes.visits import Browser, basic, bearer, post, refresh
from tests.jwt.services import ISSUER, service

SECRET = "a secret: of 16+ characters % é"
CLIENTS = {"shop": SECRET, "phone": None}


async def by_function(client: str, secret: str | None) -> bool:
    """The same clients, asked of a database as it were."""
    return client == ISSUER or (client in CLIENTS and secret == CLIENTS[client])


@pytest.fixture(params=[CLIENTS, by_function, lambda client, secret: client == ISSUER or CLIENTS[client] == secret])
def clients(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_a_confidential_client_shows_its_secret_in_one_of_two_ways(redis: RedisManager, clients: Any) -> None:
    tokens = service(redis)
    routes, pair = TokenRoutes(tokens, clients=clients), await tokens.issue("alice", client="shop")
    answer = await refresh(routes, pair.refresh_token, basic("shop", SECRET))
    assert answer.status == 200
    token = answer.json()["refresh_token"]
    assert (await refresh(routes, token, basic("shop", SECRET), client_id="shop")).status == 200


async def test_a_secret_may_stand_in_the_form_where_it_is_ascii(redis: RedisManager) -> None:
    tokens = service(redis)
    routes = TokenRoutes(tokens, clients={"shop": "a secret of 16 and more"})
    pair = await tokens.issue("alice", client="shop")
    more = {"client_id": "shop", "client_secret": "a secret of 16 and more"}
    assert (await refresh(routes, pair.refresh_token, **more)).status == 200
    assert error_of(await refresh(routes, pair.refresh_token, client_secret="x")) == (400, "invalid_request")
    both = await refresh(routes, pair.refresh_token, basic("shop", "x"), client_secret="x")
    assert error_of(both) == (400, "invalid_request")


WRONG: list[tuple[dict[str, str], dict[str, str]]] = [
    ({}, {"client_id": "shop"}),
    ({}, {"client_id": "shop", "client_secret": "another secret of 16"}),
    (basic("shop", ""), {}),
    (basic("shop", "another secret of 16"), {}),
    (basic("shop", SECRET + "x"), {}),
    (basic("shop", SECRET[:-1]), {}),
    (basic("phone", SECRET), {}),
    ({"authorization": "Basic"}, {}),
    ({"authorization": "Basic !"}, {}),
    ({"authorization": "Basic c2hvcA=="}, {}),
    ({"authorization": "Basic /////w=="}, {}),
    ({"authorization": "basic OmE="}, {}),
]


@pytest.mark.parametrize(("headers", "more"), WRONG)
async def test_whoever_is_not_that_client_gets_nothing_and_uses_nothing_up(
    redis: RedisManager, headers: dict[str, str], more: dict[str, str]
) -> None:
    tokens = service(redis, grace=0)
    routes, pair = TokenRoutes(tokens, clients=CLIENTS), await tokens.issue("alice", client="shop")
    refused = await refresh(routes, pair.refresh_token, headers, **more)
    assert error_of(refused) == (401, "invalid_client")
    assert refused["www-authenticate"].startswith("Basic realm=")
    assert error_of(await post(routes, "/revoke", headers, token=pair.refresh_token, **more)) == (401, "invalid_client")
    assert not (await tokens.refresh(pair.refresh_token)).replayed


@pytest.mark.parametrize("client", ["nobody", "nobody at all"])
async def test_a_client_that_nobody_knows_is_refused_with_and_without_a_secret(
    manager: RedisManager, client: str
) -> None:
    routes = TokenRoutes(service(manager), clients=CLIENTS)
    for headers, more in ((basic(client, "nobody"), {}), ({}, {"client_id": client})):
        assert error_of(await refresh(routes, "x", headers, **more)) == (401, "invalid_client")


async def test_a_secret_that_nobody_could_check_is_not_taken_for_checked(manager: RedisManager) -> None:
    routes = TokenRoutes(service(manager))
    assert error_of(await refresh(routes, "x", basic("shop", SECRET))) == (401, "invalid_client")


async def test_naming_another_client_or_none_does_not_help_with_the_token_of_a_confidential_one(
    redis: RedisManager, clients: Any
) -> None:
    tokens = service(redis)
    routes = TokenRoutes(tokens, clients=clients, cookie=CookieTransport())
    for more in ({}, {"client_id": "phone"}):
        stolen = await tokens.issue("alice", client="shop")
        assert error_of(await refresh(routes, stolen.refresh_token, **more)) == (400, "invalid_grant")
        with pytest.raises(RefreshRefused):
            await tokens.refresh(stolen.refresh_token)
    browser, stolen = Browser(routes), await tokens.issue("alice", client="shop")
    browser.cookies["__Host-refresh"] = stolen.refresh_token
    assert error_of(await browser.post("/refresh")) == (400, "invalid_grant")


async def test_the_service_s_own_tokens_need_no_client(redis: RedisManager, clients: Any) -> None:
    tokens = service(redis)
    routes = TokenRoutes(tokens, clients=clients, cookie=CookieTransport())
    pair = await tokens.issue("alice")
    assert (await refresh(routes, pair.refresh_token)).status == 200
    browser = Browser(routes)
    browser.take(routes.cookies(await tokens.issue("alice")))
    assert (await browser.post("/refresh")).status == 200


async def test_a_client_revokes_only_what_was_issued_to_it(redis: RedisManager) -> None:
    tokens = service(redis)
    routes, pair = TokenRoutes(tokens, clients=CLIENTS), await tokens.issue("alice", client="phone")
    for token in (pair.refresh_token, pair.access_token):
        refused = await post(routes, "/revoke", basic("shop", SECRET), token=token)
        assert error_of(refused) == (400, "invalid_grant")
    assert (await tokens.verify(pair.access_token)).client == "phone"
    assert (await post(routes, "/revoke", token=pair.refresh_token, client_id="phone")).status == 200
    assert (await post(routes, "/revoke", token=pair.refresh_token, client_id="phone")).status == 200
    assert (await post(routes, "/revoke", basic("shop", SECRET), token="x")).status == 200


async def test_a_client_logs_out_only_those_who_logged_in_by_it(redis: RedisManager) -> None:
    tokens = service(redis)
    routes = TokenRoutes(tokens, clients=CLIENTS, cookie=CookieTransport())
    pair = await tokens.issue("alice", client="shop")
    browser = Browser(routes)
    browser.cookies["__Host-refresh"] = pair.refresh_token
    for everywhere in ("true", "false"):
        stolen = {"refresh_token": pair.refresh_token, "everywhere": everywhere}
        assert error_of(await post(routes, "/logout", **stolen)) == (400, "invalid_grant")
        assert error_of(await post(routes, "/logout", client_id="shop", **stolen)) == (401, "invalid_client")
        assert error_of(await browser.post("/logout", {"everywhere": everywhere})) == (400, "invalid_grant")
    assert (await tokens.verify(pair.access_token)).user == "alice"
    done = await post(routes, "/logout", basic("shop", SECRET), refresh_token=pair.refresh_token)
    assert done.status == 204
    own = await tokens.issue("alice")
    assert (await post(routes, "/logout", refresh_token=own.refresh_token)).status == 204


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"clients": ["shop"]}, "clients"),
    ({"clients": {"shop": "short"}}, "clients"),
    ({"clients": {"": None}}, "clients"),
    ({"introspection": {"api": None}}, "introspection"),
    ({"introspection": {"api": b"bytes of 16 characters"}}, "introspection"),
    ({"cookie": "__Host-refresh"}, "cookie"),
    ({"on_logout": "print"}, "on_logout"),
    ({"clear_site_data": "everything"}, "clear_site_data"),
    ({"endpoints": ["tokens"]}, "endpoints"),
    ({"max_body": 0}, "max_body"),
    ({"max_age": -1}, "max_age"),
]


@pytest.mark.parametrize(("options", "name"), FAULTS)
def test_what_cannot_work_is_told_at_once_without_a_secret(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        TokenRoutes(service(RedisManager("memory://")), **options)
    (fault,) = caught.value.faults
    assert fault.startswith(f"{name}: ")
    assert "short" not in fault.removeprefix(name)
    assert "bytes of" not in fault


# Introspection (RFC 7662).

APIS = {"api": "the secret of the api: 16"}
API = basic("api", APIS["api"])


async def test_an_api_is_told_of_a_good_access_token_what_stands_in_it(redis: RedisManager) -> None:
    tokens = service(redis, audience="https://api.example")
    routes = TokenRoutes(tokens, introspection=APIS)
    pair = await tokens.issue("alice", {"role": "admin", "active": "x"}, scopes="read", client="web", device="phone")
    answer = await post(routes, "/introspect", API, token=pair.access_token)
    assert (answer.status, answer["cache-control"]) == (200, "no-store")
    said = answer.json()
    assert (said.pop("iat") <= said.pop("nbf", said["exp"]), said.pop("auth_time") > 0) == (True, True)
    assert said == {
        "active": True,
        "token_type": "Bearer",
        "iss": ISSUER,
        "aud": "https://api.example",
        "sub": "alice",
        "username": "alice",
        "client_id": "web",
        "scope": "read",
        "jti": pair.token_id,
        "exp": pair.expires_at,
        "role": "admin",
    }


async def test_of_what_is_not_good_nothing_is_told(redis: RedisManager) -> None:
    tokens = service(redis)
    routes, pair = TokenRoutes(tokens, introspection=APIS), await tokens.issue("alice")
    gone = await tokens.issue("alice")
    await tokens.revoke_family(gone.family)
    inactive = [gone.access_token, gone.refresh_token, pair.refresh_token + "x", "x", "a.b.c", pair.access_token[:-4]]
    for token in inactive:
        for hint in ({}, {"token_type_hint": "refresh_token"}, {"token_type_hint": "access_token"}):
            answer = await post(routes, "/introspect", API, token=token, **hint)
            assert (answer.status, answer.json()) == (200, {"active": False})


async def test_a_refresh_token_does_not_pass_for_an_access_token(redis: RedisManager) -> None:
    tokens = service(redis)
    routes, pair = TokenRoutes(tokens, introspection=APIS), await tokens.issue("alice", scopes="read")
    plain = await post(routes, "/introspect", API, token=pair.refresh_token)
    assert plain.json() == {"active": False}
    meant = await post(routes, "/introspect", API, token=pair.refresh_token, token_type_hint="refresh_token")
    said = meant.json()
    assert (said["active"], said["token_type"], said["sub"]) == (True, "refresh_token", "alice")
    assert (said["scope"], abs(said["exp"] - pair.refresh_expires_at) <= 2) == ("read", True)
    assert not (await tokens.refresh(pair.refresh_token)).replayed, "asking has used it up"
    wrong_hint = await post(routes, "/introspect", API, token=pair.access_token, token_type_hint="refresh_token")
    assert wrong_hint.json()["token_type"] == "Bearer", "RFC 7662 §2.1: a hint is a hint"


@pytest.mark.parametrize(
    "headers", [{}, basic("api", "x"), basic("x", APIS["api"]), basic("web", ""), bearer("x"), {"authorization": "x"}]
)
async def test_others_may_not_ask(redis: RedisManager, headers: dict[str, str]) -> None:
    tokens = service(redis)
    routes, pair = TokenRoutes(tokens, introspection=APIS), await tokens.issue("alice")
    refused = await post(routes, "/introspect", headers, token=pair.access_token, client_id="api")
    assert refused.status in (400, 401)
    assert refused.json()["error"] in ("invalid_client", "invalid_request")
    assert "alice" not in refused.body.decode()


async def test_who_may_ask_is_told_by_a_function_as_well(redis: RedisManager) -> None:
    async def asked(client: str, secret: str | None) -> bool:
        return APIS.get(client) == secret

    tokens = service(redis)
    routes, pair = TokenRoutes(tokens, introspection=asked), await tokens.issue("alice")
    assert (await post(routes, "/introspect", API, token=pair.access_token)).json()["active"] is True
    assert (await post(routes, "/introspect", basic("api", "x"), token=pair.access_token)).status == 401
    assert error_of(await post(routes, "/introspect", API)) == (400, "invalid_request")
    assert (await get(routes, "/introspect")).status == 405


def test_what_a_client_has_sent_stands_in_no_text_of_an_object() -> None:
    """Tools that report failures write down what variables hold."""
    exchange = Exchange(http_scope("/token"), 0.0, bytes, Keys())
    told = repr((Presented("web", "a secret"), Call(exchange, {"refresh_token": "a token"})))
    assert told == "(<Presented 'web'>, <Call '/token' with ['refresh_token']>)"
