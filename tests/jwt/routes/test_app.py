"""`TokenRoutes`: refresh, revocation and the keys, as OAuth clients use them, and what else may be sent there."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypercorn.middleware import DispatcherMiddleware
from litestar import Litestar, asgi
from quart import Quart
from starlette.applications import Starlette
from starlette.routing import Mount

from asgi_redis_guard import GuardMiddleware, RedisManager
from asgi_redis_guard.errors import RefreshRefused, TokenInvalid, TokenRevoked
from asgi_redis_guard.jwt.routes.app import TokenRoutes
from asgi_redis_guard.jwt.signing import KeyRing
from tests.drive import Response, call, get, handshake, http_scope
from tests.jwt.routes.visits import FORM, post, post_json, refresh
from tests.jwt.service.test_token_service_rotation import NEW, OLD
from tests.jwt.services import Clock, service


def error_of(response: Response) -> tuple[int, str]:
    """The status and the code of an OAuth error, whose form is checked (RFC 6749 §5.2)."""
    said = response.json()
    assert set(said) == {"error", "error_description"}
    assert response["content-type"] == "application/json"
    assert (response["cache-control"], response["pragma"]) == ("no-store", "no-cache")
    return response.status, said["error"]


async def test_a_refresh_token_is_exchanged_for_a_pair_that_is_good(redis: RedisManager) -> None:
    tokens = service(redis)
    routes, pair = TokenRoutes(tokens), await tokens.issue("alice", scopes="read write")
    response = await refresh(routes, pair.refresh_token)
    assert (response.status, response["content-type"]) == (200, "application/json")
    assert (response["cache-control"], response["pragma"]) == ("no-store", "no-cache")
    said = response.json()
    assert (said["token_type"], said["scope"], said["expires_in"] in (599, 600)) == ("Bearer", "read write", True)
    assert said["refresh_token"] != pair.refresh_token
    assert (await tokens.verify(said["access_token"])).user == "alice"
    assert (await refresh(routes, said["refresh_token"])).status == 200


async def test_another_grant_is_told_as_such_also_without_a_refresh_token(redis: RedisManager) -> None:
    response = await post(TokenRoutes(service(redis)), "/token", grant_type="password", username="a", password="b")
    assert error_of(response) == (400, "unsupported_grant_type")


async def test_a_refresh_as_json_needs_no_grant_type(redis: RedisManager) -> None:
    tokens = service(redis)
    routes, pair = TokenRoutes(tokens), await tokens.issue("alice")
    response = await post_json(routes, "/refresh", {"refresh_token": pair.refresh_token})
    assert response.status == 200
    assert (await post(routes, "/refresh", refresh_token=response.json()["refresh_token"])).status == 200
    assert error_of(await post_json(routes, "/refresh", {"refresh_token": "x", "grant_type": "password"})) == (
        400,
        "unsupported_grant_type",
    )


async def test_a_token_that_comes_again_gets_the_same_and_later_ends_its_login(redis: RedisManager) -> None:
    events: list[Any] = []
    tokens = service(redis, hooks=[events.append], max_replays=1)
    routes, pair = TokenRoutes(tokens), await tokens.issue("alice")
    first, again = [(await refresh(routes, pair.refresh_token)).json() for _ in range(2)]
    assert first["refresh_token"] == again["refresh_token"]
    assert error_of(await refresh(routes, pair.refresh_token)) == (400, "invalid_grant")
    assert error_of(await refresh(routes, first["refresh_token"])) == (400, "invalid_grant")
    assert [event.kind for event in events] == ["replay", "reuse"]
    with pytest.raises(TokenRevoked):
        await tokens.verify(first["access_token"])


async def test_fewer_scopes_are_granted_and_others_use_nothing_up(redis: RedisManager) -> None:
    tokens = service(redis, grace=0)
    routes, pair = TokenRoutes(tokens), await tokens.issue("alice", scopes="read write")
    for scope in ("read admin", "admin", 'a"b'):
        assert error_of(await refresh(routes, pair.refresh_token, scope=scope)) == (400, "invalid_scope")
    fewer = (await refresh(routes, pair.refresh_token, scope="read")).json()
    assert fewer["scope"] == "read"
    assert (await tokens.verify(fewer["access_token"])).scopes == ("read",)
    assert (await refresh(routes, fewer["refresh_token"])).json()["scope"] == "read write"


async def test_a_used_token_is_reuse_whatever_scope_it_asks_for(redis: RedisManager) -> None:
    tokens = service(redis, grace=0)
    routes, pair = TokenRoutes(tokens), await tokens.issue("alice", scopes="read")
    newer = await tokens.refresh(pair.refresh_token)
    assert error_of(await refresh(routes, pair.refresh_token, scope="admin")) == (400, "invalid_grant")
    with pytest.raises(RefreshRefused):
        await tokens.refresh(newer.refresh_token)


async def test_a_token_is_for_the_client_that_it_was_issued_to(redis: RedisManager) -> None:
    tokens = service(redis)
    routes, pair = TokenRoutes(tokens), await tokens.issue("alice", client="web")
    assert (await refresh(routes, pair.refresh_token, client_id="web")).status == 200
    other = await tokens.issue("alice", client="web")
    assert error_of(await refresh(routes, other.refresh_token, client_id="phone")) == (400, "invalid_grant")


async def test_garbage_never_reaches_redis(manager: Any) -> None:
    routes = TokenRoutes(service(manager))
    await manager.client.ping()
    before = manager.round_trips
    for token in ("x", "rt1.a.1.b", "a.b.c"):
        await refresh(routes, token)
        await post(routes, "/revoke", token=token)
        await post(routes, "/logout", refresh_token=token)
    assert manager.round_trips == before


@pytest.mark.parametrize("hint", ["refresh_token", "access_token", "something"])
async def test_a_refresh_token_that_is_revoked_ends_its_login(redis: RedisManager, hint: str) -> None:
    tokens = service(redis)
    routes, pair = TokenRoutes(tokens), await tokens.issue("alice")
    response = await post(routes, "/revoke", token=pair.refresh_token, token_type_hint=hint)
    assert (response.status, response.body, response["cache-control"]) == (200, b"", "no-store")
    assert error_of(await refresh(routes, pair.refresh_token)) == (400, "invalid_grant")
    with pytest.raises(TokenRevoked):
        await tokens.verify(pair.access_token)


async def test_an_access_token_that_is_revoked_ends_alone(redis: RedisManager) -> None:
    tokens = service(redis)
    routes, pair = TokenRoutes(tokens), await tokens.issue("alice")
    assert (await post(routes, "/revoke", token=pair.access_token)).status == 200
    with pytest.raises(TokenRevoked):
        await tokens.verify(pair.access_token)
    assert (await refresh(routes, pair.refresh_token)).status == 200


@pytest.mark.parametrize("token", ["x", "a.b.c", "rt1.x.1.y", "e" * 9000])
async def test_revoking_what_is_no_token_is_no_error(redis: RedisManager, token: str) -> None:
    routes = TokenRoutes(service(redis))
    assert [(await post(routes, "/revoke", token=token)).status for _ in range(2)] == [200, 200]
    assert error_of(await post(routes, "/revoke")) == (400, "invalid_request")
    assert error_of(await post_json(routes, "/revoke", {"token": token})) == (415, "invalid_request")


async def test_the_keys_are_published_and_may_be_kept(manager: RedisManager) -> None:
    tokens = service(manager, KeyRing(OLD))
    routes = TokenRoutes(tokens, max_age=120)
    for path in ("/jwks.json", "/.well-known/jwks.json"):
        response = await get(routes, path)
        assert (response.status, response["content-type"]) == (200, "application/jwk-set+json")
        assert response["cache-control"] == "public, max-age=120"
        assert response.json() == tokens.public_jwks()
        assert "d" not in response.json()["keys"][0]
    tag = response["etag"]
    for known in (tag, f'"x", W/{tag}', "*"):
        same = await get(routes, "/jwks.json", {"if-none-match": known})
        assert (same.status, same.body, same["etag"]) == (304, b"", tag)
    tokens.use_keys(KeyRing(NEW, OLD))
    changed = await get(routes, "/jwks.json", {"if-none-match": tag})
    assert (changed.status, len(changed.json()["keys"])) == (200, 2)


async def test_a_secret_is_never_published(manager: RedisManager) -> None:
    assert (await get(TokenRoutes(service(manager)), "/jwks.json")).json() == {"keys": []}


async def test_head_is_get_without_the_content(manager: RedisManager) -> None:
    routes = TokenRoutes(service(manager, KeyRing(OLD)))
    whole, head = [await get(routes, "/jwks.json", method=method) for method in ("GET", "HEAD")]
    assert (head.status, head.headers, head.body) == (200, whole.headers, b"")


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/token", 405, ["POST"]),
        ("HEAD", "/refresh", 405, ["POST"]),
        ("DELETE", "/logout", 405, ["POST"]),
        ("GET", "/revoke", 405, ["POST"]),
        ("POST", "/jwks.json", 405, ["GET, HEAD"]),
        ("G", "/jwks.json", 405, ["GET, HEAD"]),
        ("POST", "/introspect", 404, []),
        ("GET", "/introspect", 404, []),
        ("POST", "/", 404, []),
        ("POST", "/token//", 404, []),
        ("POST", "//token", 404, []),
        ("POST", "/auth/token", 404, []),
        ("POST", "/Token", 404, []),
        ("POST", "/jwks", 404, []),
    ],
)
async def test_other_methods_and_paths_are_told_so(
    manager: RedisManager, method: str, path: str, status: int, allow: list[str]
) -> None:
    response = await call(TokenRoutes(service(manager)), http_scope(path, method=method))
    assert (response.status, response.all("allow")) == (status, allow)
    assert response["content-type"] == "application/problem+json"
    assert (json.loads(response.body) if method != "HEAD" else {"status": status})["status"] == status


async def test_routes_can_be_left_out(manager: RedisManager) -> None:
    routes = TokenRoutes(service(manager), endpoints=["jwks"])
    assert (await get(routes, "/jwks.json")).status == 200
    assert (await refresh(routes, "x")).status == 404


async def test_a_websocket_is_not_taken(manager: RedisManager) -> None:
    assert (await handshake(TokenRoutes(service(manager)), "/token")).status == 403


async def test_a_client_that_leaves_in_the_middle_of_its_body_gets_nothing_and_changes_nothing(
    redis: RedisManager,
) -> None:
    tokens = service(redis, grace=0)
    pair, sent = await tokens.issue("alice"), []
    form = urlencode({"grant_type": "refresh_token", "refresh_token": pair.refresh_token}).encode()
    inbox = [{"type": "http.disconnect"}, {"type": "http.request", "body": form, "more_body": True}]

    async def receive() -> Any:
        return inbox.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    await TokenRoutes(tokens)(http_scope("/token", {"content-type": FORM}, method="POST"), receive, send)
    assert sent == []
    assert not (await tokens.refresh(pair.refresh_token)).replayed


async def test_an_access_token_is_no_refresh_token_and_the_other_way_round(redis: RedisManager) -> None:
    tokens = service(redis)
    routes, pair = TokenRoutes(tokens), await tokens.issue("alice")
    assert error_of(await refresh(routes, pair.access_token)) == (400, "invalid_grant")
    with pytest.raises(TokenInvalid):
        await tokens.verify(pair.refresh_token)


async def test_reading_a_token_asks_nobody(manager: Any) -> None:
    clock = Clock()
    tokens = service(manager, clock=clock)
    pair = await tokens.issue("alice")
    await tokens.revoke_family(pair.family)
    before = manager.round_trips
    access = tokens.read(pair.access_token)
    assert access is not None
    assert access.family == pair.family
    clock.ahead = 700
    assert tokens.read(pair.access_token) is None
    assert tokens.read(pair.access_token, whenever=True) is not None
    assert tokens.read("x") is None
    assert manager.round_trips == before


async def test_routes_are_mounted_as_the_readme_says_and_exempt_from_the_guard_in_front(redis: RedisManager) -> None:
    tokens = service(redis)
    routes, quart = TokenRoutes(tokens), Quart(__name__)
    dispatcher: Any = DispatcherMiddleware({"/auth": routes, "": quart.asgi_app})  # type: ignore[dict-item]
    mounted: Any = asgi("/auth", is_mount=True, copy_scope=True)(routes)
    for inner in (Starlette(routes=[Mount("/auth", routes)]), dispatcher, Litestar([mounted])):
        app = GuardMiddleware(inner, [tokens.guard(exempt=["/auth/*"])], redis=redis)
        assert (await get(app, "/me")).status == 401
        pair = await tokens.issue("alice")
        assert (await post(app, "/auth/refresh", refresh_token=pair.refresh_token)).status == 200
        assert (await get(app, "/auth/jwks.json")).status == 200
