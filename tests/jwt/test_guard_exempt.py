"""Who needs no token: exempt paths and preflights, and nobody by way of a strange path."""

import pytest

from tests.drive import App, get, handshake
from tests.jwt.conftest import CountingManager, Guarded
from tests.jwt.tokens import bearer, sign

EXEMPT = ["/health", "/static/*", "/users/*/avatar"]


@pytest.mark.parametrize("path", ["/health", "/static/a", "/static/a/b.css", "/users/7/avatar"])
async def test_an_exempt_path_needs_no_token_and_no_redis(
    guarded: Guarded, inner: App, manager: CountingManager, path: str
) -> None:
    app = guarded(exempt=EXEMPT)
    for headers in ({}, bearer(b"garbage"), bearer(sign())):
        assert (await get(app, path, headers)).status == 200
        assert not inner.scope["user"].is_authenticated
    assert manager.round_trips == 0


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/healthz",
            "/health/",
            "/health/x",
            "/HEALTH",
            "//health",
            "/x/../health",
            "/./health",
            "/health/..",
            "/health/.",
        ),
        *(
            "/health\x00",
            "/health?x",
            "/health;x",
            "/health%20",
            "health",
            "",
            "/",
            "\\health",
            "/\\health",
            "/health\\",
        ),
        *("/static", "/static/", "/static//a", "/static/../admin", "/static/a/../../admin", "/static/..", "/static/."),
        *("/static/./a", "/static/a/", "/static/..\\admin", "/static\\a", "/statics/a", "/Static/a", "//static/a"),
        *(
            "/users//avatar",
            "/users/../avatar",
            "/users/7/avatar/",
            "/users/7/8/avatar",
            "/users/avatar",
            "/users/7/avatars",
        ),
    ],
)
async def test_no_other_path_is_exempt(guarded: Guarded, inner: App, path: str) -> None:
    assert (await get(guarded(exempt=EXEMPT), path)).status == 401
    assert not inner.scopes


async def test_a_percent_sign_that_is_left_after_decoding_is_no_dot(guarded: Guarded, inner: App) -> None:
    """The server has decoded the path once; the app does not do it again."""
    app = guarded(exempt=EXEMPT)
    assert (await get(app, "/static/../admin", raw_path=b"/static/%2e%2e/admin")).status == 401
    assert (await get(app, "/static/../admin", raw_path=b"/static%2F..%2Fadmin")).status == 401
    assert (await get(app, "/static/%2e%2e/admin", raw_path=b"/static/%252e%252e/admin")).status == 200
    assert inner.scope["path"] == "/static/%2e%2e/admin"


async def test_patterns_are_below_the_root_path(guarded: Guarded, inner: App) -> None:
    app = guarded(exempt=["/health"])
    assert (await get(app, "/api/health", root_path="/api")).status == 200
    assert (await get(app, "/health", root_path="/api")).status == 200
    assert (await get(app, "/api/health")).status == 401
    assert (await get(app, "/apihealth", root_path="/api")).status == 401
    assert (await get(app, "/api/api/health", root_path="/api")).status == 401
    assert (await get(app, "/api/x/health", root_path="/api")).status == 401


async def test_a_preflight_needs_no_token(guarded: Guarded, inner: App, manager: CountingManager) -> None:
    preflight = {"origin": "https://a.example", "access-control-request-method": "PUT"}
    assert (await get(guarded(), "/any", preflight, method="OPTIONS")).status == 200
    assert not inner.scope["user"].is_authenticated
    assert manager.round_trips == 0
    assert (await get(guarded(exempt_preflight=False), "/any", preflight, method="OPTIONS")).status == 401


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "options", "OPTION"])
async def test_nothing_else_becomes_a_preflight_by_its_headers(guarded: Guarded, method: str) -> None:
    preflight = {"origin": "https://a.example", "access-control-request-method": "PUT"}
    assert (await get(guarded(), "/any", preflight, method=method)).status == 401


@pytest.mark.parametrize("left_out", ["origin", "access-control-request-method"])
async def test_options_without_both_headers_is_no_preflight(guarded: Guarded, left_out: str) -> None:
    preflight = {"origin": "https://a.example", "access-control-request-method": "PUT"}
    del preflight[left_out]
    assert (await get(guarded(), "/any", preflight, method="OPTIONS")).status == 401


async def test_a_websocket_handshake_is_no_preflight_and_has_exempt_paths_too(guarded: Guarded) -> None:
    preflight = {"origin": "https://a.example", "access-control-request-method": "PUT"}
    app = guarded(exempt=["/open"])
    assert (await handshake(app, "/x", preflight)).status == 401
    assert (await handshake(app, "/open")).status == 101
