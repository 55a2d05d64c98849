"""`JWTAuth` in front of an app: who gets through, and what everybody else is told (RFC 6750)."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asgi_redis_guard import PASS, Admission, Exchange, Guard, GuardMiddleware, JWTAuth, RateLimit, VerifiedUser
from asgi_redis_guard.errors import ConfigurationError
from tests.drive import App, get
from tests.jwt.conftest import CountingManager, Guarded
from tests.jwt.tokens import NOW, SECRET, bearer, sign


async def test_a_verified_token_gets_through_at_one_round_trip(
    guarded: Guarded, inner: App, manager: CountingManager
) -> None:
    response = await get(guarded(), headers=bearer(sign(name="Alice A.", scope="read write", role="x")))
    assert (response.status, response.body) == (200, b"ok")
    assert manager.round_trips == 1
    user = inner.scope["user"]
    assert isinstance(user, VerifiedUser)
    assert (user.is_authenticated, user.identity, user.display_name) == (True, "alice", "Alice A.")
    assert user.claims["role"] == "x"
    assert user.scopes == ("read", "write")
    assert inner.scope["auth"].scopes == ["read", "write"]


@pytest.mark.parametrize("scheme", [b"Bearer ", b"bearer ", b"BEARER ", b"bEaReR   ", b"  Bearer "])
async def test_the_scheme_is_known_in_any_case(guarded: Guarded, scheme: bytes) -> None:
    assert (await get(guarded(), headers={"authorization": scheme + sign() + b"  "})).status == 200


async def test_another_scheme_beside_the_token_does_no_harm(guarded: Guarded) -> None:
    both = [(b"authorization", b"Basic YTpi"), (b"authorization", b"Bearer " + sign())]
    assert (await get(guarded(), headers=both)).status == 200


async def test_a_token_without_the_scopes_leaves_no_trace_of_the_guards_behind(manager: CountingManager) -> None:
    def stack(scopes: Any) -> GuardMiddleware:
        guards = [JWTAuth(SECRET, scopes=scopes), RateLimit("2/hour", key="user")]
        return GuardMiddleware(App(), guards, redis=manager, clock=lambda: NOW)

    for _ in range(5):
        assert (await get(stack("admin"), headers=bearer(sign()))).status == 403
    assert [(await get(stack(()), headers=bearer(sign()))).status for _ in range(3)] == [200, 200, 429]


async def test_starlettes_requires_works(guarded: Guarded) -> None:
    @requires("write")
    async def write(request: Request) -> JSONResponse:
        return JSONResponse([request.user.identity, request.user.display_name, request.auth.scopes])

    @requires("authenticated", status_code=401)
    async def anybody(request: Request) -> JSONResponse:
        return JSONResponse(request.user.is_authenticated)

    app = guarded(Starlette(routes=[Route("/write", write), Route("/any", anybody)]), optional=True)
    assert (await get(app, "/write", bearer(sign(scope="write")))).json() == ["alice", "alice", ["write"]]
    assert (await get(app, "/write", bearer(sign(scope="read")))).status == 403
    assert (await get(app, "/write")).status == 403
    assert (await get(app, "/any")).status == 401
    authenticated = await get(app, "/any", bearer(sign(scope="authenticated")))
    assert authenticated.json() is True


async def test_optional_lets_nobody_through_and_refuses_bad_tokens(
    guarded: Guarded, inner: App, manager: CountingManager
) -> None:
    app = guarded(optional=True)
    assert (await get(app)).status == 200
    assert inner.scope["user"].is_authenticated is False
    assert inner.scope["auth"].scopes == []
    assert manager.round_trips == 0
    assert (await get(app, headers=bearer(sign(which=1)))).status == 401
    assert (await get(app, headers=bearer(sign()))).status == 200
    assert inner.scope["user"].identity == "alice"


async def test_nobody_is_somebody_new_each_time(guarded: Guarded, inner: App) -> None:
    app = guarded(optional=True)
    await get(app)
    inner.scope["auth"].scopes.append("admin")
    inner.scope["user"].name = "root"
    await get(app)
    assert inner.scope["auth"].scopes == []
    assert not hasattr(inner.scope["user"], "name")


async def test_scopes_of_one_request_are_not_those_of_the_next(guarded: Guarded, inner: App) -> None:
    app, headers = guarded(), bearer(sign(scope="read", roles=["a"]))
    await get(app, headers=headers)
    inner.scope["auth"].scopes.append("admin")
    inner.scope["user"].claims["roles"].append("admin")
    await get(app, headers=headers)
    assert inner.scope["auth"].scopes == ["read"]
    assert inner.scope["user"].claims["roles"] == ["a"]


async def test_a_user_that_an_outer_middleware_has_found_stays_where_no_token_is_needed(
    guarded: Guarded, inner: App
) -> None:
    await get(guarded(exempt=["/open"]), "/open", user="somebody", auth="something")
    assert (inner.scope["user"], inner.scope["auth"]) == ("somebody", "something")


async def test_the_scope_of_the_server_is_not_changed(guarded: Guarded, inner: App) -> None:
    from tests.drive import call, http_scope

    scope = http_scope("/", bearer(sign()))
    before = {**scope, "headers": list(scope["headers"])}
    await call(guarded(), scope)
    assert scope == before
    assert "user" in inner.scope


def test_all_options_that_cannot_work_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        JWTAuth(SECRET, leeway=601, without_jti="keep", on_outage="maybe", max_size=100, realm='"')  # type: ignore[arg-type]
    assert [fault.partition(" ")[0].strip(":") for fault in caught.value.faults] == [
        "leeway",
        "without_jti",
        "max_size",
        "realm",
        "on_outage",
    ]
    with pytest.raises(ConfigurationError):
        JWTAuth(SECRET, leeway=-0.1)
    with pytest.raises(ConfigurationError):
        JWTAuth(SECRET, leeway=float("nan"))


async def test_a_token_without_jti_can_be_refused(guarded: Guarded, manager: CountingManager) -> None:
    app = guarded(without_jti="refuse")
    for token in (sign(jti=None), sign(jti="")):
        assert "lacks a required claim" in (await get(app, headers=bearer(token)))["www-authenticate"]
    assert manager.round_trips == 0
    assert (await get(app, headers=bearer(sign()))).status == 200
    assert (await get(guarded(without_jti="refuse", revocation=False), headers=bearer(sign(jti=None)))).status == 200


async def test_without_revocation_nothing_is_asked(guarded: Guarded, manager: CountingManager) -> None:
    assert (await get(guarded(revocation=False), headers=bearer(sign()))).status == 200
    assert manager.round_trips == 0


def test_the_repr_tells_the_algorithms_and_no_secret() -> None:
    assert repr(JWTAuth(SECRET, algorithms=["HS256", "HS384"], name="api")) == "<JWTAuth api: HS256, HS384>"


async def test_what_is_shared_by_requests_with_one_token_cannot_be_changed_by_a_guard_behind(
    manager: CountingManager, inner: App
) -> None:
    class Tenant(Guard):
        def admit(self, exchange: Exchange) -> Admission:
            exchange.facts["tenant"] = "a"  # type: ignore[index]
            return PASS
            yield

    app = GuardMiddleware(inner, [JWTAuth(SECRET), Tenant()], redis=manager, clock=lambda: NOW)
    with pytest.raises(TypeError):
        await get(app, headers=bearer(sign()))


async def test_a_limit_by_user_behind_an_optional_token_counts_addresses_without_a_warning(
    manager: CountingManager, inner: App, caplog: pytest.LogCaptureFixture
) -> None:
    guards = [JWTAuth(SECRET, optional=True), RateLimit("10/minute", key="user")]
    app = GuardMiddleware(inner, guards, redis=manager, clock=lambda: NOW)
    assert (await get(app)).status == 200
    assert caplog.records == []
