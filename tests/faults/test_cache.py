"""A response cache over a Redis that fails: the app answers, nothing wrong is sent, and it heals by itself."""

import asyncio
from contextlib import suppress

import pytest

from asgi_redis_guard import RedisManager, RedisUnavailable
from asgi_redis_guard.testing import FaultProxy
from tests.cache.site import Page, Site, eventually, routes, site, writing
from tests.conftest import MakeServer
from tests.middleware.calls import settled
from tests.redis.tools import until_back, within
from tests.servers import Server


async def back(redis: RedisManager) -> None:
    """Wait until a server is found again, if it was missed."""
    if redis.links.breaker.is_open:
        await until_back(redis)


async def heals(here: Site, page: Page, path: str = "/") -> None:
    """What is asked now is kept, and sent from then on."""
    for _ in range(3):
        last = await here.get(path)
        assert last.status == 200
    assert "; hit" in last["cache-status"]
    assert last.body == b"page %d" % page.runs


async def test_away_at_the_lookup_the_app_answers_and_it_is_said_why(fresh_server: Server) -> None:
    page = Page()
    async with site(page, fresh_server.url) as here:
        await here.get()
        await asyncio.to_thread(fresh_server.kill)
        for number in range(2, 5):
            away = await here.get()
            assert (away.status, away.body) == (200, b"page %d" % number)
            assert away["cache-status"] == "guard; fwd=bypass; detail=unavailable"
        await asyncio.to_thread(fresh_server.start)
        await back(here.redis)
        await heals(here, page)


async def test_away_when_it_is_stored_the_response_is_whole_and_nobody_waits(fresh_server: Server) -> None:
    page = Page()
    page.close()
    async with site(page, fresh_server.url) as here:
        leader = here.call()
        await page.running.wait()
        others = asyncio.ensure_future(here.many(10))
        await eventually(lambda: sum(f.waiting for f in here.redis.flights._flights.values()) == 10)
        await asyncio.to_thread(fresh_server.kill)
        page.gate.set()
        await within(leader.task)
        assert leader.body == b"page 1"
        assert {response.status for response in await within(others)} == {200}
        await settled(here.redis)
        assert not here.flights
        await asyncio.to_thread(fresh_server.start)
        await back(here.redis)
        await heals(here, page)


@pytest.mark.parametrize("how", ["restart", "flush", "script flush"])
async def test_a_server_that_forgets_in_the_middle_of_a_fill(fresh_server: Server, how: str) -> None:
    page = Page(tags=("t",))
    page.close()
    async with site(routes(page=page, w=writing("t")), fresh_server.url) as here:
        calls = [here.call("/page") for _ in range(5)]
        await page.running.wait()
        if how == "restart":
            await asyncio.to_thread(fresh_server.restart)
        else:
            await asyncio.to_thread(fresh_server.command, "FLUSHALL" if how == "flush" else "SCRIPT FLUSH")
        page.gate.set()
        for call in calls:
            await within(call.task)
            assert call.status == 200
        await back(here.redis)
        await heals(here, page, "/page")
        await here.post("/w")
        assert (await here.get("/page")).body == b"page %d" % page.runs
        await heals(here, page, "/page")


async def test_a_reply_that_is_lost_after_the_fill_was_taken(redis_url: str) -> None:
    page = Page()
    async with FaultProxy(redis_url) as proxy, site(page, proxy.url) as here:
        await here.redis.execute("PING")
        proxy.cut_after_request(b"EVALSHA")
        first = await within(here.get())
        assert (first.body, first["cache-status"]) == (b"page 1", "guard; fwd=uri-miss; stored")
        assert "; hit" in (await here.get())["cache-status"], "it knew its own token"


async def test_replies_that_come_too_late_hold_nobody_up(redis_url: str) -> None:
    page = Page()
    async with (
        FaultProxy(redis_url) as proxy,
        RedisManager(proxy.url, timeout=0.2) as slow,
        site(page, redis_url) as here,
    ):
        there = Site(page, slow)
        await slow.execute("PING")
        proxy.drop_replies()
        response = await within(there.get())
        assert (response.status, response["cache-status"]) == (200, "guard; fwd=bypass; detail=unavailable")
        assert not there.flights
        await settled(slow)
        assert await here.fills() == [], "what it may have taken is given back, though nobody says so"
        await heals(here, page)


async def test_a_server_that_looks_up_what_nobody_waits_for_any_more_holds_nobody_up(fresh_server: Server) -> None:
    page = Page()
    async with RedisManager(fresh_server.url, timeout=0.2) as slow, site(page, fresh_server.url) as here:
        there = Site(page, slow)
        await slow.execute("PING")
        fresh_server.pause()
        try:
            for response in await within(there.many(10)):
                assert (response.status, response["cache-status"]) == (200, "guard; fwd=bypass; detail=unavailable")
            assert slow.links.breaker.is_open, "that the fill is given back cannot be said now"
        finally:
            fresh_server.resume()
        await settled(slow)
        assert await here.fills() == []
        await heals(here, page)


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "refused"])
async def test_a_fill_that_could_not_be_given_back_is_given_back_later(redis_url: str, stored: bool) -> None:
    page = Page()
    page.status = 200 if stored else 500
    async with (
        FaultProxy(redis_url) as proxy,
        RedisManager(proxy.url, timeout=0.2) as slow,
        site(page, redis_url) as here,
    ):
        page.close()
        leader = Site(page, slow).call()
        await page.running.wait()
        proxy.refuse()
        page.gate.set()
        await within(leader.task)
        while not slow.links.breaker.is_open:
            with suppress(RedisUnavailable):
                await slow.execute("PING")
        assert len(await here.fills()) == 1
        proxy.heal()
        await settled(slow)
        assert await here.fills() == []


async def test_a_fill_that_came_to_one_whose_reply_was_lost_is_not_waited_for_by_another(redis_url: str) -> None:
    page = Page()
    page.close()
    async with (
        FaultProxy(redis_url) as proxy,
        RedisManager(proxy.url, timeout=0.2) as slow,
        site(page, redis_url) as here,
    ):
        there = Site(page, slow)
        holder = here.call()
        await page.running.wait()
        waiter = there.call()
        await eventually(lambda: there.flights)
        proxy.drop_replies()
        (fill,) = await here.redis.execute("KEYS", "guard:rf:*")
        await here.redis.execute("DEL", fill)
        doubtful = there.call()
        # Until it is taken; then it does not just run out.
        while not await here.redis.execute("PEXPIRE", fill, 300_000):  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0.01)
        page.gate.set()
        await within(asyncio.gather(holder.task, doubtful.task))
        proxy.heal()
        await within(waiter.task)
        await settled(slow)
        assert await here.fills() == []


async def test_full_memory_is_no_reason_not_to_answer(make_server: MakeServer) -> None:
    server = make_server("valkey9", maxmemory_policy="noeviction")
    page = Page()
    async with site(page, server.url) as here:
        page.close()
        leader = here.call()
        await page.running.wait()
        await asyncio.to_thread(server.command, "CONFIG", "SET", "maxmemory", "1")
        page.gate.set()
        await within(leader.task)
        assert leader.body == b"page 1"
        for _ in range(3):
            full = await here.get()
            assert full.status == 200
        await asyncio.to_thread(server.command, "CONFIG", "SET", "maxmemory", "0")
        await heals(here, page)


async def test_what_was_stored_is_sent_while_memory_is_full(make_server: MakeServer) -> None:
    server = make_server("redis62", maxmemory_policy="noeviction")
    page = Page(tags=("t",))
    async with site(page, server.url) as here:
        await here.get()
        await asyncio.to_thread(server.command, "CONFIG", "SET", "maxmemory", "1")
        for _ in range(3):
            assert "; hit" in (await here.get())["cache-status"]
        assert page.runs == 1


async def test_a_paused_server_holds_requests_up_for_its_time_and_no_longer(fresh_server: Server) -> None:
    page = Page()
    async with RedisManager(fresh_server.url, timeout=0.2) as redis:
        here = Site(page, redis)
        await here.get()
        fresh_server.pause()
        try:
            away = await within(here.many(30))
            assert {response.status for response in away} == {200}
            assert {response["cache-status"] for response in away} == {"guard; fwd=bypass; detail=unavailable"}
        finally:
            fresh_server.resume()
        await back(redis)
        assert (await here.get()).status == 200
