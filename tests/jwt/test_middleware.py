"""`JWTAuthMiddleware`: options or a policy, and the same decisions as the engine's."""

import inspect
from typing import get_type_hints

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_redis_guard import ConfigurationError, JWTAuth, JWTAuthMiddleware
from asgi_redis_guard.jwt.middleware import JWTAuthOptions
from tests.drive import App, get
from tests.jwt.conftest import CountingManager
from tests.jwt.tokens import SECRET, bearer, claims, sign


def fresh() -> dict[str, bytes]:
    return bearer(sign(claims(exp=4e9, iat=None)))


async def test_it_stands_in_a_starlette_app(manager: CountingManager) -> None:
    async def me(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.user.identity)

    app = Starlette(routes=[Route("/me", me)])
    app.add_middleware(JWTAuthMiddleware, key=SECRET, max_lifetime=1e10, redis=manager)
    assert (await get(app, "/me", fresh())).body == b"alice"
    assert (await get(app, "/me")).status == 401


async def test_a_policy_may_be_shared(manager: CountingManager) -> None:
    policy = JWTAuth(SECRET, max_lifetime=1e10)
    for _ in range(2):
        app = JWTAuthMiddleware(App(), guard=policy, redis=manager)
        assert app.guards == (policy,)
        assert (await get(app, headers=fresh())).status == 200


def test_it_takes_every_option_of_the_guard() -> None:
    options = inspect.signature(JWTAuth.__init__).parameters.keys() - {"self"}
    assert get_type_hints(JWTAuthOptions, include_extras=True).keys() == options


def test_faults_are_told_when_it_is_built() -> None:
    with pytest.raises(ConfigurationError, match="none given"):
        JWTAuthMiddleware(App())
    with pytest.raises(TypeError):
        JWTAuthMiddleware(App(), key=SECRET, nonsense=1)  # type: ignore[call-arg]
