"""`key_tag`: which keys an exchange has, who may come with a tag, and which stacks are refused."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest

from asgi_redis_guard import (
    ConfigurationError,
    GuardMiddleware,
    JWTAuth,
    JWTAuthMiddleware,
    RateLimit,
    RateLimitMiddleware,
    RedisManager,
    ResponseCache,
    RevocationList,
    Sessions,
    TokenService,
    rate_limit,
)
from asgi_redis_guard.core import key_tag as core_key_tag
from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.guard import Guard
from asgi_redis_guard.core.key_tag import KeyTag
from asgi_redis_guard.core.steps import PASS, Admission
from asgi_redis_guard.core.warnings import Warnings
from asgi_redis_guard.middleware.routes import guarded
from asgi_redis_guard.sessions.events import SecurityEvents
from tests.drive import App, call, get, http_scope
from tests.middleware.site import hello, routing
from tests.redis.tools import PATIENCE

SECRET = "a secret for tests only, 32 bytes or more"


@pytest.fixture
async def redis(backend: str) -> AsyncIterator[RedisManager]:
    async with RedisManager(backend, timeout=PATIENCE) as manager:
        yield manager


def bearer(jti: str = "1", **claims: Any) -> str:
    whole = {"sub": "alice", "jti": jti, "exp": time.time() + 3600, **claims}
    return f"Bearer {jwt.encode(whole, SECRET, algorithm='HS256')}"


def auth(**options: Any) -> JWTAuth:
    return JWTAuth(key=SECRET, algorithms=["HS256"], **options)


class Noting(Guard):
    """Notes the tags of the keys that it gets."""

    def __init__(self) -> None:
        self.tags: list[str | None] = []

    def admit(self, exchange: Exchange) -> Admission:
        self.tags.append(exchange.keys.key_tag)
        return PASS
        yield


# What the tag is.


@pytest.mark.parametrize(
    ("key_tag", "fields", "tag"),
    [
        ("{header:x-tenant}", {"x-tenant": "acme"}, "acme"),
        ("{header:x-tenant}", {}, None),
        ("{header:x-tenant}", {"x-tenant": ""}, None),
        ("{header:x-tenant}", {"x-tenant": "a" * 257}, None),
        ("{header:x-tenant}", [("x-tenant", "acme"), ("x-tenant", "globex")], None),
        ("{header:x-tenant|query:tenant}", {}, "by-query"),
        ("{host}", {"host": "Acme.Example.COM:8443"}, "acme.example.com"),
        ("{host}", {"host": "[::1]:8000"}, "[::1]"),
        ("{host}", [("host", "a"), ("host", "b")], None),
        ("{host}", {}, None),
        ("{tenant}", {}, "of-the-path"),
        (lambda exchange: exchange.path[1:], {}, "items"),
        (lambda exchange: None, {}, None),
        (lambda exchange: "", {}, None),
    ],
)
async def test_the_tag_is_what_the_function_or_the_place_tells(key_tag: Any, fields: Any, tag: str | None) -> None:
    guard = Noting()
    app = GuardMiddleware(App(), [guard], redis="memory://", key_tag=key_tag)
    scope = http_scope("/items", fields, query_string=b"tenant=by-query", path_params={"tenant": "of-the-path"})
    scope["headers"] = [field for field in scope["headers"] if field[0] != b"host" or "host" in dict(fields)]
    await call(app, scope)
    assert guard.tags == [tag]


@pytest.mark.parametrize(
    "wrong",
    [
        "tenant",
        "{header:x-tenant}:{host}",
        "t:{host}",
        "{user}",
        "{claim:org}",
        "{json:org}",
        "{",
        "{a b}",
        "{header:}",
        7,
    ],
)
def test_what_is_no_single_place_of_the_request_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        KeyTag(wrong)
    assert f"{refused.value}".startswith(f"key_tag (GUARD_KEY_TAG): {wrong!r} given; allowed is one place")


async def test_a_parameter_of_the_path_that_no_router_around_can_tell_is_warned_about_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_key_tag, "_warnings", Warnings(core_key_tag.logger))
    outside, inside, by_header = (
        GuardMiddleware(App(), [Noting()], redis="memory://", key_tag=tag)
        for tag in ("{tenant}", "{tenant}", "{header:x-tenant}")
    )
    with caplog.at_level("WARNING"):
        await call(inside, http_scope("/acme/items", {}, path_params={"tenant": "acme"}))
        await get(by_header)
        assert caplog.messages == []
        for _ in range(3):
            await get(outside, "/acme/items")
    assert [message.partition("]")[0] for message in caplog.messages] == ["[no-tag"]
    assert "key_tag='{tenant}'" in caplog.text


async def test_a_function_that_returns_something_else_is_told_so() -> None:
    app = GuardMiddleware(App(), [Noting()], redis="memory://", key_tag=lambda exchange: 7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="key_tag"):
        await get(app)


async def test_routes_have_the_tag_of_the_stack_around() -> None:
    @rate_limit("1/minute", key=lambda exchange: "all")
    async def handler() -> bytes:
        return await hello()

    app = GuardMiddleware(routing(handler), [Noting()], redis=RedisManager("memory://"), key_tag="{header:x-tenant}")
    statuses = [(await get(app, headers={"x-tenant": tenant})).status for tenant in ("a", "b", "a", "b")]
    assert statuses == [200, 200, 429, 429]


# Who may come with a tag.


async def test_a_token_opens_its_own_tenant_alone(redis: RedisManager) -> None:
    app = GuardMiddleware(App(), [auth(tenant="org")], redis=redis, key_tag="{header:x-tenant}")

    async def status(tenant: str | None, **claims: Any) -> int:
        fields = {"authorization": bearer(**claims)}
        if tenant is not None:
            fields["x-tenant"] = tenant
        return (await get(app, headers=fields)).status

    assert await status("acme", org="acme") == 200
    assert await status("7", org=7) == 200, "a number is its text"
    assert await status(None) == 200, "no tenant's token, no tenant's keys"
    wrong: list[tuple[str | None, dict[str, Any]]] = [
        ("globex", {"org": "acme"}),
        (None, {"org": "acme"}),
        ("acme", {}),
        ("acme", {"org": ["acme"]}),
        ("True", {"org": True}),
        ("", {"org": "acme"}),
        *[(None, {"org": nobody}) for nobody in (["acme"], {"id": "acme"}, 7.0, True)],
    ]
    for tenant, claims in wrong:
        assert await status(tenant, **claims) == 401, (tenant, claims)


async def test_a_revoked_token_does_not_come_back_by_another_tag(redis: RedisManager) -> None:
    app = GuardMiddleware(App(), [auth(tenant="org")], redis=redis, key_tag="{header:x-tenant}")
    await RevocationList(redis.tagged("acme")).revoke("1")
    for tenant in ("acme", "globex", "", "a" * 300):
        fields = {"authorization": bearer(org="acme"), "x-tenant": tenant}
        assert (await get(app, headers=fields)).status == 401, tenant
    assert (await get(app, headers={"authorization": bearer("2", org="acme"), "x-tenant": "acme"})).status == 200


async def test_a_guard_of_a_route_must_say_the_tenant_too() -> None:
    handler = guarded(hello, [auth()])
    app = GuardMiddleware(routing(handler), [Noting()], redis=RedisManager("memory://"), key_tag="{host}")
    with pytest.raises(ConfigurationError, match="tenant"):
        await get(app, headers={"authorization": bearer()})


# What is refused.


@pytest.mark.parametrize(
    ("make", "key_tag", "words"),
    [
        (lambda redis: auth(), "{host}", "tenant: not given.*another tenant's keys"),
        (lambda redis: auth(tenant="org"), None, "tenant: 'org' given"),
        (lambda redis: auth(tenant="org", revocation=RevocationList(redis, mode="mirror")), "{host}", "mirror"),
        (lambda redis: Sessions(events=SecurityEvents(redis)), "{host}", "events"),
        (lambda redis: RateLimit("1/second", changeable=True), "{host}", "changeable"),
        (lambda redis: auth(revocation=RevocationList(redis.tagged("acme"))), None, "the tag 'acme'"),
    ],
)
def test_guards_that_would_be_wrong_are_refused(make: Any, key_tag: str | None, words: str) -> None:
    redis = RedisManager("memory://")
    with pytest.raises(ConfigurationError, match=words):
        GuardMiddleware(App(), [make(redis)], redis=redis, key_tag=key_tag)


def test_a_guard_that_asks_for_no_revocation_needs_no_tenant() -> None:
    assert GuardMiddleware(App(), [auth(revocation=False)], redis="memory://", key_tag="{host}").key_tag is not None


def test_a_mirror_of_a_tag_s_keys_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="mirror"):
        RevocationList(RedisManager("memory://").tagged("acme"), mode="mirror")


def test_the_environment_tells_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_STACK", "jwt")
    monkeypatch.setenv("GUARD_JWT_KEY", SECRET)
    monkeypatch.setenv("GUARD_JWT_ALGORITHMS", "HS256")
    monkeypatch.setenv("GUARD_KEY_TAG", "{header:x-tenant}")
    with pytest.raises(ConfigurationError, match=r"GUARD_JWT_TENANT|tenant"):
        GuardMiddleware(App(), redis="memory://")
    monkeypatch.setenv("GUARD_JWT_TENANT", "org")
    assert repr(GuardMiddleware(App(), redis="memory://").key_tag) == "<KeyTag '{header:x-tenant}'>"


# Fusion.


def test_neighbours_become_one_stack_only_with_the_same_tag() -> None:
    redis = RedisManager("memory://")

    def stacked(inner: Any, outer: Any) -> int:
        app = RateLimitMiddleware(App(), "9/minute", redis=redis, key_tag=inner)
        tenant = "org" if outer else None
        auth = JWTAuthMiddleware(app, key=SECRET, algorithms=["HS256"], redis=redis, key_tag=outer, tenant=tenant)
        return len(auth.guards)

    by = KeyTag("{host}").of
    assert stacked("{host}", "{host}") == 2
    assert stacked(by, by) == 2
    assert stacked("{host}", "{header:x-tenant}") == 1
    assert stacked("{host}", None) == 1
    assert stacked(None, "{host}") == 1
    assert stacked(None, None) == 2


# What a process remembers.


async def test_nothing_that_a_process_remembers_of_one_tenant_is_given_to_another(redis: RedisManager) -> None:
    """The app answers with the tenant, which no key and no variant tells."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tenant = dict(scope["headers"])[b"x-tenant"]
        seen.append(tenant)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": tenant})

    cache = ResponseCache(ttl=60, memory_ttl=30)
    stack = GuardMiddleware(app, [cache], redis=redis, key_tag="{header:x-tenant}")
    for _ in range(4):
        for tenant in ("acme", "globex"):
            answer = await get(stack, headers={"host": "x", "x-tenant": tenant})
            assert answer.body == tenant.encode()
    assert len(seen) == 2, "each was made once"


async def test_sessions_that_are_remembered_are_their_tenant_s(redis: RedisManager) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            scope["session"]["of"] = dict(scope["headers"])[b"x-tenant"].decode()
        body = str(scope["session"].get("of")).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    stack = GuardMiddleware(app, [Sessions(https_only=False)], redis=redis, key_tag="{header:x-tenant}")
    made = await get(stack, headers={"x-tenant": "acme"}, method="POST")
    cookie = made["set-cookie"].partition(";")[0]
    for _ in range(3):
        assert (await get(stack, headers={"x-tenant": "acme", "cookie": cookie})).body == b"acme"
        assert (await get(stack, headers={"x-tenant": "globex", "cookie": cookie})).body == b"None"


async def test_refusals_that_are_remembered_are_their_tenant_s(redis: RedisManager) -> None:
    limit = RateLimit("1/hour", key=lambda exchange: "all", deny_cache=1.0)
    stack = GuardMiddleware(App(), [limit], redis=redis, key_tag="{header:x-tenant}")
    statuses = [(await get(stack, headers={"x-tenant": tenant})).status for tenant in "aabbab"]
    assert statuses == [200, 429, 200, 429, 429, 429]


# The services beside it.


def service_of(redis: RedisManager) -> TokenService:
    return TokenService(redis, SECRET, refresh_keys="another secret of 32 bytes or more", issuer="us", audience="api")


async def test_a_token_service_of_a_tenant_issues_and_revokes_for_its_requests(redis: RedisManager) -> None:
    services = {tenant: service_of(redis.tagged(tenant)) for tenant in ("acme", "globex")}
    guard = services["acme"].guard(tenant="org")  # the keys that tokens are signed with are the same for all
    app = GuardMiddleware(App(), [guard], redis=redis, key_tag="{header:x-tenant}")

    async def status(tenant: str, token: str) -> int:
        return (await get(app, headers={"authorization": f"Bearer {token}", "x-tenant": tenant})).status

    issued = {tenant: await service.issue("alice", claims={"org": tenant}) for tenant, service in services.items()}
    assert [await status(tenant, pair.access_token) for tenant, pair in issued.items()] == [200, 200]
    assert await status("globex", issued["acme"].access_token) == 401
    await services["acme"].revoke_user("alice")
    assert [await status(tenant, pair.access_token) for tenant, pair in issued.items()] == [401, 200]


async def test_what_runs_in_the_background_has_the_tag_of_its_request(redis: RedisManager) -> None:
    """A stale response is made anew behind the answer, by a stack of the guards that stand behind the cache."""
    noting, made = Noting(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        made.append(dict(scope["headers"])[b"x-tenant"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    cache = ResponseCache(ttl=0.05, swr=60)
    stack = GuardMiddleware(app, [cache, noting], redis=redis, key_tag="{header:x-tenant}")
    fields = {"host": "x", "x-tenant": "acme"}
    async with asyncio.timeout(PATIENCE):
        while len(made) < 2:
            await get(stack, headers=fields)
            await asyncio.sleep(0.02)
    assert set(noting.tags) == {"acme"}
    assert made[:2] == [b"acme", b"acme"]
