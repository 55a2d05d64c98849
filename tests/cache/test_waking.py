"""Who waits for another process's fill is woken by its end, whatever was heard late of it."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from tests.cache.site import Page, Site, site
from tests.middleware.calls import settled
from tests.redis.tools import PATIENCE, within


class Late:
    """Holds back the replies to a manager's rounds; `said` is set when one is there."""

    def __init__(self, redis: RedisManager) -> None:
        self.said, self.heard = asyncio.Event(), asyncio.Event()
        self._evaluate = redis.evaluate

    def __call__(self, *args: Any) -> "asyncio.Future[Any]":
        return asyncio.ensure_future(self._held(self._evaluate(*args)))

    async def _held(self, reply: "asyncio.Future[Any]") -> Any:
        result = await reply
        self.said.set()
        await self.heard.wait()
        return result


async def failing_once(number: int) -> None:
    """End the first fill with nothing that could be kept."""
    if number == 1:
        raise LookupError


async def test_who_hears_late_that_another_fills_does_not_wait_in_vain_for_the_fill_after_that(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a round that is cut hears of one slot as late as of the slowest: by then the fill has ended, and another one
    has begun, by whom nobody is told unless he knows that somebody waits."""
    page = Page()
    page.before = failing_once
    page.close()
    async with RedisManager(redis_url, timeout=PATIENCE) as other, site(page, redis_url) as here:
        there, late = Site(page, other), Late(other)
        monkeypatch.setattr(other, "evaluate", late)
        first = asyncio.ensure_future(here.get())
        await page.running.wait()
        waiter = asyncio.ensure_future(there.get())
        await within(late.said.wait())
        page.gate.set()
        with pytest.raises(LookupError):
            await within(first)
        assert not await here.fills()
        page.close()
        second = asyncio.ensure_future(here.get())
        await within(page.running.wait())
        late.heard.set()
        (fill,) = [key async for key in here.redis.client.scan_iter(match="guard:rf:*")]
        async with asyncio.timeout(PATIENCE):
            while not (await here.redis.execute("GET", fill)).endswith(b"w"):  # noqa: ASYNC110  (no event tells)
                await asyncio.sleep(0.002)
        page.gate.set()
        assert {(await within(one)).body for one in (second, waiter)} == {b"page 2"}
        await settled(other)
