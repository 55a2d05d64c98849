"""Logging out at the routes: of one login or of all, by whichever token a client has."""

from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.errors import TokenRevoked
from asgi_redis_guard.jwt.routes.app import TokenRoutes
from asgi_redis_guard.jwt.routes.logout import Logout
from tests.jwt.routes.site import ACCESS, EVERYTHING, REFRESH, Site, is_good, shown
from tests.jwt.routes.test_app import error_of
from tests.jwt.routes.visits import Browser, bearer, post, post_json
from tests.jwt.services import Clock, service


async def test_logging_out_ends_the_login_and_takes_the_cookies_away(redis: RedisManager) -> None:
    site = Site(redis, EVERYTHING)
    browser, elsewhere = await site.browser(), await site.browser()
    kept, access = browser.cookies.copy(), browser.cookies[ACCESS]
    response = await browser.post("/logout", headers=shown(browser))
    assert (response.status, response.body, browser.cookies) == (204, b"", {})
    assert response["cache-control"] == "no-store"
    with pytest.raises(TokenRevoked):
        await site.tokens.verify(access)
    again = Browser(site.app)
    again.cookies = kept
    assert (await again.post("/logout", headers=shown(again))).status == 204
    assert (await Browser(site.app).post("/logout")).status == 204
    assert await is_good(site, elsewhere)


async def test_everywhere_means_all_logins_of_the_user_and_nobody_else_s(redis: RedisManager) -> None:
    site = Site(redis, EVERYTHING)
    browser, elsewhere, bob = [await site.browser(user) for user in ("alice", "alice", "bob")]
    kept = browser.cookies.copy()
    assert (await browser.post("/logout", {"everywhere": True}, shown(browser))).status == 204
    assert browser.cookies == {}
    assert [await is_good(site, one) for one in (elsewhere, bob)] == [False, True]
    later = await site.browser()
    again = Browser(site.app)
    again.cookies = kept
    assert (await again.post("/logout", {"everywhere": True}, shown(again))).status == 204, "it is so already"
    assert await is_good(site, later), "what came after it was not meant"


async def test_everywhere_is_not_said_to_be_done_for_a_login_that_is_over(redis: RedisManager) -> None:
    site = Site(redis, {})
    browser, elsewhere = await site.browser(), await site.browser()
    await site.tokens.revoke_family(site.tokens.refresh_keys.read(browser.cookies[REFRESH]).family.decode())  # type: ignore[union-attr]
    response = await browser.post("/logout", {"everywhere": True})
    assert error_of(response) == (400, "invalid_grant")
    assert browser.cookies == {}
    assert error_of(await browser.post("/logout", {"everywhere": True})) == (400, "invalid_grant")
    assert await is_good(site, elsewhere)


async def test_a_token_that_was_used_long_ago_ends_its_own_login_alone(redis: RedisManager) -> None:
    site = Site(redis, {}, grace=0)
    browser, thief, elsewhere = await site.browser(), Browser(site.app), await site.browser()
    thief.cookies = browser.cookies.copy()
    await browser.post("/refresh")
    assert error_of(await thief.post("/logout", {"everywhere": True})) == (400, "invalid_grant")
    assert [await is_good(site, one) for one in (browser, elsewhere)] == [False, True]


async def test_by_an_access_token_its_login_is_ended(redis: RedisManager) -> None:
    tokens = service(redis)
    routes, pair, other = TokenRoutes(tokens), await tokens.issue("alice"), await tokens.issue("alice")
    for _ in range(2):
        assert (await post(routes, "/logout", bearer(pair.access_token))).status == 204
    with pytest.raises(TokenRevoked):
        await tokens.verify(pair.access_token)
    assert (await tokens.verify(other.access_token)).user == "alice"
    refused = await post_json(routes, "/logout", {"everywhere": True}, bearer(pair.access_token))
    assert error_of(refused) == (401, "invalid_token")
    for _ in range(2):
        done = await post_json(routes, "/logout", {"everywhere": True}, bearer(other.access_token))
        assert done.status == 204
    with pytest.raises(TokenRevoked):
        await tokens.verify(other.access_token)


async def test_by_an_access_token_that_is_none_any_more_nothing_is_ended(redis: RedisManager) -> None:
    clock = Clock()
    tokens = service(redis, clock=clock)
    routes, pair = TokenRoutes(tokens), await tokens.issue("alice")
    clock.ahead = 700
    for token in (pair.access_token, pair.refresh_token, pair.access_token[:-4], "x"):
        for everywhere in ("true", "false"):
            refused = await post(routes, "/logout", bearer(token), everywhere=everywhere)
            assert error_of(refused) == (401, "invalid_token")
            assert refused["www-authenticate"].startswith('Bearer error="invalid_token"')
    assert not (await tokens.refresh(pair.refresh_token)).replayed


async def test_by_a_refresh_token_of_the_body_its_login_is_ended(redis: RedisManager) -> None:
    tokens = service(redis)
    routes, pair, other = TokenRoutes(tokens), await tokens.issue("alice"), await tokens.issue("alice")
    for _ in range(2):
        response = await post_json(routes, "/logout", {"refresh_token": pair.refresh_token})
        assert (response.status, response.all("set-cookie")) == (204, [])
    assert (await post(routes, "/logout", refresh_token="x")).status == 204
    assert (await post(routes, "/logout", refresh_token=other.refresh_token, everywhere="1")).status == 204
    with pytest.raises(TokenRevoked):
        await tokens.verify(other.access_token)


async def test_who_shows_tokens_of_two_logins_ends_both(redis: RedisManager) -> None:
    tokens = service(redis)
    routes = TokenRoutes(tokens)
    for everywhere in ("true", "false"):
        alice, bob, other = [await tokens.issue(user) for user in ("alice", "bob", "bob")]
        parameters = {"refresh_token": alice.refresh_token, "everywhere": everywhere}
        assert (await post(routes, "/logout", bearer(bob.access_token), **parameters)).status == 204
        for ended in (alice, bob):
            with pytest.raises(TokenRevoked):
                await tokens.verify(ended.access_token)
        assert (await tokens.verify(other.access_token)).user == "bob"
    assert (await post(routes, "/logout", bearer("x"), refresh_token=other.refresh_token)).status == 204


async def test_who_shows_nothing_is_told_so_and_so_is_who_asks_for_what_is_unclear(redis: RedisManager) -> None:
    tokens = service(redis)
    routes, pair = TokenRoutes(tokens), await tokens.issue("alice")
    unclear: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({}, {}),
        ({}, {"refresh_token": pair.refresh_token, "everywhere": "yes"}),
        ({}, {"refresh_token": pair.refresh_token, "everywhere": "truefalse"}),
    ]
    for headers, parameters in unclear:
        assert error_of(await post(routes, "/logout", headers, **parameters)) == (400, "invalid_request")
    assert not (await tokens.refresh(pair.refresh_token)).replayed


async def test_another_site_with_an_access_token_takes_no_cookies_away(redis: RedisManager) -> None:
    site = Site(redis, {})
    pair = await site.tokens.issue("alice")
    response = await Browser(site.app).post(
        "/logout", headers={"sec-fetch-site": "cross-site", **bearer(pair.access_token)}
    )
    assert (response.status, response.all("set-cookie")) == (204, [])


async def test_the_app_is_told_of_logouts(redis: RedisManager) -> None:
    told: list[Logout] = []

    async def on_logout(logout: Logout) -> None:
        told.append(logout)

    tokens = service(redis)
    routes = TokenRoutes(tokens, on_logout=on_logout)
    one, two, three = [await tokens.issue("alice") for _ in range(3)]
    await post(routes, "/logout", refresh_token=one.refresh_token)
    await post(routes, "/logout", refresh_token=one.refresh_token)
    await post(routes, "/logout", bearer(two.access_token))
    await post(routes, "/logout", refresh_token=three.refresh_token, everywhere="true")
    assert told == [
        Logout("alice", one.family, everywhere=False),
        Logout("alice", two.family, everywhere=False),
        Logout("alice", three.family, everywhere=True),
    ]


async def test_a_logout_stands_whatever_the_app_makes_of_it(
    redis: RedisManager, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(logout: Logout) -> None:
        raise RuntimeError("the app's own")

    tokens = service(redis)
    routes, pair = TokenRoutes(tokens, on_logout=fails), await tokens.issue("alice")
    assert (await post(routes, "/logout", refresh_token=pair.refresh_token)).status == 204
    assert "on_logout failed" in caplog.text
    assert pair.refresh_token not in caplog.text


async def test_the_browser_may_be_told_to_forget_more(redis: RedisManager) -> None:
    tokens = service(redis)
    routes, pair = TokenRoutes(tokens, clear_site_data=("cache", "storage")), await tokens.issue("alice")
    response = await post(routes, "/logout", refresh_token=pair.refresh_token)
    assert response["clear-site-data"] == '"cache", "storage"'


async def test_who_has_a_token_that_was_revoked_alone_cannot_end_its_login(redis: RedisManager) -> None:
    tokens = service(redis)
    pair = await tokens.issue("alice")
    await tokens.revoke(pair.access_token)
    answer = await post(TokenRoutes(tokens), "/logout", bearer(pair.access_token))
    assert answer.status == 204
    assert (await tokens.refresh(pair.refresh_token)).user == "alice"
