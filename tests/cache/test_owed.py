"""Invalidations that Redis could not be told: nothing stored is used here before it was, and none is forgotten."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.cache.operations import invalidate_tags
from asgi_redis_guard.cache.owed import Owed
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.testing import FaultProxy
from tests.cache.site import Page, Site, eventually, routes, site, writing
from tests.middleware.calls import Call, TestRedis, http, settled
from tests.redis.tools import PATIENCE, until_back, within

ONE, TWO = invalidate_tags(Keys(), ["one"]), invalidate_tags(Keys(), ["two"])


def test_two_who_tell_the_same_forget_no_others() -> None:
    owed = Owed()
    owed.add(ONE)
    first, second = owed.some(), owed.some()
    owed.add(TWO)
    owed.paid(first)
    owed.paid(second)
    assert [operation for operation, _ in owed.some()] == [TWO[0], TWO[1]]


def test_what_is_owed_anew_while_it_is_told_is_told_again() -> None:
    owed = Owed()
    owed.add(ONE)
    told = owed.some()
    owed.add(ONE)
    owed.paid(told)
    assert len(owed) == 2
    owed.paid(owed.some())
    assert not owed


def test_that_of_all_tags_comes_before_those_of_single_ones() -> None:
    owed = Owed()
    for number in range(100):
        owed.add(invalidate_tags(Keys(), [f"tag {number}"]))
    assert owed.some()[0][0] == ONE[0]
    told = 0
    while some := owed.some():
        told += len(some)
        owed.paid(some)
    assert told == 101


async def test_a_write_without_redis_is_told_before_anything_stored_is_used(redis_url: str) -> None:
    page = Page(tags=("t",))
    app = routes(page=page, w=writing("t"))
    async with FaultProxy(redis_url) as proxy, site(app, proxy.url) as here:
        assert (await here.get("/page")).body == b"page 1"
        assert (await here.get("/page")).body == b"page 1"
        proxy.refuse()
        proxy.reset_all()
        assert (await here.post("/w")).status == 204
        away = await here.get("/page")
        assert (away.body, "fwd=bypass" in away["cache-status"]) == (b"page 2", True)
        assert len(here.guard.owed)
        proxy.heal()
        await until_back(here.redis)
        assert {response.body for response in await here.many(20, "/page")} == {b"page 3"}
        assert not here.guard.owed
        assert (await here.get("/page")).body == b"page 3"


async def test_many_writes_without_redis_are_all_told_however_many_read_at_once(redis_url: str) -> None:
    pages = [Page(tags=(f"t{number}",)) for number in range(120)]
    named: dict[str, Any] = {f"p{number}": page for number, page in enumerate(pages)}
    named |= {f"w{number}": writing(f"t{number}") for number in range(120)}
    async with FaultProxy(redis_url) as proxy, site(routes(**named), proxy.url) as here:
        for number in range(120):
            await here.get(f"/p{number}")
        proxy.refuse()
        proxy.reset_all()
        for number in range(120):
            await here.post(f"/w{number}")
        proxy.heal()
        await until_back(here.redis)
        await asyncio.gather(*(here.get(f"/p{number}") for number in range(120)))
        assert [page.runs for page in pages] == [2] * 120
        assert not here.guard.owed


async def test_a_write_whose_client_leaves_while_redis_is_told_is_told_all_the_same() -> None:
    redis = TestRedis()
    page = Page(tags=("t",))
    here = Site(routes(page=page, w=writing("t")), redis)
    await here.get("/page")
    redis.withhold()
    call = Call(here.app, http(method="POST", path="/w")).start()
    await eventually(lambda: redis.withheld)
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    redis.give()
    await settled(redis)
    assert sum(round.count("cache.invalidate") > 0 for round in redis.rounds) == 2
    assert (await here.get("/page")).body == b"page 2"
    await redis.aclose()


async def test_a_write_that_redis_may_have_done_is_told_again(redis_url: str) -> None:
    page = Page(tags=("t",))
    async with (
        FaultProxy(redis_url) as proxy,
        RedisManager(proxy.url, timeout=0.3) as redis,
        RedisManager(redis_url, timeout=PATIENCE),
    ):
        here = Site(routes(page=page, w=writing("t")), redis)
        await here.get("/page")
        proxy.drop_replies()
        await within(Call(here.app, http(method="POST", path="/w")).run())
        assert len(here.guard.owed)
        proxy.heal()
        if redis.links.breaker.is_open:
            await until_back(redis)
        await here.get("/page")
        assert (await here.get("/page")).body == b"page %d" % page.runs
        assert page.runs >= 2
        assert not here.guard.owed
