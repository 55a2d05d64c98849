"""What caches are caught out by, beside leaks: poisoned fields, parts taken for wholes, clients who want to decide."""

import pytest

from asgi_redis_guard import ConfigurationError
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from tests.cache.shops import PROFILES, cache, declared, echo, fresh, header, outcomes, page, shop_at
from tests.drive import call, websocket_scope

BOTH = pytest.mark.parametrize("profile", PROFILES)


# What an answer depends on without saying so.


async def test_what_answers_another_origin_answers_no_other_and_none_without(backend: str) -> None:
    """CORS middlewares often answer with the origin asked for, or with nothing where there is none, without Vary."""
    async with shop_at(backend, cache("app")) as shop:
        shop.pages["*"] = echo(lambda scope: header(scope, b"origin"))
        asked: list[dict[str, str]] = [{}, {"origin": "https://a.example"}, {"origin": "https://b.example"}]
        for _ in range(2):
            assert [(await shop.get("/", given)).body for given in asked] == [
                b"-",
                b"https://a.example",
                b"https://b.example",
            ]
        assert len(shop.made) == 3


async def test_in_the_http_profile_the_origin_counts_where_the_response_says_so(redis_url: str) -> None:
    async with shop_at(redis_url, cache("http")) as shop:
        for vary, made in ((b"accept", 1), (b"Origin", 2)):
            shop.pages["*"] = page(b"ok", *fresh("http", (b"vary", vary)))
            await shop.get(f"/{vary.decode()}")
            await shop.get(f"/{vary.decode()}", {"origin": "https://a.example"})
            assert shop.made.count(f"/{vary.decode()}") == made


async def test_a_write_invalidates_what_was_kept_for_every_origin(redis_url: str) -> None:
    async with shop_at(redis_url, cache("app")) as shop:
        shop.pages["*"] = page()
        for given in ({}, {"origin": "https://a.example"}):
            await shop.get("/", given)
        await shop.get("/", {"origin": "https://b.example"}, method="PUT")
        for given in ({}, {"origin": "https://a.example"}):
            assert int((await shop.get("/", given))["x-made"]) > 3


@BOTH
@pytest.mark.parametrize(
    "name",
    ["x-forwarded-host", "x-forwarded-proto", "x-forwarded-prefix", "x-forwarded-port", "x-original-url", "forwarded",
     "x_forwarded-host", "x_forwarded_proto", "x-script-name", "x-http-host-override"],
)  # fmt: skip
async def test_a_field_that_apps_build_links_from_poisons_nobody_s_answer(
    redis_url: str, profile: str, name: str
) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
        shop.pages["*"] = echo(lambda scope: header(scope, name.encode()), *fresh(profile))
        for _ in range(2):
            assert (await shop.get("/", {name: "evil.example"})).body == b"evil.example"
            assert (await shop.get("/")).body == b"-"
        assert len(shop.made) == 2


@BOTH
async def test_a_host_that_is_none_of_the_app_s_is_neither_looked_up_nor_kept(redis_url: str, profile: str) -> None:
    async with shop_at(redis_url, cache(profile, hosts=["shop.example"])) as shop:
        shop.pages["*"] = echo(lambda scope: header(scope, b"host"), *fresh(profile))
        for host in ("evil.example", "shop.example@evil.example", "shop.example/evil"):
            responses = [await shop.get("/", {"host": host}) for _ in range(2)]
            assert outcomes(responses) == ["fwd=bypass"] * 2
        assert await shop.stored() == []
        assert outcomes([await shop.get("/", {"host": "shop.example"}) for _ in range(2)]) == ["fwd=uri-miss", "hit"]


@BOTH
async def test_a_path_counts_as_it_was_sent(redis_url: str, profile: str) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
        shop.pages["*"] = echo(lambda scope: scope["raw_path"], *fresh(profile))
        for _ in range(2):
            for raw in (b"/a%2Fb", b"/a%2fb", b"/a/b", b"/%61/b"):
                path = raw.replace(b"%2F", b"/").replace(b"%2f", b"/").replace(b"%61", b"a").decode()
                assert (await shop.get(path, raw_path=raw)).body == repr(raw).encode()
        assert len(shop.made) == 4


async def test_sorting_a_query_keeps_the_order_of_what_is_repeated(redis_url: str) -> None:
    async with shop_at(redis_url, cache("app", sort_query=True)) as shop:
        shop.pages["*"] = echo(lambda scope: scope["query_string"])
        assert (await shop.get("/?b=1&a=2"))["x-made"] == (await shop.get("/?a=2&b=1"))["x-made"]
        assert (await shop.get("/?a=1&a=2")).body != (await shop.get("/?a=2&a=1")).body


# Who decides.


async def test_no_field_of_a_client_goes_past_the_cache_or_takes_anything_from_it(redis_url: str) -> None:
    async with shop_at(redis_url, cache("app")) as shop:
        shop.pages["*"] = page(b"ok", (b"etag", b'"1"'))
        await shop.get()
        tries: list[dict[str, str]] = [
            {"cache-control": "no-cache"},
            {"cache-control": "no-store"},
            {"cache-control": "max-age=0"},
            {"cache-control": "max-stale=9999"},
            {"cache-control": "only-if-cached"},
            {"pragma": "no-cache"},
            {"cache-invalidate": "1"},
            {"x-cache-bypass": "1"},
            {"guard-cache-control": "no-store"},
            {"cdn-cache-control": "no-store"},
            {"cache-group-invalidation": '"all"'},
            {"surrogate-key": "all"},
        ]
        for given in tries:
            assert outcomes([await shop.get("/", given)]) == ["hit"], given
        assert len(shop.made) == 1


async def test_a_client_that_asks_first_with_no_store_keeps_nobody_from_an_answer(redis_url: str) -> None:
    async with shop_at(redis_url, cache("app")) as shop:
        shop.pages["*"] = page()
        await shop.get("/", {"cache-control": "no-store"})
        assert outcomes([await shop.get()]) == ["hit"]


@BOTH
@pytest.mark.parametrize("method", ["PURGE", "BAN", "REFRESH", "OPTIONS", "TRACE"])
async def test_a_method_that_the_app_refuses_takes_nothing_from_the_cache(
    redis_url: str, profile: str, method: str
) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
        shop.pages["*"] = page(b"ok", *fresh(profile))
        await shop.get()
        shop.pages["*"] = page(b"no such method", status=405)
        assert (await shop.get(method=method)).status == 405
        assert outcomes([await shop.get()]) == ["hit"]


@BOTH
@pytest.mark.parametrize("status", [401, 404, 422, 500])
async def test_a_request_that_fails_does_not_switch_the_cache_off_for_the_others(
    redis_url: str, profile: str, status: int
) -> None:
    """Before the route's function runs nothing is declared: anyone could ask wrongly, and all would miss."""
    async with shop_at(redis_url, cache(profile, **({"ttl": None} if profile == "app" else {}))) as shop:
        right = declared(page()) if profile == "app" else page(b"ok", *fresh(profile))

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            wrong = scope["query_string"] == b"wrong"
            await (page(b"no", status=status) if wrong else right)(scope, receive, send)

        shop.pages["*"] = answer
        assert (await shop.get("/?wrong")).status == status
        assert outcomes([await shop.get(), await shop.get()]) == ["fwd=uri-miss", "hit"]


@BOTH
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_write_is_never_answered_with_304(backend: str, profile: str, method: str) -> None:
    async with shop_at(backend, cache(profile)) as shop:
        shop.pages["*"] = page(b"ok", (b"etag", b'"1"'), *fresh(profile))
        await shop.get()
        assert (await shop.get("/", {"if-none-match": '"1"'})).status == 304
        for path in ("/", "/other"):
            response = await shop.get(path, {"if-none-match": '"1"'}, method=method)
            assert (response.status, response.body) == (200, b"ok")
        assert shop.made == ["/", "/", "/other"]


@BOTH
async def test_an_etag_of_one_page_is_no_304_on_another(redis_url: str, profile: str) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
        shop.pages["/a"] = page(b"a", (b"etag", b'"a"'), *fresh(profile))
        shop.pages["/b"] = page(b"b", (b"etag", b'"b"'), *fresh(profile))
        await shop.get("/a")
        await shop.get("/b")
        assert (await shop.get("/b", {"if-none-match": '"a"'})).status == 200


@BOTH
async def test_cookies_for_csrf_are_never_kept(redis_url: str, profile: str) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
        shop.pages["*"] = page(b"<form>", (b"set-cookie", b"csrftoken=abc"), (b"vary", b"Cookie"), *fresh(profile))
        assert [(await shop.get())["x-made"] for _ in range(2)] == ["1", "2"]
        assert not any(b"abc" in value for value in await shop.stored())


async def test_keeping_cookies_is_for_the_http_profile_alone(redis_url: str) -> None:
    with pytest.raises(ConfigurationError, match="store_cookies"):
        cache("app", store_cookies=True)
    async with shop_at(redis_url, cache("http", store_cookies=True)) as shop:
        shop.pages["*"] = page(b"ok", (b"set-cookie", b"theme=dark"), *fresh("http"))
        assert [(await shop.get()).all("set-cookie") for _ in range(2)] == [["theme=dark"]] * 2
        assert len(shop.made) == 1


async def test_a_websocket_goes_by(redis_url: str) -> None:
    async def socket(scope: Scope, receive: Receive, send: Send) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept", "headers": []})

    async with shop_at(redis_url, cache("app")) as shop:
        shop.pages["*"] = socket
        for _ in range(2):
            assert (await call(shop.stack, websocket_scope("/"))).status == 101
        assert len(shop.made) == 2
