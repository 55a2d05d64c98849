"""Whose request it is, before and after a lazy session is loaded."""

from typing import Any

import pytest
from starlette.authentication import UnauthenticatedUser
from starlette.requests import Request

from asgi_redis_guard import GuardMiddleware, JWTAuth, SessionNotLoaded
from tests.drive import App, get
from tests.jwt.tokens import NOW, SECRET, sign
from tests.middleware.calls import TestRedis
from tests.sessions.visits import Site


@pytest.fixture
def lazy(memory: TestRedis) -> Site:
    """Lazy sessions in this process, and a note of every round."""
    return Site(memory, lazy=True)


async def visit_as(site: Site, cookie: str, act: Any, *before: Any, **headers: str) -> None:
    """Let `act` have the request."""

    class Inner(App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await act(Request(dict(scope)))  # routers make copies
            await super().__call__(scope, receive, send)

    stack = GuardMiddleware(Inner(), [*before, site.guard], redis=site.redis, clock=lambda: NOW)
    assert (await get(stack, headers={"cookie": f"__Host-session={cookie}", **headers})).status == 200


async def test_nobody_is_told_who_the_user_is_before_it_is_known(lazy: Site) -> None:
    async def act(request: Request) -> None:
        for ask in (
            lambda: request.user.is_authenticated,
            lambda: request.user.identity,
            lambda: request.user.display_name,
            lambda: getattr(request.user, "is_authenticated", False),
            lambda: request.auth.scopes,
        ):
            with pytest.raises(SessionNotLoaded):
                ask()
        assert not isinstance(request.user, UnauthenticatedUser)
        assert repr(request.user) == "<User of a session that was not loaded>"
        assert repr(request.auth) == "<Credentials not loaded>"
        await request.session.load()  # type: ignore[attr-defined]
        seen.append((request.user.is_authenticated, request.user.display_name, request.auth.scopes))

    seen: list[Any] = []
    for cookie in ((await lazy.signed_in(user_id="alice")).cookie, (await lazy.signed_in(a=1)).cookie, "A" * 51):
        assert cookie is not None
        await visit_as(lazy, cookie, act)
    assert seen == [(True, "alice", ["authenticated"]), (False, "", []), (False, "", [])]


async def test_a_verified_token_still_counts_more(lazy: Site) -> None:
    cookie = (await lazy.signed_in(user_id="7")).cookie
    assert cookie is not None
    seen: list[Any] = []

    async def act(request: Request) -> None:
        if "authorization" not in request.headers:
            with pytest.raises(SessionNotLoaded):
                assert request.user.identity
            await request.session.load()  # type: ignore[attr-defined]
        seen.append(request.user.identity)

    jwt = JWTAuth(SECRET, optional=True)
    await visit_as(lazy, cookie, act, jwt, authorization=f"Bearer {sign().decode()}")
    await visit_as(lazy, cookie, act, jwt)
    assert seen == ["alice", "7"]


async def test_without_a_principal_it_says_nothing_of_users(memory: TestRedis) -> None:
    site = Site(memory, lazy=True, principal=())
    inner = App()
    cookie = (await site.signed_in(a=1)).cookie
    stack = GuardMiddleware(inner, [site.guard], redis=memory)
    await get(stack, headers={"cookie": f"__Host-session={cookie}"})
    assert "user" not in inner.scope
