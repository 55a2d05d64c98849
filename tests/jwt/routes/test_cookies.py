"""Refresh tokens in cookies: what a browser keeps, what a script sees, and what another site gets."""

import asyncio
import json
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.jwt.routes.app import TokenRoutes
from asgi_redis_guard.jwt.routes.cookie_transport import CookieTransport
from tests.jwt.routes.site import ACCESS, EVERYTHING, REFRESH, TOKEN, Site, is_good, shown
from tests.jwt.routes.test_app import error_of
from tests.jwt.routes.visits import Browser, post_json
from tests.jwt.services import Clock, service


async def test_a_login_puts_the_refresh_token_where_no_script_sees_it(redis: RedisManager) -> None:
    site = Site(redis, {})
    response = await Browser(site.app).post("/login", {"user": "alice"})
    assert set(response.json()) == {"access_token", "token_type", "expires_in", "scope"}
    assert site.pair.refresh_token not in response.body.decode()
    assert (response["cache-control"], response["content-type"]) == ("no-store", "application/json")
    (field,) = response.all("set-cookie")
    assert field.startswith(f"{REFRESH}={site.pair.refresh_token}; Max-Age=12095")
    assert field.endswith("; Path=/; HttpOnly; SameSite=Strict; Secure")


async def test_the_access_token_may_be_hidden_as_well_and_a_token_of_the_login_is_told(redis: RedisManager) -> None:
    site = Site(redis, EVERYTHING)
    response = await Browser(site.app).post("/login", {"user": "alice"})
    said = response.json()
    assert set(said) == {"token_type", "expires_in", "scope", "csrf_token"}
    refresh, access, csrf = response.all("set-cookie")
    assert access.startswith(f"{ACCESS}={site.pair.access_token}; Max-Age=")
    assert csrf.startswith(f"{TOKEN}={said['csrf_token']}; Max-Age=12095")
    assert ["HttpOnly" in field for field in (refresh, access, csrf)] == [True, True, False]
    assert site.pair.refresh_token not in response.body.decode()


async def test_other_frameworks_get_the_fields_alone(redis: RedisManager) -> None:
    routes = TokenRoutes(service(redis), cookie=CookieTransport(**EVERYTHING))
    given = routes.cookies(await routes.tokens.issue("alice"))
    assert [field.partition("=")[0] for field in given] == [REFRESH, ACCESS, TOKEN]
    assert all("Max-Age=0;" in field for field in routes.cleared_cookies())
    plain = TokenRoutes(service(redis))
    pair = await plain.tokens.issue("alice")
    assert (plain.cookies(pair), plain.cleared_cookies()) == ([], [])
    assert json.loads(bytes(plain.login(pair).body))["refresh_token"] == pair.refresh_token


@pytest.mark.parametrize("options", [{}, EVERYTHING])
async def test_a_browser_refreshes_again_and_again(redis: RedisManager, options: dict[str, Any]) -> None:
    site = Site(redis, options)
    browser = await site.browser()
    for _ in range(3):
        before = browser.cookies[REFRESH]
        response = await browser.post("/refresh", headers=shown(browser) if options else {})
        assert response.status == 200
        assert "refresh_token" not in response.json()
        assert before != browser.cookies[REFRESH] not in response.body.decode()
        assert response["cache-control"] == "no-store"
    assert await is_good(site, browser)


async def test_tabs_that_refresh_at_once_get_the_same_cookie(redis: RedisManager) -> None:
    site = Site(redis, EVERYTHING)
    browser = await site.browser()
    headers = {"sec-fetch-site": "same-origin", **shown(browser)}
    responses = await asyncio.gather(*(browser.send("/refresh", None, headers) for _ in range(20)))
    assert {response.status for response in responses} == {200}
    given = {response.all("set-cookie")[0].partition(";")[0] for response in responses}
    assert len(given) == 1
    for response in responses:  # whichever is the last to come, and whichever tab's token is used then
        browser.take(response.all("set-cookie"))
        assert (await browser.send("/refresh", None, headers | shown(browser))).status == 200


FOREIGN: list[dict[str, str]] = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "origin": "https://app.example"},
    {"sec-fetch-site": "", "origin": "https://evil.example"},
    {"sec-fetch-site": "", "origin": "null"},
]


@pytest.mark.parametrize("path", ["/refresh", "/logout"])
@pytest.mark.parametrize("headers", FOREIGN)
async def test_another_site_cannot_use_the_cookie_nor_take_it_away(
    redis: RedisManager, path: str, headers: dict[str, str]
) -> None:
    site = Site(redis, EVERYTHING)
    browser = await site.browser()
    for cookies in (browser.cookies.copy(), {}, {REFRESH: "x"}):
        sent = Browser(site.app)
        sent.cookies = cookies
        response = await sent.send(path, None, {**(shown(browser) | headers)})
        if path == "/refresh" and not cookies:
            assert error_of(response) == (400, "invalid_request")
        else:
            assert (response.status, response["content-type"]) == (403, "application/problem+json")
            assert response.json()["title"] == "Forbidden"
        assert response.all("set-cookie") == []
    look = await site.tokens.look(browser.cookies[REFRESH])
    assert look is not None
    assert look.is_good
    assert not (await site.tokens.refresh(browser.cookies[REFRESH])).replayed


async def test_origins_that_are_trusted_may_call_from_elsewhere(redis: RedisManager) -> None:
    site = Site(redis, {"origins": "https://front.example", "same_site": "none"})
    browser = await site.browser()
    headers = {"sec-fetch-site": "cross-site", "origin": "https://front.example"}
    assert (await browser.post("/refresh", headers=headers)).status == 200
    assert (await browser.post("/logout", headers=headers)).status == 204


@pytest.mark.parametrize("path", ["/refresh", "/logout"])
async def test_without_a_token_of_the_login_nothing_happens(redis: RedisManager, path: str) -> None:
    site = Site(redis, EVERYTHING)
    browser, other = await site.browser(), await site.browser()
    wrong = [None, "", "x", "A" * 86, browser.cookies[TOKEN][:-1], browser.cookies[REFRESH], other.cookies[TOKEN]]
    for token in wrong:
        response = await browser.post(path, headers={} if token is None else {"x-csrf-token": token})
        assert (response.status, response["content-type"]) == (403, "application/problem+json")
        assert response.all("set-cookie") == []
    assert not (await site.tokens.refresh(browser.cookies[REFRESH])).replayed


async def test_a_token_of_the_login_stays_good_when_the_keys_are_rotated(redis: RedisManager) -> None:
    old, new = "o" * 32, "n" * 32
    browser = await Site(redis, EVERYTHING, refresh_keys=[old]).browser()
    csrf = shown(browser)
    browser.app = Site(redis, EVERYTHING, refresh_keys=[new, old]).app
    assert (await browser.post("/refresh", headers=csrf)).status == 200
    assert (await browser.post("/refresh", headers=csrf)).status == 200
    browser.app = Site(redis, EVERYTHING, refresh_keys=[new]).app
    assert (await browser.post("/refresh", headers=csrf)).status == 403
    assert (await browser.post("/refresh", headers=shown(browser))).status == 200


async def test_a_token_that_is_refused_for_good_is_taken_out_of_the_browser(redis: RedisManager) -> None:
    site = Site(redis, EVERYTHING)
    browser = await site.browser()
    await site.tokens.revoke_user("alice")
    response = await browser.post("/refresh", headers=shown(browser))
    assert error_of(response) == (400, "invalid_grant")
    assert browser.cookies == {}
    browser.cookies[REFRESH] = "garbage"
    assert error_of(await browser.post("/refresh")) == (400, "invalid_grant")
    assert browser.cookies == {}


async def test_a_scope_that_is_not_granted_logs_nobody_out(redis: RedisManager) -> None:
    site = Site(redis, {}, grace=0)
    browser = await site.browser()
    response = await browser.post("/refresh", {"scope": "admin"})
    assert (error_of(response), response.all("set-cookie")) == ((400, "invalid_scope"), [])
    assert (await browser.post("/refresh", {"scope": "read"})).status == 200


async def test_a_stolen_token_that_is_used_again_ends_the_login_of_thief_and_owner(redis: RedisManager) -> None:
    site = Site(redis, {}, grace=0)
    browser, thief = await site.browser(), Browser(site.app)
    thief.cookies = browser.cookies.copy()
    assert (await thief.post("/refresh")).status == 200
    assert error_of(await browser.post("/refresh")) == (400, "invalid_grant")
    assert error_of(await thief.post("/refresh")) == (400, "invalid_grant")
    assert browser.cookies == thief.cookies == {}


async def test_who_sends_a_token_in_the_body_gets_one_in_the_body(redis: RedisManager) -> None:
    site = Site(redis, EVERYTHING)
    pair = await site.tokens.issue("alice")
    response = await post_json(site.app, "/refresh", {"refresh_token": pair.refresh_token})
    assert (response.status, response.all("set-cookie")) == (200, [])
    assert response.json()["refresh_token"] != pair.refresh_token


async def test_a_cookie_never_becomes_a_token_that_a_script_can_read(redis: RedisManager) -> None:
    site = Site(redis, {})
    browser = await site.browser()
    both = await browser.post("/refresh", {"refresh_token": browser.cookies[REFRESH]})
    assert error_of(both) == (400, "invalid_request")
    for document in ({"grant_type": "refresh_token"}, {"refresh_token": ""}, {}):
        assert "refresh_token" not in (await browser.post("/refresh", document)).json()


async def test_two_different_cookies_of_one_name_are_refused(redis: RedisManager) -> None:
    site = Site(redis, {})
    browser, other = await site.browser(), await site.browser("mallory")
    token, tossed = browser.cookies[REFRESH], other.cookies[REFRESH]
    browser.cookies = {REFRESH: f"{tossed}; {REFRESH}={token}"}
    for path in ("/refresh", "/logout"):
        assert error_of(await browser.post(path)) == (400, "invalid_request")
    browser.cookies = {REFRESH: f"{token}; {REFRESH}={token}"}
    assert (await browser.post("/refresh")).status == 200


async def test_the_cookie_is_not_read_where_oauth_has_no_cookies(redis: RedisManager) -> None:
    site = Site(redis, {})
    browser = await site.browser()
    response = await browser.post("/token", {"grant_type": "refresh_token"})
    assert error_of(response) == (415, "invalid_request")
    assert await is_good(site, browser)


async def test_cookies_for_as_long_as_the_browser_runs_have_no_age(redis: RedisManager) -> None:
    site = Site(redis, {"persistent": False, **EVERYTHING})
    response = await Browser(site.app).post("/login", {"user": "alice"})
    assert not [field for field in response.all("set-cookie") if "Max-Age" in field]


async def test_the_age_of_a_cookie_is_what_is_left_of_its_token(redis: RedisManager) -> None:
    clock = Clock()
    site = Site(redis, {}, clock=clock, lifetime=14 * 86_400)
    pair = await site.tokens.issue("alice")
    clock.ahead = 86_400
    (field,) = site.routes.cookies(pair)
    assert f"Max-Age={13 * 86_400 - 1}" in field or f"Max-Age={13 * 86_400}" in field
    clock.ahead = 20 * 86_400
    (field,) = site.routes.cookies(pair)
    assert "Max-Age=1;" in field
