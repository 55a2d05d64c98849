"""`user_aware`: one answer for each verified user, by who that is and may do, not by what he shows for it."""

from collections.abc import Callable
from typing import Any

import pytest
from starlette.authentication import SimpleUser as Named

from asgi_redis_guard import Admission, Exchange, Guard, Pass, RedisManager, Sessions
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from tests.cache.people import Browser, jwt, late, me, name_of, token, told
from tests.cache.shops import Shop, cache, declared, echo, outcomes, page, shop_at

pytestmark = pytest.mark.usefixtures("warnings")

mine = declared(me, user_aware=True)


async def test_each_user_has_his_own(backend: str) -> None:
    async with shop_at(backend, jwt(), cache(ttl=None)) as shop:
        shop.pages["*"] = mine
        for _ in range(3):
            for name in ("alice", "bob"):
                assert (await shop.get("/", token(name))).body == b"name:" + name.encode()
        assert len(shop.made) == 2
        assert len(await shop.stored()) == 2


async def test_a_user_with_two_tokens_is_one(backend: str) -> None:
    async with shop_at(backend, jwt(), cache(ttl=None)) as shop:
        shop.pages["*"] = mine
        responses = [await shop.get("/", token("alice", jti)) for jti in ("1", "2", "3")]
        assert outcomes(responses) == ["fwd=uri-miss", "hit", "hit"]


async def test_another_process_knows_whose_is_whose(backend: str) -> None:
    async with RedisManager(backend) as redis:
        one, other = (Shop(redis, jwt(), cache(ttl=None)) for _ in range(2))
        one.pages["*"] = other.pages["*"] = mine
        for name in ("alice", "bob"):
            await one.get("/", token(name))
        for name in ("bob", "alice"):
            response = await other.get("/", token(name, "2"))
            assert (response.body, outcomes([response])) == (b"name:" + name.encode(), ["hit"])


async def test_scopes_that_differ_keep_answers_apart_and_their_order_does_not(redis_url: str) -> None:
    async with shop_at(redis_url, jwt(), cache(ttl=None)) as shop:
        shop.pages["*"] = declared(echo(lambda scope: sorted(scope["auth"].scopes)), user_aware=True)
        given = [("read", "write"), ("read",), (), ("write", "read")]
        responses = [await shop.get("/", token("alice", scopes=scopes)) for scopes in given]
        assert [one["x-made"] for one in responses] == ["1", "2", "3", "1"]


async def test_nobody_is_one_as_well(backend: str) -> None:
    async with shop_at(backend, jwt(optional=True), cache(ttl=None)) as shop:
        shop.pages["*"] = mine
        for _ in range(3):
            for given, name in (({}, b"-"), (token("alice"), b"alice")):
                assert (await shop.get("/", given)).body == b"name:" + name
        assert len(shop.made) == 2


async def test_a_bad_token_gets_nothing_that_is_stored(redis_url: str) -> None:
    async with shop_at(redis_url, jwt(optional=True), cache(ttl=None)) as shop:
        shop.pages["*"] = mine
        await shop.get("/")
        await shop.get("/", token("alice"))
        for bad in ("Bearer nonsense", token("alice", exp=1.0)["authorization"]):
            assert (await shop.get("/", {"authorization": bad})).status == 401
        assert len(shop.made) == 2


async def test_credentials_that_no_guard_has_verified_get_no_one_else_s_answer(
    redis_url: str, warnings: pytest.LogCaptureFixture
) -> None:
    """The app may know who that is, and what is kept for nobody is not for him."""
    async with shop_at(redis_url, cache(ttl=None)) as shop:

        async def by_key(scope: Scope, receive: Receive, send: Send) -> None:
            keys = [value for name, value in scope["headers"] if name == b"x-api-key"]
            await page(b"key:" + b"".join(keys))(scope, receive, send)

        shop.pages["*"] = declared(by_key, user_aware=True)
        for key in ("", "alice", "bob", "alice", ""):
            given = {"x-api-key": key} if key else {}
            assert (await shop.get("/", given)).body == b"key:" + key.encode()
        assert shop.made == ["/"] * 4
        (entry,) = await shop.stored()
        assert b"alice" not in entry
    for text in told(warnings):
        assert "JWTAuth or Sessions" in text


async def test_a_user_without_a_name_is_served_and_nothing_is_kept(redis_url: str) -> None:
    async with shop_at(redis_url, jwt(), cache(ttl=None)) as shop:
        shop.pages["*"] = declared(page(b"ok"), user_aware=True)
        for _ in range(2):
            assert (await shop.get("/", token("alice"))).status == 200
            assert (await shop.get("/", token(None))).status == 200
        assert len(shop.made) == 3
        assert len(await shop.stored()) == 1


class Badge(Guard):
    """A guard of the app's own; its users are what `make` makes."""

    kind = "badge"
    provides = frozenset(("user",))

    def __init__(self, make: Callable[[str], Any]) -> None:
        self.make = make

    def admit(self, exchange: Exchange) -> Admission:
        name = exchange.header(b"x-badge")
        return Pass({"user": self.make(name.decode())} if name else None)
        yield


class Plain:
    """A user as apps have them that know neither Starlette nor us."""

    def __init__(self, name: str) -> None:
        self.name = name


class Principal(Named):
    """A user as Starlette has them, with an identity."""

    @property
    def identity(self) -> str:
        return self.username


@pytest.mark.parametrize("make", [str, Plain])
async def test_a_user_that_does_not_say_who_he_is_shares_nothing(redis_url: str, make: Callable[[str], Any]) -> None:
    async with shop_at(redis_url, Badge(make), cache(ttl=None)) as shop:
        shop.pages["*"] = declared(echo(lambda scope: scope["headers"]), user_aware=True)
        for name in ("alice", "bob", "alice"):
            assert name.encode() in (await shop.get("/", {"x-badge": name})).body
        assert await shop.stored() == []


async def test_a_user_whom_only_a_guard_behind_the_cache_knows_shares_nothing(redis_url: str) -> None:
    """When it is looked up nobody knows him, when it is kept somebody does."""
    async with shop_at(redis_url, cache(ttl=None), Badge(Principal)) as shop:
        shop.pages["*"] = declared(echo(lambda scope: scope["headers"]), user_aware=True)
        for name in ("alice", "bob", "carol"):
            assert name.encode() in (await shop.get("/", {"x-badge": name})).body


async def test_a_session_s_user_has_his_own(backend: str) -> None:
    async with shop_at(backend, Sessions(), cache(ttl=None)) as shop:
        shop.pages["*"] = mine
        shop.pages["/login"] = _login
        alice, bob, nobody = Browser(shop), Browser(shop), Browser(shop)
        for browser, name in ((alice, "alice"), (bob, "bob")):
            await browser.get(f"/login?{name}")
        for _ in range(3):
            got = [await browser.get("/me") for browser in (alice, bob, nobody)]
            assert got == [b"name:alice", b"name:bob", b"name:-"]
        assert shop.made.count("/me") == 3


async def test_a_session_s_user_behind_an_optional_token_is_not_nobody(backend: str) -> None:
    """The token's guard says "nobody" before Redis has told whose session it is."""
    async with shop_at(backend, jwt(optional=True), Sessions(), cache(ttl=None)) as shop:
        shop.pages["*"] = mine
        shop.pages["/login"] = _login
        alice, nobody = Browser(shop), Browser(shop)
        await alice.get("/login?alice")
        for _ in range(3):
            got = [await browser.get("/me") for browser in (nobody, alice)]
            assert got == [b"name:-", b"name:alice"]
        assert (await shop.get("/me", token("carol"))).body == b"name:carol"
        assert shop.made.count("/me") == 3


async def test_a_lazy_session_s_user_is_served_and_nothing_is_kept_for_others(redis_url: str) -> None:
    async with shop_at(redis_url, Sessions(lazy=True), cache(ttl=None)) as shop:

        async def mine_late(scope: Scope, receive: Receive, send: Send) -> None:
            await scope["session"].load()
            await me(scope, receive, send)

        shop.pages["*"] = declared(mine_late, user_aware=True)
        shop.pages["/login"] = _login
        alice, bob, nobody = Browser(shop), Browser(shop), Browser(shop)
        for browser, name in ((alice, "alice"), (bob, "bob")):
            await browser.get(f"/login?{name}")
        for _ in range(2):
            got = [await browser.get("/me") for browser in (alice, bob, nobody, alice)]
            assert got == [b"name:alice", b"name:bob", b"name:-", b"name:alice"]
        for value in await shop.stored():
            assert b"alice" not in value
            assert b"bob" not in value


async def test_a_cart_of_nobody_s_session_is_not_for_everybody(redis_url: str) -> None:
    """Also where it is read after the head: a session without a user is somebody's all the same."""

    async def cart(scope: Scope, receive: Receive, send: Send) -> None:
        await page(str(scope["session"].get("cart")).encode())(scope, receive, send)

    async def fill(scope: Scope, receive: Receive, send: Send) -> None:
        scope["session"]["cart"] = scope["query_string"].decode()
        await page()(scope, receive, send)

    async with shop_at(redis_url, Sessions(), cache(ttl=None)) as shop:
        shop.pages["/fill"] = fill
        shop.pages["/cart"] = declared(cart, user_aware=True)
        shop.pages["/late"] = declared(late(cart), user_aware=True)
        browsers = {name: Browser(shop) for name in ("shoes", "books")}
        for name, browser in browsers.items():
            await browser.get(f"/fill?{name}")
        for path in ("/cart", "/late"):
            for name, browser in browsers.items():
                assert (await browser.get(path)).removeprefix(b"first ") == name.encode()
        assert not any(b"shoes" in value or b"books" in value for value in await shop.stored())


async def test_the_outside_is_told_that_it_is_private(redis_url: str) -> None:
    said = [
        (b"cache-control", b"public, max-age=60"),
        (b"cdn-cache-control", b"max-age=600"),
        (b"surrogate-control", b"max-age=600"),
        (b"expires", b"Fri, 01 Jan 2100 00:00:00 GMT"),
    ]
    async with shop_at(redis_url, jwt(), cache(ttl=None)) as shop:
        shop.pages["/plain"] = mine
        shop.pages["/kept"] = declared(me, user_aware=True, client_ttl=60)
        shop.pages["/said"] = declared(page(b"ok", *said[1:]), user_aware=True)
        shop.pages["/age"] = declared(page(b"ok", (b"cache-control", b"max-age=60")), user_aware=True)
        shop.pages["/gone"] = declared(page(b"no", status=404), user_aware=True)
        for path in ("/plain", "/kept", "/said", "/age", "/gone"):
            for _ in range(2):
                response = await shop.get(path, token("alice"))
                assert response["cache-control"].startswith("private, "), path
                assert not response.all("cdn-cache-control")
                assert not response.all("surrogate-control")


async def test_a_route_that_says_public_itself_is_not_taken_at_its_word_where_it_is_each_user_s(
    redis_url: str,
) -> None:
    async with shop_at(redis_url, jwt(), cache(ttl=None)) as shop:
        shop.pages["*"] = declared(echo(name_of, (b"cache-control", b"public, max-age=60")), user_aware=True)
        for name in ("alice", "bob"):
            response = await shop.get("/", token(name))
            assert name.encode() in response.body
            assert "public" not in response["cache-control"]


async def _login(scope: Scope, receive: Receive, send: Send) -> None:
    await scope["session"].load()
    scope["session"]["user_id"] = scope["query_string"].decode()
    await page()(scope, receive, send)
