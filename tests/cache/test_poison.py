"""What somebody else has put under the cache's keys is as good as nothing: never an error, never sent, written over."""

from collections.abc import Callable

import pytest

from tests.cache.site import Page, Site, routes, site, writing

GARBAGE = [
    b"",
    b"x",
    b"garbage that goes on and on, far beyond the eighty characters that a value of this cache begins with, or so",
    b"1" + b"9" * 200,
    b"P" + b"x" * 79,
    b"1" + b"0" * 42 + b"a" * 40,
    b"\xff\x00" * 5000,
]


def spoilt_end(value: bytes) -> bytes:
    """A good beginning, and nothing behind it that could be read."""
    return value[:-3] + b"\x00\x00\x00\x00\x00"


async def spoil(site: Site, pattern: str, value: bytes | Callable[[bytes], bytes] | None) -> int:
    """Put a value under all keys like that, for ever; None is for a value of another type."""
    client, spoilt = site.redis.client, 0
    async for key in client.scan_iter(match=pattern):
        if await client.type(key) != b"string":
            continue  # spoilt before, and nobody has wanted it since
        spoilt += 1
        if value is None:
            await client.delete(key)
            await client.rpush(key, "a list")
        else:
            await client.set(key, value if isinstance(value, bytes) else value(await site.redis.execute("GET", key)))
    return spoilt


@pytest.mark.parametrize("remembered", [0, 1 << 20])
@pytest.mark.parametrize("keys", ["guard:r:*}", "guard:r:*}?*", "guard:g:*", "guard:*"])
async def test_garbage_is_written_over_by_the_next_fill(backend: str, keys: str, remembered: int) -> None:
    page = Page(tags=("a", "b"))
    async with site(routes(page=page, w=writing("a")), backend, remembered=remembered) as here:
        # What ends a mark is no more than a hint.
        for value in [*GARBAGE, None, *([] if remembered or keys.endswith("}") else [spoilt_end])]:
            await here.get("/page")
            assert await spoil(here, keys, value)
            runs = page.runs
            again = await here.get("/page")
            assert (again.status, again.body) == (200, b"page %d" % page.runs), value
            assert page.runs == runs + 1, value
            for _ in range(2):
                healed = await here.get("/page")
                assert healed.body == b"page %d" % page.runs, value
                assert "; hit" in healed["cache-status"], (value, healed["cache-status"])
        await here.post("/w")
        assert (await here.get("/page")).body == b"page %d" % (runs + 2)


@pytest.mark.parametrize("value", [*GARBAGE, None, b"0123456789abcdefww but no holder"])
async def test_a_fill_that_is_nobodys_holds_nobody_up(backend: str, value: bytes | None) -> None:
    page = Page()
    async with site(page, backend) as here:
        page.close()
        call = here.call()
        await page.running.wait()
        (fill,) = [key async for key in here.redis.client.scan_iter(match="guard:rf:*")]
        page.gate.set()
        await call.task
        assert await here.is_clean()
        await here.redis.client.flushall()
        if value is None:
            await here.redis.client.rpush(fill, "a list")
        else:
            await here.redis.client.set(fill, value)
        assert (await here.get()).body == b"page 2"
        assert "; hit" in (await here.get())["cache-status"]


async def test_garbage_under_a_tag_invalidates_and_a_write_mends_it(backend: str) -> None:
    page = Page(tags=("a",))
    async with site(routes(page=page, w=writing("a")), backend) as here:
        await here.get("/page")
        await spoil(here, "guard:g:*", b"garbage")
        assert (await here.post("/w")).status == 204
        assert (await here.get("/page")).body == b"page 2"
        assert "; hit" in (await here.get("/page"))["cache-status"]
