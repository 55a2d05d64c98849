"""`examples/login_app.py` in browsers: tabs that refresh at once, two devices, a thief, and "log out everywhere"."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.examples.conftest import Load, Serve, Visitor, stack_of

REFRESH, CSRF = "__Secure-refresh", "__Secure-csrf"


class Browser(httpx.AsyncClient):
    """A browser with one of the app's pages open, over TLS; tabs are calls at the same time."""

    access = ""

    def __init__(self, visitor: Visitor) -> None:
        super().__init__(transport=visitor._transport, base_url="https://app.example")

    async def script(self, path: str, document: Any = None, **headers: str) -> httpx.Response:
        """What a script of the page sends."""
        own = {"origin": "https://app.example", "sec-fetch-site": "same-origin", "x-csrf-token": self.cookie(CSRF)}
        return await self.post(path, json=document or {}, headers=own | headers)

    async def log_in(self, user: str, device: str) -> httpx.Response:
        response = await self.script("/login", {"user": user, "device": device})
        self.access = response.json()["access_token"]
        return response

    async def refresh(self) -> int:
        response = await self.script("/auth/refresh")
        self.access = response.json().get("access_token", "") if response.status_code == 200 else ""
        return response.status_code

    async def me(self) -> tuple[int, Any]:
        response = await self.get("/me", headers={"authorization": f"Bearer {self.access}"})
        return response.status_code, response.json()

    def cookie(self, name: str) -> str:
        """The one cookie of that name, empty if there is none."""
        (value,) = [cookie.value or "" for cookie in self.cookies.jar if cookie.name == name] or [""]
        return value


async def test_a_login_lasts_over_refreshes_and_its_refresh_token_is_nowhere_to_be_read(
    load: Load, serve: Serve
) -> None:
    app = load("login_app").app
    async with serve(app) as visitor, Browser(visitor) as browser:
        assert "Log out everywhere" in (await browser.get("/")).text
        assert await browser.refresh() == 400
        login = await browser.log_in("alice", "laptop")
        assert REFRESH not in login.text
        (cookie,) = [field for field in login.headers.get_list("set-cookie") if field.startswith(REFRESH)]
        assert "; Path=/auth; HttpOnly; SameSite=Strict; Secure" in cookie
        tokens = {browser.cookie(REFRESH)}
        for _ in range(3):
            assert await browser.refresh() == 200
            assert await browser.me() == (200, {"user": "alice", "device": "laptop"})
            tokens.add(browser.cookie(REFRESH))
        assert len(tokens) == 4
    assert stack_of(app.middleware_stack) == "<JWTAuthMiddleware [jwt + ratelimit]"


async def test_tabs_that_refresh_at_once_stay_logged_in_all_of_them(load: Load, serve: Serve) -> None:
    async with serve(load("login_app").app) as visitor, Browser(visitor) as browser:
        await browser.log_in("alice", "laptop")
        answers = await asyncio.gather(*(browser.script("/auth/refresh") for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.cookies.get(REFRESH) for answer in answers}) == 1
        for answer in answers:
            browser.access = answer.json()["access_token"]
            assert (await browser.me())[0] == 200
        assert await browser.refresh() == 200


async def test_log_out_everywhere_reaches_all_devices_at_once_and_nobody_else(load: Load, serve: Serve) -> None:
    async with serve(load("login_app").app) as visitor:
        phone, laptop, bob = Browser(visitor), Browser(visitor), Browser(visitor)
        await phone.log_in("alice", "phone")
        await laptop.log_in("alice", "laptop")
        await bob.log_in("bob", "laptop")
        assert (await laptop.script("/auth/logout", {"everywhere": True})).status_code == 204
        assert laptop.cookie(REFRESH) == laptop.cookie(CSRF) == ""
        assert [(await one.me())[0] for one in (phone, laptop, bob)] == [401, 401, 200]
        assert [await one.refresh() for one in (phone, laptop, bob)] == [400, 400, 200]
        assert phone.cookie(REFRESH) == ""
        await phone.log_in("alice", "phone")
        assert await phone.me() == (200, {"user": "alice", "device": "phone"})


async def test_logging_out_here_leaves_the_other_device_alone(load: Load, serve: Serve) -> None:
    async with serve(load("login_app").app) as visitor:
        phone, laptop = Browser(visitor), Browser(visitor)
        await phone.log_in("alice", "phone")
        await laptop.log_in("alice", "laptop")
        assert [(await laptop.script("/auth/logout")).status_code for _ in range(2)] == [204, 204]
        assert [(await one.me())[0] for one in (phone, laptop)] == [200, 401]


@pytest.mark.parametrize("path", ["/devices/phone/logout", "/password"])
async def test_a_device_or_all_others_can_be_logged_out_from_here(load: Load, serve: Serve, path: str) -> None:
    async with serve(load("login_app").app) as visitor:
        phone, laptop = Browser(visitor), Browser(visitor)
        await phone.log_in("alice", "phone")
        await laptop.log_in("alice", "laptop")
        done = await laptop.script(path, authorization=f"Bearer {laptop.access}")
        assert done.status_code == 204
        assert [(await one.me())[0] for one in (phone, laptop)] == [401, 200]
        assert [await one.refresh() for one in (phone, laptop)] == [400, 200]


async def test_a_stolen_refresh_token_ends_the_login_once_its_owner_uses_the_one_before(
    load: Load, serve: Serve
) -> None:
    async with serve(load("login_app").app) as visitor:
        owner, thief, phone = Browser(visitor), Browser(visitor), Browser(visitor)
        await owner.log_in("alice", "laptop")
        await phone.log_in("alice", "phone")
        thief.cookies.update(owner.cookies)
        assert [await thief.refresh(), await thief.refresh()] == [200, 200]
        assert (await thief.me())[0] == 200
        assert await owner.refresh() == 400
        assert owner.cookie(REFRESH) == ""
        assert [(await one.me())[0] for one in (thief, owner, phone)] == [401, 401, 200]
        assert [await one.refresh() for one in (thief, phone)] == [400, 200]


async def test_another_site_can_do_nothing_with_the_cookies_of_a_browser(load: Load, serve: Serve) -> None:
    async with serve(load("login_app").app) as visitor, Browser(visitor) as browser:
        await browser.log_in("alice", "laptop")
        evil = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
        for path in ("/auth/refresh", "/auth/logout"):
            for headers in (evil, {"x-csrf-token": "A" * 86}):
                refused = await browser.script(path, **headers)
                assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)
        assert await browser.refresh() == 200


async def test_while_redis_is_away_a_login_is_told_to_come_again(load: Load) -> None:
    example = load("login_app", "redis://127.0.0.1:1")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(example.app), base_url="https://app.example") as client:
        refused = await client.post("/login", json={"user": "alice"})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    await example.redis.aclose()
