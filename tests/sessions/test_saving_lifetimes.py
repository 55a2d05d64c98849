"""How long sessions live, by the server's clock: unused, and at the longest."""

import pytest

from asgi_redis_guard import RedisManager, Session, SessionStore
from tests.middleware.calls import TestRedis
from tests.sessions.visits import Act, Site, put

DAY = 86_400


async def clock(redis: RedisManager) -> int:
    """The server's time in ms."""
    seconds, micros = await redis.execute("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def end_of(redis: RedisManager, key: bytes) -> tuple[int, int]:
    """When a key expires, in ms: between these two."""
    before = await clock(redis)
    left = await redis.execute("PTTL", key)
    return before + left - 1, await clock(redis) + left + 1


async def test_a_session_ends_to_the_second_when_it_was_not_used_for_idle(redis: RedisManager) -> None:
    site = Site(redis, idle=60, max_age=DAY)
    browser = await site.signed_in(user_id="alice")
    created, ends, idle, touched, version = await site.times(browser.id.record)
    assert (ends - created, idle, touched, version) == (DAY * 1000, 60_000, created, 1)
    earliest, latest = await end_of(redis, browser.id.record)
    assert earliest <= touched + 60_000 <= latest
    assert browser.told[0].split("; ")[1] == f"Max-Age={DAY}", "a cookie must not end before a session in use"


@pytest.mark.parametrize("act", [put(a=1), lambda session: session.incr("n")])
async def test_a_session_ends_to_the_second_at_max_age_however_much_it_is_used(redis: RedisManager, act: Act) -> None:
    site = Site(redis, idle=60, max_age=90)
    browser = await site.signed_in(user_id="alice")
    await site.age(browser.id.record, 50)
    created, ends, *_ = await site.times(browser.id.record)
    await browser.visit(act)
    assert (await site.times(browser.id.record))[:2] == (created, ends)
    earliest, latest = await end_of(redis, browser.id.record)
    assert earliest <= created + 90_000 <= latest


async def test_what_has_expired_is_not_there(redis: RedisManager) -> None:
    site = Site(redis, idle=60)
    browser = await site.signed_in(user_id="alice")
    await site.age(browser.id.record, 60)
    assert await browser.visit() == {}
    assert browser.told == []


@pytest.mark.parametrize(("seconds", "is_touched"), [(55, False), (61, True)])
async def test_reading_extends_a_session_after_a_tenth_of_idle_and_not_before(
    redis: RedisManager, seconds: int, is_touched: bool
) -> None:
    site = Site(redis, idle=600)
    browser = await site.signed_in(user_id="alice", a=1)
    await site.age(browser.id.record, seconds)
    before = await site.times(browser.id.record)
    assert await browser.visit() == {"user_id": "alice", "a": 1}
    after = await site.times(browser.id.record)
    assert (after != before) is is_touched
    assert after[:3] == before[:3]
    earliest, latest = await end_of(redis, browser.id.record)
    assert earliest <= after[3] + 600_000 <= latest
    assert browser.told == []


async def test_incr_extends_a_session_as_a_save_does_and_no_further_than_max_age(redis: RedisManager) -> None:
    site = Site(redis, idle=600, max_age=900)
    browser = await site.signed_in(user_id="alice", n=1)

    async def incr(session: Session) -> tuple[int, int]:
        await session.incr("n")
        return await end_of(redis, browser.id.record)

    for seconds in (30, 400):  # the second time less than idle is left
        await site.age(browser.id.record, seconds)
        earliest, latest = await browser.visit(incr)
        created, ends, idle, touched, _ = await site.times(browser.id.record)
        assert earliest <= min(touched + idle, ends) <= latest
        assert ends - created == 900_000


async def test_the_longest_life_is_kept_by_rotate_and_begins_anew_with_a_login(redis: RedisManager) -> None:
    site = Site(redis, idle=60, max_age=1000, principal=("user_id", "role"))
    browser = await site.signed_in(user_id="alice", role="user")
    await site.age(browser.id.record, 30)
    created, ends, *_ = await site.times(browser.id.record)
    for act in (lambda session: session.rotate(), put(role="admin"), lambda session: session.pop("user_id")):
        await browser.visit(act)
        assert (await site.times(browser.id.record))[:2] == (created, ends)
        age = int(browser.told[0].split("; ")[1].removeprefix("Max-Age="))
        assert 900 < age <= 970
    await browser.visit(put(user_id="alice"))
    renewed, ends, *_ = await site.times(browser.id.record)
    assert renewed > created + 29_000
    assert ends - renewed == 1_000_000
    assert "; Max-Age=1000;" in browser.told[0]


async def test_near_its_end_a_rotated_session_lives_no_longer_than_the_old_one(redis: RedisManager) -> None:
    site = Site(redis, idle=60, max_age=1000)
    browser = await site.signed_in(user_id="alice")
    created, _, idle, touched, version = await site.times(browser.id.record)
    soon = await clock(redis) + 20_000
    await redis.execute("HSET", browser.id.record, "m", f"{created}:{soon}:{idle}:{touched}:{version}")
    await browser.visit(lambda session: session.rotate())
    earliest, latest = await end_of(redis, browser.id.record)
    assert earliest <= soon <= latest


async def test_the_index_of_a_user_lives_as_long_as_the_longest_of_its_sessions(redis: RedisManager) -> None:
    site = Site(redis, idle=600)
    first = await site.signed_in(user_id="alice")
    await site.signed_in(user_id="alice")
    (index,) = await redis.execute("KEYS", "guard:i:*")
    await site.age(first.id.record, 300)
    await first.visit()
    touched = (await site.times(first.id.record))[3]
    assert int(await redis.execute("ZSCORE", index, first.id.handle)) == touched + 600_000
    _, latest = await end_of(redis, index)
    assert latest >= touched + 600_000


@pytest.mark.parametrize("act", [put(a=1), lambda session: session.incr("n")])
async def test_use_of_a_session_whose_index_the_server_has_dropped_makes_it_anew(redis: RedisManager, act: Act) -> None:
    site = Site(redis, idle=600)
    browser = await site.signed_in(user_id="alice")
    await redis.execute("DEL", *(await redis.execute("KEYS", "guard:[in]:*")))
    await browser.visit(act)
    store = SessionStore(redis, guard=site.guard)
    assert [info.id for info in await store.list("alice")] == [browser.id.handle.decode()]
    assert await redis.execute("PTTL", (await redis.execute("KEYS", "guard:i:*"))[0]) > 0
    assert await store.revoke_all("alice") == 1
    assert await browser.visit() == {}


async def test_a_cookie_that_is_not_persistent_has_no_age(memory: TestRedis) -> None:
    browser = await Site(memory, persistent=False).signed_in(a=1)
    attributes = browser.told[0].partition(";")[2]  # the value is random, and may well spell it
    assert "age" not in attributes.lower()
