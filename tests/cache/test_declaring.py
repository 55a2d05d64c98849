"""What routes declare: several at once, none around, in another request's context, and what is warned about."""

import asyncio
import gc
import logging
from typing import Any

import pytest

from asgi_redis_guard import RateLimit, RedisManager, RevocationList, cached, invalidates
from asgi_redis_guard.cache import declaring, decorator
from asgi_redis_guard.cache.recording import Recording
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.warnings import Warnings
from asgi_redis_guard.middleware.routed import DECLARED
from tests.cache.people import jwt, me, token
from tests.cache.shops import PROFILES, Shop, cache, declared, echo, fresh, header, outcomes, page, shop_at
from tests.cache.site import routes, site
from tests.drive import call, http_scope


async def test_a_function_that_calls_another_s_is_kept_as_both_allow(redis_url: str) -> None:
    """A page of one's own that is made with a public one is one's own, in whichever order they are called."""
    prices = declared(page(b"prices"), public=True, tags=["prices"])

    async def mine(scope: Scope, receive: Receive, send: Send) -> None:
        async def nowhere(message: Any) -> None:
            pass

        await prices(scope, receive, nowhere)
        await me(scope, receive, send)

    async with shop_at(redis_url, jwt(), cache(ttl=None)) as shop:
        shop.pages["/outer"] = declared(mine, user_aware=True)
        shop.pages["/inner"] = declared(mine)
        for path in ("/outer", "/inner"):
            for name in ("alice", "bob", "alice"):
                assert (await shop.get(path, token(name))).body == b"name:" + name.encode()
        assert shop.made.count("/outer") == 2
        assert shop.made.count("/inner") == 3


async def test_what_several_declarations_allow_varies_by_all_they_name(redis_url: str) -> None:
    async with shop_at(redis_url, cache(ttl=None)) as shop:
        both = echo(lambda scope: (header(scope, b"x-a"), header(scope, b"x-b"), header(scope, b"x-c")))
        inner = declared(both, vary=["x-a"], key=lambda exchange: exchange.header(b"x-b"))
        shop.pages["*"] = declared(inner, vary=["x-a"], key=lambda exchange: exchange.header(b"x-c"))
        for _ in range(2):
            for number in range(4):
                given = {"x-a": str(number & 1), "x-b": str(number & 2), "x-c": "c"}
                assert (await shop.get("/", given)).body == str(tuple(given.values())).encode()
        assert len(shop.made) == 4


async def test_a_key_of_the_app_s_own_works_in_every_process(redis_url: str) -> None:
    async with RedisManager(redis_url) as redis:
        keyed = declared(echo(lambda scope: scope["headers"]), key=lambda exchange: exchange.header(b"x-tenant"))
        sites = [Shop(redis, cache(ttl=None)) for _ in range(2)]
        for shop in sites:
            shop.pages["*"] = keyed
            for _ in range(3):
                for tenant in ("one", "two"):
                    assert tenant.encode() in (await shop.get("/", {"x-tenant": tenant})).body
            assert outcomes([await shop.get("/", {"x-tenant": "one"})]) == ["hit"]
        assert outcomes([await sites[0].get("/") for _ in range(2)]) == ["fwd=bypass"] * 2


async def test_a_page_that_is_asked_for_while_another_is_made_declares_for_itself(redis_url: str) -> None:
    async with shop_at(redis_url, cache(ttl=None)) as shop:

        async def outer(scope: Scope, receive: Receive, send: Send) -> None:
            inner = await call(shop.stack, http_scope("/inner", [(b"host", b"test")]))
            await page(b"with " + inner.body)(scope, receive, send)

        shop.pages["/inner"] = declared(page(b"inner"))
        shop.pages["/outer"] = outer
        for _ in range(2):
            assert (await shop.get("/outer")).body == b"with inner"
        assert shop.made == ["/outer", "/inner", "/outer"]


async def test_what_runs_after_the_response_declares_nothing_for_it(redis_url: str) -> None:
    async with shop_at(redis_url, cache(ttl=None)) as shop:
        shop.pages["/later"] = page(b"later")

        async def then(scope: Scope, receive: Receive, send: Send) -> None:
            await page(b"first")(scope, receive, send)
            await declared(page())(scope, receive, _nowhere)

        shop.pages["/first"] = then
        assert [(await shop.get("/first"))["x-made"] for _ in range(2)] == ["1", "2"]
        assert await shop.stored() == []


@pytest.mark.parametrize("decorate", [cached(60), invalidates("a")])
async def test_a_decorated_route_without_any_cache_is_warned_about_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, decorate: Any
) -> None:
    monkeypatch.setattr(decorator, "_warnings", Warnings(logging.getLogger("asgi_redis_guard.cache")))
    monkeypatch.setattr(declaring._CACHES, "any", False)
    route = decorate(page())
    for _ in range(2):
        assert (await call(route, http_scope("/", [(b"host", b"test")]))).status == 200
    (record,) = [record for record in caplog.records if "[uncached-route]" in record.getMessage()]
    assert "add ResponseCacheMiddleware" in record.getMessage()
    assert "answer has @" in record.getMessage()


# A hit has passed all that stands in front of it.


async def test_a_revoked_token_gets_no_hit(backend: str) -> None:
    async with shop_at(backend, jwt(), cache(ttl=None)) as shop:
        shop.pages["*"] = declared(me, user_aware=True)
        alice = token("alice")
        responses = [await shop.get("/", alice) for _ in range(3)]
        assert outcomes(responses) == ["fwd=uri-miss", "hit", "hit"]
        await RevocationList(shop.redis).revoke_user("alice")
        assert (await shop.get("/", alice)).status == 401


async def test_a_limit_counts_hits(backend: str) -> None:
    async with shop_at(backend, RateLimit("3/hour", key="address"), cache()) as shop:
        shop.pages["*"] = page()
        assert [(await shop.get()).status for _ in range(5)] == [200, 200, 200, 429, 429]
        assert len(shop.made) == 1
        assert not any(b"ratelimit" in value for value in await shop.stored())


async def test_what_a_limit_tells_one_client_is_told_to_no_other(redis_url: str) -> None:
    async with shop_at(redis_url, RateLimit("3/hour", key="address"), cache()) as shop:
        shop.pages["*"] = page()
        told = [(await shop.get()).all("ratelimit") for _ in range(3)]
        assert [len(one) for one in told] == [1, 0, 0], "what has an age tells of no limit"


async def _nowhere(message: Any) -> None:
    pass


# Made anew behind an answer.


async def stale(shop: Shop, name: str) -> None:
    """Wait until what is stored is stale, as far as Redis knows."""
    for key in await shop.redis.execute("KEYS", "*r:{*}?*"):
        value = await shop.redis.execute("GET", key)
        if value[:1] == b"1":
            await shop.redis.execute("SET", key, value[:17] + b"%016d" % 1 + value[33:], "EX", 100)


async def test_what_is_made_anew_behind_one_user_s_answer_is_not_for_another(redis_url: str) -> None:
    async with shop_at(redis_url, jwt(optional=True), cache(ttl=None)) as shop:
        shop.pages["/mine"] = declared(me, user_aware=True, swr=60)
        shop.pages["/all"] = declared(me, swr=60)
        for name in ("alice", "bob"):
            await shop.get("/mine", token(name))
        await shop.get("/all")
        for name in ("alice", "bob", "alice"):
            await stale(shop, name)
            assert (await shop.get("/mine", token(name))).body == b"name:" + name.encode()
            assert (await shop.get("/all", token(name))).body in (b"name:-", b"name:" + name.encode())
            assert (await shop.get("/all")).body == b"name:-"
        for name in ("alice", "bob"):
            assert (await shop.get("/mine", token(name))).body == b"name:" + name.encode()


@pytest.mark.parametrize("profile", PROFILES)
async def test_a_body_that_says_that_it_is_too_long_is_not_said_to_be_stored(redis_url: str, profile: str) -> None:
    async with shop_at(redis_url, cache(profile, max_body=4)) as shop:
        for body in (b"four", b"five "):
            shop.pages[f"/{len(body)}"] = page(body, *fresh(profile, (b"content-length", b"%d" % len(body))))
        first, second = await shop.get("/4"), await shop.get("/5")
        assert first["cache-status"] == "guard; fwd=uri-miss; stored"
        assert second["cache-status"] == "guard; fwd=uri-miss; detail=size"
        assert len(await shop.stored()) == 1


@pytest.mark.parametrize("profile", PROFILES)
async def test_clients_are_told_the_same_of_a_declared_response_whether_it_was_stored_or_made(
    redis_url: str, profile: str
) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
        shop.pages["/ask"] = declared(page())
        shop.pages["/keep"] = declared(page(), client_ttl=20)
        shop.pages["/own"] = declared(page(b"ok", (b"cache-control", b"max-age=5")))
        for path, said in (("/ask", "no-cache"), ("/keep", "max-age={}"), ("/own", "max-age=5")):
            made, stored = [await shop.get(path) for _ in range(2)]
            assert outcomes([made, stored]) == ["fwd=uri-miss", "hit"]
            assert made["cache-control"] == said.format(20)
            assert stored["cache-control"] == said.format(20 + int(stored["age"]))
        etag = (await shop.get("/ask"))["etag"]
        assert (await shop.get("/ask", {"if-none-match": etag})).status == 304


async def test_a_task_that_outlives_its_request_holds_nothing_of_the_response(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DECLARED, "any", False)  # guards on routes hold their responders
    tasks: list[asyncio.Task[bool]] = []
    body = b"x" * 500_000

    async def page(scope: Scope, receive: Receive, send: Send) -> None:
        tasks.append(asyncio.create_task(asyncio.Event().wait()))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async with site(routes(page=cached(60)(page)), redis_url) as here:
        await here.get("/page")
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, Recording)]
        tasks[0].cancel()
