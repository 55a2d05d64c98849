"""The first level: what is sent without asking Redis, and what ends that."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.cache import level
from asgi_redis_guard.cache.level import FirstLevel
from asgi_redis_guard.cache.operations import TOPIC, invalidate_tags
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.core.script import Reply
from asgi_redis_guard.testing import RoundTripCounter
from tests.cache.site import Page, Site, routes, site, writing
from tests.redis.tools import PATIENCE, eventually

RESOURCE, TAG, OTHER = b"r" * 20, b"t" * 20, b"o" * 20
START = 1_700_000_000_000_000


def answer(fresh_until: int = START + 100_000_000) -> Any:
    """An answer that could be sent again."""
    entry = SimpleNamespace(fresh_until=fresh_until)
    return SimpleNamespace(confirmed=None, digests=(TAG,), place=SimpleNamespace(resource=RESOURCE), entry=entry)


def word(kind: bytes, digest: bytes, at: int) -> bytes:
    return b"%b%b%016d" % (kind, digest, at)


def test_what_was_confirmed_is_sent_for_the_time_that_was_asked_for_and_no_longer_than_it_is_fresh() -> None:
    first, hot = FirstLevel(5.0), answer()
    assert first.clock_for(hot, 10.0) is None
    first.confirm(hot, START, 10.0)
    assert first.clock_for(hot, 12.0) == START + 2_000_000
    assert first.clock_for(hot, 15.0) is None
    assert first.clock_for(hot, 9.0) is None, "the clock was set back"
    short = answer(START + 1_000_000)
    first.confirm(short, START, 10.0)
    assert first.clock_for(short, 10.5) is not None
    assert first.clock_for(short, 11.0) is None


@pytest.mark.parametrize("named", [word(b"t", TAG, START + 1), word(b"r", RESOURCE, START + 1)])
def test_word_of_an_invalidation_ends_it_whether_it_comes_before_the_reply_or_after(named: bytes) -> None:
    first, hot = FirstLevel(5.0), answer()
    first.confirm(hot, START, 10.0)
    first.told(named)
    assert first.clock_for(hot, 10.1) is None
    first.confirm(hot, START, 10.2)  # a reply that was made before the invalidation, and is read after the word
    assert first.clock_for(hot, 10.3) is None
    first.confirm(hot, START + 2, 10.4)
    assert first.clock_for(hot, 10.5) is not None


@pytest.mark.parametrize(
    "other", [word(b"t", OTHER, START + 1), word(b"f", RESOURCE, START + 1), b"t" + TAG, b"", b"t" + TAG + b"x" * 16]
)
def test_other_words_change_nothing(other: bytes) -> None:
    first, hot = FirstLevel(5.0), answer()
    first.confirm(hot, START, 10.0)
    first.told(other)
    assert first.clock_for(hot, 10.1) is not None


def test_words_that_are_forgotten_count_for_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(level, "_MOST_WORDS", 2)
    first, hot = FirstLevel(5.0), answer()
    first.confirm(hot, START, 10.0)
    for number in range(3):
        first.told(word(b"t", b"%020d" % number, START + number + 1))
    assert first.clock_for(hot, 10.1) is None


def test_after_a_gap_nothing_counts_that_was_confirmed_before() -> None:
    first, hot = FirstLevel(5.0), answer()
    first.confirm(hot, START, 10.0)
    first.start_over()
    assert first.clock_for(hot, 10.1) is None


async def hearing(one: Site) -> None:
    """Wait until the process hears of invalidations, and has an answer that was confirmed."""
    await one.get("/page")
    await eventually(lambda: one.redis.pubsub.feed.hears(TOPIC))
    await one.get("/page")
    await one.get("/page")


async def test_a_hit_from_the_first_level_asks_nothing(redis_url: str) -> None:
    page = Page()
    async with RoundTripCounter(redis_url) as counter, site(routes(page=page), counter.url, memory_ttl=60) as here:
        await hearing(here)
        counter.reset()
        for _ in range(5):
            response = await here.get("/page")
            assert (response.body, response["cache-status"].partition(";")[2][:4]) == (b"page 1", " hit")
        assert b"EVALSHA" not in counter.commands
        assert [event.reason for event in here.events[-5:]] == ["memory"] * 5


async def test_it_is_off_unless_it_is_asked_for(redis_url: str) -> None:
    async with site(routes(page=Page()), redis_url) as here:
        for _ in range(4):
            await here.get("/page")
        assert not here.redis.pubsub.feed.hears(TOPIC)
        assert "memory" not in [event.reason for event in here.events]


@pytest.mark.parametrize("write", ["/tag", "/page"])
async def test_what_another_process_invalidates_is_not_sent_again(backend: str, write: str) -> None:
    page = Page(tags=("a",))
    app = routes(page=page, tag=writing("a"))

    async def either(scope: Any, receive: Any, send: Any) -> None:
        await (
            writing()(scope, receive, send)
            if scope["method"] == "POST" and write == "/page"
            else app(scope, receive, send)
        )

    async with RedisManager(backend, timeout=PATIENCE) as redis:
        one, other = (Site(either, redis, memory_ttl=60) for _ in range(2))
        await hearing(one)
        assert one.events[-1].reason == "memory"
        await other.post(write)
        await eventually(lambda: len(one.guard.level._words) > 0)
        assert (await one.get("/page")).body == b"page 2"
        assert page.runs == 2


async def test_while_the_feed_is_not_heard_redis_is_asked(redis_url: str) -> None:
    async with site(routes(page=Page()), redis_url, memory_ttl=60) as here:
        await hearing(here)
        here.redis.pubsub.feed._listeners[TOPIC].stop()
        await eventually(lambda: not here.redis.pubsub.feed.hears(TOPIC))
        await here.get("/page")
        assert (here.events[-1].outcome, here.events[-1].reason) == ("hit", "")


async def test_ten_requests_at_once_are_all_answered_from_it(redis_url: str) -> None:
    page = Page()
    async with site(routes(page=page), redis_url, memory_ttl=60) as here:
        await hearing(here)
        responses = await asyncio.gather(*(here.get("/page") for _ in range(10)))
        assert {response.body for response in responses} == {b"page 1"}
        assert page.runs == 1


def test_who_has_not_heard_of_a_word_is_behind() -> None:
    first, digest, other = FirstLevel(0.0, replicas=True), b"d" * 20, b"o" * 20
    assert not first.is_behind([(digest, b"%016d.%016d" % (5, 5)), (other, b"")])
    first.told(b"t" + digest + b"%016d" % 10)
    assert first.is_behind([(other, b""), (digest, b"%016d.%016d" % (9, 9))])
    assert first.is_behind([(digest, b"")])
    assert not first.is_behind([(digest, b"%016d.%016d" % (10, 3))])
    assert not first.is_behind([(digest, b"%016d.%016d" % (3, 11))])
    assert not first.is_behind([(other, b"%016d.%016d" % (1, 1))])


def test_what_was_invalidated_here_is_noted_only_for_the_sake_of_replicas() -> None:
    operations = invalidate_tags(Keys(), ["one"])
    replies = [Reply(True, True, (clock,)) for clock in (7, 8)]
    digest = operations[1].keys[0][-20:]
    for replicas in (True, False):
        first = FirstLevel(0.0, replicas=replicas)
        first.told_of(operations, replies)
        assert first.is_behind([(digest, b"%016d.%016d" % (7, 7))]) is replicas
        assert not first.is_behind([(digest, b"%016d.%016d" % (8, 8))])
