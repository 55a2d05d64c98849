"""Slow requests that finish after their session was ended or replaced: nothing comes back, no cookie is sent."""

from typing import Any

import pytest

from asgi_redis_guard import RedisManager, SessionDataError
from tests.sessions.visits import Site, Slow, put

CHANGES = {
    "a new value": put(a=1),
    "a value removed": lambda session: session.pop("b"),
    "a rotation": lambda session: session.rotate(),
    "another role": put(role="admin"),
    "a logout by removing the user": lambda session: session.pop("user_id"),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_slow_request_does_not_bring_back_what_a_logout_has_ended(redis: RedisManager, name: str) -> None:
    site = Site(redis, principal=("user_id", "role"))
    browser = await site.signed_in(user_id="alice", role="user", b=1)
    slow = await Slow(CHANGES[name]).start(tab := browser.twin())
    await browser.visit(lambda session: session.clear())
    await slow.finish()
    assert (tab.response.status, tab.told, await site.keys()) == (200, [], [])


@pytest.mark.parametrize("name", CHANGES)
async def test_a_slow_request_does_not_bring_back_what_has_expired(redis: RedisManager, name: str) -> None:
    site = Site(redis, principal=("user_id", "role"))
    browser = await site.signed_in(user_id="alice", role="user", b=1)
    slow = await Slow(CHANGES[name]).start(browser)
    await redis.execute("PEXPIRE", browser.id.record, 0)
    await slow.finish()
    assert browser.told == []
    assert await redis.execute("KEYS", "guard:s:*") == []


async def test_a_slow_touch_does_not_bring_back_what_was_ended(redis: RedisManager) -> None:
    site = Site(redis, idle=600)
    browser = await site.signed_in(user_id="alice")
    await site.age(browser.id.record, 300)
    slow = await Slow(dict).start(tab := browser.twin())
    await browser.visit(lambda session: session.clear())
    assert (await slow.finish(), tab.told, await site.keys()) == ({"user_id": "alice"}, [], [])


async def test_a_slow_incr_or_save_into_an_ended_session_is_an_error_and_brings_nothing_back(site: Site) -> None:
    async def incr(session: Any) -> None:
        with pytest.raises(SessionDataError, match="has ended"):
            await session.incr("n")

    async def save(session: Any) -> None:
        session["a"] = 1
        with pytest.raises(SessionDataError, match="has ended"):
            await session.save()

    for act in (incr, save):
        browser = await site.signed_in(user_id="alice")
        slow = await Slow(act).start(browser.twin())
        await browser.visit(lambda session: session.clear())
        await slow.finish()
        assert await site.keys() == []


async def test_a_slow_request_never_sends_the_cookie_of_the_old_session_over_the_new_one(site: Site) -> None:
    browser = await site.signed_in(basket=1)
    slow = await Slow(put(basket=2)).start(tab := browser.twin())
    await browser.visit(put(user_id="alice"))
    await slow.finish()
    assert tab.told == []
    assert await browser.visit() == {"basket": 1, "user_id": "alice"}


async def test_a_login_stands_by_itself_where_the_anonymous_session_has_gone(site: Site) -> None:
    browser = await site.signed_in(basket=1)
    slow = await Slow(put(user_id="alice")).start(browser)
    await site.redis.execute("DEL", browser.id.record)
    await slow.finish()
    assert await browser.visit() == {"basket": 1, "user_id": "alice"}


async def test_a_second_logout_is_no_fault(site: Site) -> None:
    browser = await site.signed_in(user_id="alice")
    slow = await Slow(lambda session: session.clear()).start(tab := browser.twin())
    await browser.visit(lambda session: session.clear())
    await slow.finish()
    assert (tab.cookie, tab.response.status, await site.keys()) == (None, 200, [])


async def test_a_logout_and_a_rotation_at_once_leave_no_cookie_that_works(redis: RedisManager) -> None:
    site = Site(redis, overlap=0)
    browser = await site.signed_in(user_id="alice")
    slow = await Slow(lambda session: session.rotate()).start(tab := browser.twin())
    await browser.visit(lambda session: session.clear())
    await slow.finish()
    assert (tab.told, await tab.visit(), await site.keys()) == ([], {}, [])
