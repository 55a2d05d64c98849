"""Under a policy for everybody nothing is kept that was the answer to somebody, whoever knows who that is."""

from typing import Any

import pytest
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection

from asgi_redis_guard import Admission, Pass
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.guard import Guard
from tests.cache.people import jwt, late, me, name_of, token, told
from tests.cache.shops import PROFILES, cache, declared, echo, fresh, outcomes, page, shop_at

pytestmark = pytest.mark.usefixtures("warnings")

BOTH = pytest.mark.parametrize("profile", PROFILES)


class ByCookie(AuthenticationBackend):
    """Knows people by a cookie that no guard has heard of."""

    async def authenticate(self, conn: HTTPConnection) -> Any:
        name = conn.cookies.get("who")
        return None if name is None else (AuthCredentials(["authenticated"]), SimpleUser(name))


class Badge(Guard):
    """A guard of the app's own in front; its users are plain texts, as some apps have them."""

    kind = "badge"
    provides = frozenset(("user",))

    def admit(self, exchange: Exchange) -> Admission:
        name = exchange.header(b"x-badge")
        return Pass({"user": name.decode()} if name else None)
        yield


@BOTH
async def test_a_verified_user_s_answer_is_served_and_not_kept(backend: str, profile: str) -> None:
    async with shop_at(backend, jwt(), cache(profile)) as shop:
        shop.pages["*"] = echo(name_of, *fresh(profile))
        for name in ("alice", "bob", "alice"):
            assert (await shop.get("/me", token(name))).body == repr(name.encode()).encode()
        assert await shop.stored() == []
        assert len(shop.made) == 3


async def test_a_token_in_a_cookie_counts_as_well(redis_url: str) -> None:
    async with shop_at(redis_url, jwt(cookie="token"), cache()) as shop:
        shop.pages["*"] = me
        for name in ("alice", "bob"):
            given = {"cookie": "token=" + token(name)["authorization"].removeprefix("Bearer ")}
            assert (await shop.get("/me", given)).body == b"name:" + name.encode()
        assert await shop.stored() == []


@BOTH
async def test_a_user_that_only_the_app_knows_counts_as_well(backend: str, profile: str) -> None:
    inner = lambda app: AuthenticationMiddleware(app, backend=ByCookie())  # noqa: E731
    async with shop_at(backend, cache(profile), wrap=inner) as shop:

        async def who(scope: Scope, receive: Receive, send: Send) -> None:
            user = scope["user"]
            name = user.display_name if user.is_authenticated else "-"
            await page(name.encode(), *fresh(profile))(scope, receive, send)

        shop.pages["*"] = who
        for name in ("alice", "bob"):
            assert (await shop.get("/", {"cookie": f"who={name}"})).body == name.encode()
        assert await shop.stored() == []
        assert [(await shop.get()).body for _ in range(2)] == [b"-", b"-"]
        assert len(await shop.stored()) == 1, "nobody's is kept"


@BOTH
async def test_a_user_of_a_guard_of_the_app_s_own_counts_as_well(redis_url: str, profile: str) -> None:
    async with shop_at(redis_url, Badge(), cache(profile)) as shop:
        shop.pages["*"] = echo(lambda scope: scope["headers"], *fresh(profile))
        for name in ("alice", "bob"):
            assert name.encode() in (await shop.get("/", {"x-badge": name})).body
        assert await shop.stored() == []


async def test_what_says_that_it_is_public_is_kept_for_all(backend: str) -> None:
    async with shop_at(backend, jwt(), cache(ttl=None)) as shop:
        shop.pages["/declared"] = declared(page(b"prices"), public=True)
        shop.pages["/said"] = declared(page(b"prices", (b"cache-control", b"public, max-age=5")))
        for path in ("/declared", "/said"):
            responses = [await shop.get(path, token(name)) for name in ("alice", "bob")]
            assert outcomes(responses) == ["fwd=uri-miss", "hit"], path
        assert len(shop.made) == 2


async def test_what_says_in_the_http_profile_that_all_may_have_it_is_kept_for_all(backend: str) -> None:
    """RFC 9111 §3.5: for Authorization these three say so; to what else knows somebody, only `public` does."""
    async with shop_at(backend, cache("http")) as shop:
        for value in (b"public, max-age=60", b"s-maxage=60", b"must-revalidate, max-age=60"):
            path = "/" + value.decode().partition("=")[0].partition(",")[0]
            shop.pages[path] = page(b"prices", (b"cache-control", value))
            responses = [await shop.get(path, token(name)) for name in ("alice", "bob")]
            assert outcomes(responses) == ["fwd=uri-miss", "hit"], path


@pytest.mark.parametrize("value", [b"s-maxage=60", b"must-revalidate, max-age=60"])
async def test_a_known_user_s_answer_is_not_for_all_because_it_may_be_shared(redis_url: str, value: bytes) -> None:
    async with shop_at(redis_url, jwt(), cache("http")) as shop:
        shop.pages["*"] = echo(name_of, (b"cache-control", value))
        for name in ("alice", "bob"):
            assert (await shop.get("/", token(name))).body == repr(name.encode()).encode()
        assert await shop.stored() == []


async def test_it_is_warned_once_for_each_route(redis_url: str, warnings: pytest.LogCaptureFixture) -> None:
    def route(path: str) -> Any:
        async def shown(scope: Scope, receive: Receive, send: Send) -> None:
            await me(scope, receive, send)

        shown.__qualname__ = path.strip("/")
        return declared(shown)

    async with shop_at(redis_url, jwt(), cache(ttl=None)) as shop:
        for path in ("/one", "/two"):
            shop.pages[path] = route(path)
        for path in ("/one", "/two"):
            for name in ("alice", "bob", "alice"):
                await shop.get(path, token(name))
    assert len(told(warnings)) == 2
    for name, text in zip(("one", "two"), told(warnings), strict=True):
        assert f"test_personal.{name}:" in text
        assert "public=True or user_aware=True" in text
        assert text.endswith('see README, "Warnings"')


async def test_credentials_without_a_guard_are_warned_about_too(
    redis_url: str, warnings: pytest.LogCaptureFixture
) -> None:
    async with shop_at(redis_url, cache()) as shop:
        shop.pages["*"] = page()
        for _ in range(2):
            await shop.get("/", {"x-api-key": "1"})
    (text,) = told(warnings)
    assert "a request with credentials" in text


async def test_an_exempt_path_is_none_of_the_cache_s_business(redis_url: str) -> None:
    async with shop_at(redis_url, cache(exempt=["/admin/*"])) as shop:
        shop.pages["*"] = page()
        assert [(await shop.get("/admin/users"))["x-made"] for _ in range(2)] == ["1", "2"]
        assert not (await shop.get("/admin/users")).all("cache-status")
        assert await shop.stored() == []
        assert outcomes([await shop.get("/"), await shop.get("/")]) == ["fwd=uri-miss", "hit"]


@pytest.mark.parametrize("user_aware", [False, True])
async def test_a_user_who_turns_up_after_the_head_counts_as_well(
    redis_url: str, warnings: pytest.LogCaptureFixture, user_aware: bool
) -> None:
    class Account:
        is_authenticated = True

    async def signing_in(scope: Scope, receive: Receive, send: Send) -> None:
        scope["user"] = Account()
        await page(b"for one")(scope, receive, send)

    async with shop_at(redis_url, cache()) as shop:
        shop.pages["*"] = declared(late(signing_in), user_aware=user_aware)
        assert [(await shop.get()).body for _ in range(2)] == [b"first for one"] * 2
        assert len(shop.made) == 2
        assert await shop.stored() == []
    assert len(told(warnings)) == 1
