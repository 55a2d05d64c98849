"""`CookieTransport`: the attributes of its cookies, and every fault of its options, told at once."""

from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, RedisManager
from asgi_redis_guard.jwt.routes.app import TokenRoutes
from asgi_redis_guard.jwt.routes.cookie_transport import CookieTransport
from tests.jwt.routes.site import REFRESH, Site
from tests.jwt.services import service

FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"refresh": ""}, "refresh"),
    ({"refresh": "a b"}, "refresh"),
    ({"refresh": "a;b"}, "refresh"),
    ({"path": "/auth"}, "refresh"),
    ({"domain": "example.com"}, "refresh"),
    ({"secure": False}, "refresh"),
    ({"refresh": "__secure-a", "secure": False}, "refresh"),
    ({"refresh": "__HOST-a", "path": "/a"}, "refresh"),
    ({"refresh": "a", "domain": "example.com", "access": "__Host-a"}, "access"),
    ({"refresh": "a", "domain": "example.com", "csrf": True}, "csrf_cookie"),
    ({"access": "__Host-refresh"}, "refresh, access"),
    ({"path": "auth", "refresh": "a"}, "path"),
    ({"path": "/;", "refresh": "a"}, "path"),
    ({"domain": "", "refresh": "a"}, "domain"),
    ({"same_site": "no"}, "same_site"),
    ({"same_site": "none", "secure": False, "refresh": "a"}, "secure"),
    ({"header": "x y"}, "header"),
    ({"origins": ["example.com"]}, "origins"),
]


@pytest.mark.parametrize(("options", "name"), FAULTS)
def test_cookies_that_browsers_would_drop_are_told_at_once(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CookieTransport(**options)
    (fault,) = caught.value.faults
    assert fault.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("options", "attributes"),
    [
        ({}, "Path=/; HttpOnly; SameSite=Strict; Secure"),
        (
            {"refresh": "__Secure-r", "path": "/auth", "same_site": "lax"},
            "Path=/auth; HttpOnly; SameSite=Lax; Secure",
        ),
        ({"refresh": "r", "secure": False, "path": "/auth"}, "Path=/auth; HttpOnly; SameSite=Strict"),
        (
            {"refresh": "__Secure-r", "domain": "example.com", "same_site": "none"},
            "Path=/; Domain=example.com; HttpOnly; SameSite=None; Secure",
        ),
    ],
)
def test_cookies_have_the_attributes_of_their_options_and_their_deletion_repeats_them(
    options: dict[str, Any], attributes: str
) -> None:
    routes = TokenRoutes(service(RedisManager("memory://")), cookie=CookieTransport(**options))
    (deleted,) = routes.cleared_cookies()
    name = options.get("refresh", REFRESH)
    assert deleted == f"{name}=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; {attributes}"


async def test_it_is_said_once_where_a_cookie_never_comes_back_over_plain_http(
    redis: RedisManager, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(redis, {})
    browser = await site.browser()

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        await site.app({**scope, "scheme": "http"}, receive, send)

    browser.app = plain
    assert (await browser.post("/refresh")).status == 200, "browsers take it from localhost"
    token = browser.cookies.pop(REFRESH)
    await browser.post("/refresh", headers={"x-forwarded-proto": "https"})
    await browser.post("/refresh", {"refresh_token": token})
    assert not caplog.records
    for _ in range(2):
        assert (await browser.post("/refresh")).status == 400
    assert [record.levelname for record in caplog.records] == ["WARNING"]
