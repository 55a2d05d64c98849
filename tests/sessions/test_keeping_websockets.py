"""Sessions of WebSockets: there at the handshake, from this origin alone, saved when the app says so."""

from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, RedisManager, SessionDataError
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.testing import RoundTripCounter
from tests.drive import App, Response, handshake
from tests.middleware.calls import TestRedis
from tests.redis.tools import PATIENCE
from tests.sessions.visits import Browser, Site

HOST = {"host": "app.example.com"}


class Socket:
    """An app that does something before it accepts, and something after."""

    def __init__(self, before: Any = None, after: Any = None) -> None:
        self.before, self.after = before, after
        self.session: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.session = session = scope["session"]
        await receive()
        if self.before is not None:
            self.before(session)
        await send({"type": "websocket.accept"})
        if self.after is not None:
            await self.after(session)


async def open_socket(site: Site, app: Any, browser: Browser | None = None, /, **more: Any) -> Response:
    """Try to open a WebSocket with a browser's cookie."""
    cookie = {"cookie": f"__Host-session={browser.cookie}"} if browser is not None else {}
    headers = HOST | cookie | more.pop("headers", {})
    return await handshake(GuardMiddleware(app, [site.guard], redis=site.redis), "/", headers, **more)


async def test_the_session_is_there_at_the_handshake_and_save_keeps_changes(site: Site) -> None:
    browser = await site.signed_in(a=1)

    async def change(session: Any) -> None:
        assert session == {"a": 1}
        session["b"] = 2
        await session.save()
        session["c"] = 3
        await session.save()
        assert await session.incr("n") == 1

    response = await open_socket(site, Socket(after=change), browser)
    assert (response.status, response.all("set-cookie")) == (101, [])
    assert await browser.visit() == {"a": 1, "b": 2, "c": 3, "n": 1}


async def test_what_changes_before_the_acceptance_is_kept_with_its_cookie(site: Site) -> None:
    response = await open_socket(site, Socket(before=lambda session: session.update(user_id="alice")))
    cookie = response["set-cookie"].partition("=")[2].partition(";")[0]
    assert await site.browser(cookie).visit() == {"user_id": "alice"}


@pytest.mark.parametrize(
    "act",
    [
        lambda session: session.update(user_id="bob"),
        lambda session: session.rotate(),
        lambda session: session.clear(),
    ],
)
async def test_after_the_acceptance_what_needs_a_cookie_is_a_clear_error(memory: TestRedis, act: Any) -> None:
    site = Site(memory)
    browser = await site.signed_in(user_id="alice")

    async def late(session: Any) -> None:
        act(session)
        with pytest.raises(SessionDataError, match="needs a cookie, and so does a login; the response's head carries"):
            await session.save()

    assert (await open_socket(site, Socket(after=late), browser)).status == 101
    assert await browser.visit() == {"user_id": "alice"}


async def test_a_new_session_after_the_acceptance_is_the_same_error(memory: TestRedis) -> None:
    async def late(session: Any) -> None:
        session["a"] = 1
        with pytest.raises(SessionDataError, match="needs a cookie"):
            await session.save()

    site = Site(memory)
    assert (await open_socket(site, Socket(after=late))).status == 101
    assert await site.keys() == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 101),
        ({"origin": "https://app.example.com"}, 101),
        ({"origin": "https://partner.example"}, 101),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://app.example.com.evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "https://other.example.com"}, 403),
    ],
)
@pytest.mark.parametrize("denial", [True, False])
async def test_another_origin_does_not_get_in_with_the_cookie(
    memory: TestRedis, headers: dict[str, str], status: int, denial: bool
) -> None:
    site = Site(memory, origins=["https://partner.example"])
    browser = await site.signed_in(user_id="alice")
    memory.rounds.clear()
    inner = App()
    response = await open_socket(site, inner, browser, headers=headers, denial=denial)
    assert (response.status, len(inner.scopes)) == (status, int(status == 101))
    assert memory.rounds == [["sessions.load"]] * (status == 101)
    if status == 403 and denial:
        assert response.json()["detail"] == "The request comes from another origin."
    if status == 403 and not denial:
        assert response.messages == [{"type": "websocket.close", "code": 1008, "reason": ""}]


async def test_without_a_cookie_of_ours_another_origin_is_nobody_and_gets_in(memory: TestRedis) -> None:
    inner = App()
    response = await open_socket(Site(memory), inner, headers={"origin": "https://evil.example"})
    assert (response.status, inner.scope["session"], memory.rounds) == (101, {}, [])


async def test_requests_that_are_no_sockets_are_not_checked_for_their_origin(memory: TestRedis) -> None:
    site = Site(memory)
    browser = await site.signed_in(a=1)
    assert await browser.visit(method="POST") == {"a": 1}


async def test_a_handshake_costs_one_round_trip(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url, timeout=PATIENCE) as redis:
        site = Site(redis)
        browser = await site.signed_in(a=1)
        await open_socket(site, App(), browser)
        counter.reset()
        await open_socket(site, App(), browser)
        assert counter.commands.count(b"EVALSHA") == 1  # the rest is the connection on which ends are told
