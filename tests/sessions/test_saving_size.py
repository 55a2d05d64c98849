"""`max_size` holds against requests that write at once, each of them little."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import RedisManager, Session, SessionCipher, SessionDataError
from tests.sessions.visits import Site, Slow, put

LIMIT = 4096
CIPHERS = {"plain": None, "encrypted": SessionCipher(b"k" * 32)}


@pytest.fixture(params=CIPHERS)
def small(request: pytest.FixtureRequest, redis: RedisManager) -> Site:
    """A site whose sessions are small, in clear and encrypted."""
    return Site(redis, max_size=LIMIT, encryption=CIPHERS[request.param])


async def many(browser: Any, acts: list[Any]) -> list[Any]:
    """Let requests that have all seen the same go on at once; return what each has come to."""
    slow = [await Slow(act).start(browser.twin()) for act in acts]
    return await asyncio.gather(*(one.finish() for one in slow), return_exceptions=True)


def size(session: dict[str, str]) -> int:
    """Bytes of a session that holds short plain texts, as `max_size` counts them."""
    return sum(len(name) + len(text) + 2 for name, text in session.items())


async def test_requests_that_write_keys_of_their_own_at_once_stay_below_the_limit(small: Site) -> None:
    browser = await small.signed_in(user_id="alice")
    tabs = [browser.twin() for _ in range(40)]
    slow = [await Slow(put(**{f"key{n:02}": "x" * 500})).start(tab) for n, tab in enumerate(tabs)]
    await asyncio.gather(*(one.finish() for one in slow))
    session = await browser.visit()
    assert LIMIT - 600 < size(session) <= LIMIT
    assert sorted(tab.response.status for tab in tabs) == [200] * (len(session) - 1) + [500] * (41 - len(session))


async def test_a_save_while_the_app_runs_says_what_is_too_large(small: Site) -> None:
    async def save(session: Session) -> None:
        session["mine"] = "x" * 2000
        await session.save()

    browser = await small.signed_in(user_id="alice")
    slow = await Slow(save).start(browser.twin())
    await browser.visit(put(theirs="x" * 3000))
    with pytest.raises(SessionDataError, match=rf"^the session takes 50\d\d bytes; allowed are {LIMIT} \(max_size\)$"):
        await slow.finish()
    assert {*(await browser.visit())} == {"user_id", "theirs"}


async def test_lists_that_are_appended_to_at_once_stay_below_it_too(small: Site) -> None:
    browser = await small.signed_in(user_id="alice")

    def act(number: int) -> Any:
        return lambda session: session.append(f"list{number % 10}", "x" * 300)

    found = await many(browser, [act(number) for number in range(40)])
    session = await browser.visit()
    kept = sum(isinstance(one, list) for one in found)
    assert sum(isinstance(one, SessionDataError) for one in found) == 40 - kept
    assert sum(len(texts) for name, texts in session.items() if name != "user_id") == kept
    assert LIMIT - 700 < kept * 300 <= LIMIT


async def test_what_is_just_small_enough_together_is_written(small: Site) -> None:
    browser = await small.signed_in(user_id="alice")
    left = LIMIT - size({"user_id": "alice", "a": "", "b": ""})
    assert await many(browser, [put(a="x" * (left // 2)), put(b="y" * (left - left // 2))]) == [None, None]
    assert size(await browser.visit()) == LIMIT


async def test_what_is_deleted_or_replaced_by_the_same_write_does_not_count(small: Site) -> None:
    browser = await small.signed_in(user_id="alice", old="x" * 2000, other="y" * 1500)

    def act(session: Session) -> None:
        del session["old"]
        session.update(other="z" * 1500, fresh="é" * 1000)

    slow = await Slow(act).start(browser.twin())
    await browser.visit(put(color="blue"))
    await slow.finish()
    assert {*(await browser.visit())} == {"user_id", "other", "fresh", "color"}


async def test_what_only_removes_or_uses_a_session_is_never_too_much(redis: RedisManager) -> None:
    site = Site(redis, max_size=LIMIT, idle=600)
    browser = await site.signed_in(user_id="alice", a="x")
    slow = await Slow(lambda session: session.pop("a")).start(browser.twin())
    await redis.execute("HSET", browser.id.record, ".big", '"' + "x" * LIMIT + '"')
    await browser.twin().visit(lambda session: None)
    await slow.finish()
    assert b".a" not in await site.fields(browser.id.record)
