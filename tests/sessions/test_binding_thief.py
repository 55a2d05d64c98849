"""Whoever has stolen a cookie chooses the requests: those that get no head must end a session and flood no log."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asgi_redis_guard import DeviceBinding, GuardMiddleware, RedisManager, Sessions
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.sessions.ids import SessionIds
from asgi_redis_guard.testing import RoundTripCounter
from tests.drive import get, handshake
from tests.redis.tools import PATIENCE
from tests.sessions.agents import CHROME, FIREFOX
from tests.sessions.test_binding import Site

Agent = Callable[[int], str]


class Broken(Site):
    """Its app fails before the head, or closes the handshake, as soon as somebody has logged in."""

    broken = False

    async def plain(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or fail."""
        if not self.broken:
            return await super().plain(scope, receive, send)
        if scope["type"] == "http":
            raise LookupError("broken")
        await receive()
        return await send({"type": "websocket.close", "code": 1000})

    async def steal(self, how: str, times: int, agent: Agent = lambda _: FIREFOX) -> None:
        """Use the owner's cookie elsewhere, all at once."""
        self.broken = True
        headers = {"cookie": self.cookie, "origin": "http://x.test", "host": "x.test"}
        uses = [USES[how](self, headers | {"user-agent": agent(number)}) for number in range(times)]
        await asyncio.gather(*uses)
        self.broken = False

    async def kinds(self) -> list[str]:
        """What the owner's log says, the newest first."""
        return [event.kind for event in await self.events.query("ann")]


async def shake(site: Broken, headers: dict[str, str]) -> None:
    """Open a socket that the app closes before it is one."""
    assert (await handshake(site.stack, headers=headers)).status == 403


async def fail(site: Broken, headers: dict[str, str]) -> None:
    """Send a request that the app fails at."""
    with pytest.raises(LookupError):
        await get(site.stack, headers=headers)


USES: dict[str, Any] = {"a handshake that is closed": shake, "a request that fails": fail}


@pytest.mark.parametrize("how", USES)
async def test_requests_without_a_head_are_recorded_once_and_not_each(redis: RedisManager, how: str) -> None:
    site = Broken(redis)
    await site.log_in()
    await site.steal(how, 50)
    await site.steal(how, 2)
    assert await site.kinds() == [event.kind for event in site.heard] == ["new_device"]
    await site.visit()
    assert site.found == {"user_id": "ann"}


@pytest.mark.parametrize("how", USES)
async def test_by_choice_a_session_ends_without_a_head_too(redis: RedisManager, how: str) -> None:
    site = Broken(redis, on_change="revoke")
    await site.log_in()
    await site.steal(how, 50)
    assert (site.found, site.user.is_authenticated) == ({}, False)
    await site.visit()
    assert site.found == {}
    assert await site.kinds() == [event.kind for event in site.heard] == ["revoked"]


@pytest.mark.parametrize("how", USES)
async def test_as_many_devices_as_a_thief_can_think_of_fill_no_log(redis: RedisManager, how: str) -> None:
    site = Broken(redis)
    await site.log_in()
    await site.steal(how, 50, lambda number: f"agent-{number}/1")
    assert await site.kinds() == [event.kind for event in site.heard] == ["new_device"] * 8


@pytest.mark.parametrize(("on_change", "kind"), [("observe", "new_device"), ("revoke", "revoked")])
async def test_a_former_id_records_once_and_ends_what_has_replaced_it(
    redis: RedisManager, on_change: str, kind: str
) -> None:
    site = Broken(redis, on_change=on_change)
    await site.log_in()
    former = site.cookie
    await site.visit(act=lambda session: session.rotate())
    current, site.cookie = site.cookie, former
    assert current != former
    for _ in range(30):
        site.cookie = former
        await site.visit(FIREFOX)
        assert site.found == ({"user_id": "ann"} if on_change == "observe" else {})
    assert await site.kinds() == [kind]
    site.cookie = current
    await site.visit()
    assert site.found == ({"user_id": "ann"} if on_change == "observe" else {})


async def test_two_sessions_of_a_user_are_told_each(redis: RedisManager) -> None:
    site = Broken(redis)
    for _ in range(2):
        site.cookie = ""
        await site.log_in()
        await site.steal("a request that fails", 3)
    assert await site.kinds() == ["new_device"] * 2


async def test_without_a_log_a_session_ends_and_nothing_is_recorded(redis: RedisManager) -> None:
    site = Broken(redis, on_change="revoke", events=None)
    await site.log_in()
    await site.steal("a request that fails", 3)
    await site.visit()
    assert (site.found, await redis.execute("KEYS", "*")) == ({}, [])


async def test_nobody_s_session_ends_too(redis: RedisManager) -> None:
    site = Broken(redis, on_change="revoke")
    await site.visit(act=lambda session: session.update(cart=[1]))
    await site.steal("a request that fails", 1)
    await site.visit()
    assert (site.found, await redis.execute("KEYS", "*")) == ({}, [])


async def test_an_end_that_is_not_whole_is_tried_again_with_the_head(redis: RedisManager) -> None:
    site = Broken(redis, on_change="revoke")
    await site.log_in()
    _, notes, _ = SessionIds(b"", redis.keys).keys_of("ann")
    await redis.execute("DEL", notes)
    await redis.execute("SET", notes, "x")
    assert (await site.visit(FIREFOX)).status == 503
    assert (site.found, [(event.kind, event.id) for event in site.heard]) == ({}, [("revoked", "")])


async def test_a_session_of_another_redis_ends_there_with_the_head(redis: RedisManager) -> None:
    async with RedisManager("memory://") as other:
        site = Site(redis, on_change="revoke")
        binding = DeviceBinding(on_change="revoke", events=site.events)
        inner = GuardMiddleware(site._app, [binding], redis=redis)

        async def between(scope: Scope, receive: Receive, send: Send) -> None:
            await inner(scope, receive, send)

        site.stack = GuardMiddleware(between, [Sessions()], redis=other)
        await site.log_in()
        stolen = site.cookie
        for _ in range(2):
            site.cookie = stolen
            await site.visit(FIREFOX)
            assert site.found == {}
        assert [event.kind for event in await site.events.query("ann")] == ["revoked"]


async def test_the_end_is_one_round_trip_and_the_head_takes_the_cookie(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url, timeout=PATIENCE) as manager:
        site = Site(manager, on_change="revoke")
        seen = []
        for _ in range(2):  # the first time loads the scripts
            site.cookie = ""
            await site.log_in(CHROME)
            counter.reset()
            response = await site.visit(FIREFOX)
            seen.append(counter.round_trips)
            assert "Max-Age=0" in response["set-cookie"]
        assert seen[1] == 2, "the session, and its end with the event"
