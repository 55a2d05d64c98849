"""Records that cannot be read: kept, reported, and an outage for those whose they are."""

import logging

import pytest

from asgi_redis_guard import GuardMiddleware, RedisManager
from asgi_redis_guard.testing import ManualClock
from tests.middleware.calls import TestRedis
from tests.sessions.visits import Site, app, put

BROKEN = {
    "no JSON": (".a", "{"),
    "a tag of another release": (".a", '{"$later":1}'),
    "a tag with another value": (".a", '{"$t":5}'),
    "a name that is no text": (b".\xff", "1"),
    "times that are none": ("m", "1:2:3:x:5"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_cannot_be_read_is_kept_and_answered_503(
    redis: RedisManager, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(redis)
    browser = await site.signed_in(user_id="alice", a=1)
    await redis.execute("HSET", browser.id.record, *BROKEN[name])
    before = await site.fields(browser.id.record)
    for act in (dict, put(a=2), lambda session: session.clear()):
        assert await browser.visit(act) is None
        assert browser.response.status == 503
        assert int(browser.response["retry-after"]) >= 1
    assert (await site.fields(browser.id.record), browser.told) == (before, [])
    assert [record.levelno for record in caplog.records] == [logging.ERROR], "one line for all of them"
    assert browser.id.handle.decode() in caplog.text


async def test_where_it_can_be_read_again_it_is_there_again(site: Site) -> None:
    browser = await site.signed_in(user_id="alice", a=1)
    await site.redis.execute("HSET", browser.id.record, ".a", "{")
    await browser.visit()
    await site.redis.execute("HSET", browser.id.record, ".a", "2")
    assert await browser.visit() == {"user_id": "alice", "a": 2}


async def test_where_outages_are_anonymous_so_is_what_cannot_be_read(redis: RedisManager) -> None:
    site = Site(redis, on_outage="anonymous")
    browser = await site.signed_in(a=1)
    old = browser.id.record
    await redis.execute("HSET", old, ".a", "{")
    assert await browser.visit() == {}
    for act in (put(a=2), lambda session: session.clear()):  # whoever can read it may be the next process that is asked
        await browser.visit(act)
        assert (browser.response.status, browser.told) == (503, [])
    await browser.visit(put(user_id="bob"))
    assert await browser.visit() == {"user_id": "bob"}
    assert (await site.fields(old))[b".a"] == b"{"


async def test_a_row_of_them_is_reported_once_and_the_next_row_again(
    memory: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    site = Site(memory)
    site.stack = GuardMiddleware(app, [site.guard], redis=memory, clock=clock)
    browser, other = await site.signed_in(a=1), await site.signed_in(a=1)
    await memory.execute("HSET", browser.id.record, ".a", "{")
    for now, lines in ((1_000.0, 1), (1_050.0, 1), (1_100.0, 1), (1_161.0, 2), (1_162.0, 2)):
        clock.set(now)
        await browser.visit()
        await other.visit()
        assert len(caplog.records) == lines


async def test_a_key_of_another_type_is_an_outage_of_that_session_alone(site: Site) -> None:
    browser, other = await site.signed_in(a=1), await site.signed_in(a=2)
    await site.redis.execute("SET", browser.id.record, "text", "EX", 60)
    await browser.visit()
    assert browser.response.status == 503
    assert await site.redis.execute("GET", browser.id.record) == b"text"
    assert await other.visit() == {"a": 2}


async def test_a_record_without_its_times_is_no_session_and_is_not_completed(site: Site) -> None:
    browser = await site.signed_in(a=1)
    await site.redis.execute("HDEL", browser.id.record, "m")
    broken, before = browser.id.record, await site.fields(browser.id.record)
    assert await browser.visit() == {}
    await browser.visit(put(b=1))
    assert (await site.fields(broken), await browser.visit()) == (before, {"b": 1})


async def test_neither_ids_nor_values_are_in_reprs_and_logs(
    memory: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site = Site(memory, max_size=256)
    browser = await site.signed_in(user_id="alice", password="hunter2")
    assert browser.cookie is not None
    shown = await browser.visit(lambda session: f"{session!r} {session} {session.keeper!r} {session.record!r}")
    shown += repr(browser.id) + str(browser.id) + repr(site.guard) + repr(site.stack)
    await browser.visit(put(card="4111" * 100))
    await browser.visit(put(card=object()))
    await browser.visit(lambda session: session.clear())
    for secret in (browser.cookie, browser.twin().cookie, "hunter2", "alice", "4111"):
        assert secret is None or secret not in shown + caplog.text
