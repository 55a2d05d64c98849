"""What would show one client's answer to another, or a secret, or hold up the loop, although nobody meant any harm."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount

from asgi_redis_guard import GuardMiddleware, JWTAuthMiddleware, RedisManager
from asgi_redis_guard.cache.queries import Queries
from asgi_redis_guard.cache.request_key import principal_parts
from asgi_redis_guard.cache.tags import read_hints
from asgi_redis_guard.core.asgi import ASGIApp, Scope
from asgi_redis_guard.errors import PrincipalUnknown
from tests.cache.people import name_of, token
from tests.cache.shops import PROFILES, cache, declared, echo, fresh, header, page, shop_at
from tests.drive import call, http_scope
from tests.jwt.tokens import SECRET
from tests.middleware.calls import settled
from tests.redis.tools import PATIENCE

BOTH = pytest.mark.parametrize("profile", PROFILES)


# Who asks, by what others in front have found out.


@BOTH
@pytest.mark.parametrize(
    "name",
    ["x-forwarded-user", "x-auth-request-email", "remote-user", "cf-access-jwt-assertion", "x-goog-iap-jwt-assertion",
     "x-amzn-oidc-data", "x-ms-client-principal", "x-access-token", "x-forwarded-client-cert"],
)  # fmt: skip
async def test_a_user_that_a_proxy_has_let_in_counts_as_somebody(redis_url: str, profile: str, name: str) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
        shop.pages["*"] = echo(lambda scope: header(scope, name.encode()), *fresh(profile))
        for user in ("alice", "bob", "-"):
            assert (await shop.get("/", {} if user == "-" else {name: user})).body == user.encode()


@BOTH
async def test_a_client_s_certificate_counts_as_somebody(redis_url: str, profile: str) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:

        def of(scope: Scope) -> str:
            return str(scope["extensions"].get("tls", {}).get("client_cert_name", "-"))

        shop.pages["*"] = echo(of, *fresh(profile))
        for user in ("CN=alice", "CN=bob", "-"):
            tls = {} if user == "-" else {"tls": {"client_cert_chain": ["a certificate"], "client_cert_name": user}}
            assert (await shop.get("/", extensions=tls)).body == user.encode()


class Badge:
    """An identity without a text of its own."""


class Holder:
    """A user that is known by such a one."""

    is_authenticated = True
    identity = Badge()


def test_an_identity_without_a_text_of_its_own_stands_for_nobody() -> None:
    """What shows its address may stand where another's stood before."""
    with pytest.raises(PrincipalUnknown):
        principal_parts(Holder(), None)


# Secrets, and what takes long.


def test_options_do_not_show_what_entries_are_signed_with() -> None:
    guard = cache(integrity_key="a secret of many bytes")
    assert "a secret" not in repr(guard.options) + repr(guard) + repr(guard.codec) + repr(vars(guard))


def test_a_query_of_many_parameters_counts_as_it_is() -> None:
    queries = Queries(sort=True, ignore=["utm_*"])
    assert queries.normal(b"b=1&a=2&utm_x=3") == b"a=2&b=1"
    many = b"&".join([b"utm_x", b"b", *[b"a"] * 1000])
    assert queries.normal(many) == many


# Who may write to Redis.


async def test_a_mark_without_end_is_no_mark(backend: str) -> None:
    async with shop_at(backend, cache()) as shop:
        shop.pages["*"] = page()
        await shop.get()
        (key,) = await shop.redis.execute("KEYS", "*r:{*}")
        mark = await shop.redis.execute("GET", key)
        for more in (b"a" * 100_000, b" " + b",".join(b"%d" % number for number in range(20_000))):
            await shop.redis.execute("SET", key, mark + more)
            assert "; hit" not in (await shop.get())["cache-status"]
            assert "; hit" in (await shop.get())["cache-status"]
            assert len(await shop.redis.execute("GET", key)) < 100


def test_hints_are_no_more_tags_than_a_response_may_have() -> None:
    assert len(read_hints(b",".join(b"%d" % number for number in range(200)))) <= 64
    assert read_hints(b"x" * 1025) == ()


# Guards further in.


@BOTH
@pytest.mark.parametrize("between", ["nothing", "cors", "mount"])
async def test_a_user_whom_a_stack_further_in_knows_counts_as_somebody(
    redis_url: str, profile: str, between: str
) -> None:
    """It is warned about where it can be seen; an app that is mounted cannot."""
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        inner: ASGIApp = JWTAuthMiddleware(
            echo(lambda scope: name_of(scope).decode(), *fresh(profile)),
            key=SECRET, algorithms=["HS256"], cookie="t", optional=True, redis=redis,
        )  # fmt: skip
        if between == "cors":
            inner = CORSMiddleware(inner, allow_origins=["*"])
        elif between == "mount":
            inner = Starlette(routes=[Mount("/", inner)])
        app = GuardMiddleware(lambda scope, receive, send: inner(scope, receive, send), [cache(profile)], redis=redis)
        for user in ("alice", "bob", "-"):
            cookie = token(user)["authorization"].removeprefix("Bearer ").encode()
            fields = [(b"host", b"test"), *([(b"cookie", b"t=" + cookie)] if user != "-" else [])]
            response = await call(app, http_scope("/", fields))
            await settled(redis)
            assert user.encode() in response.body


@BOTH
async def test_a_dot_behind_a_host_is_another_host(redis_url: str, profile: str) -> None:
    """Browsers send other cookies there, and apps build links of it."""
    async with shop_at(redis_url, cache(profile, hosts=["shop.example"])) as shop:
        shop.pages["*"] = echo(lambda scope: header(scope, b"host"), *fresh(profile))
        for host in ("shop.example.", "shop.example", "shop.example.:80"):
            response = await shop.get("/", {"host": host})
            assert response.body.rstrip(b":80").endswith(b".") == ("e." in host)


class Detached:
    """A user whose database is away."""

    is_authenticated = True

    @property
    def identity(self) -> str:
        raise RuntimeError("the database is away")


@pytest.mark.parametrize("policy", [{}, {"user_aware": True, "tags": ["user:{user}"]}, {"public": True}])
async def test_a_user_who_cannot_be_told_is_served_and_not_kept(redis_url: str, policy: dict[str, Any]) -> None:
    async with shop_at(redis_url, cache(ttl=None)) as shop:
        shop.pages["*"] = declared(page(), **policy)
        for _ in range(2):
            assert (await shop.get("/", user=Detached())).status == 200
        assert (await shop.get("/", method="POST", user=Detached())).status == 200
        assert len(await shop.stored()) == ("public" in policy)
