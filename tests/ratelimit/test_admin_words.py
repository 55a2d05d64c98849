"""Words of a `RateLimitAdmin` that a process could not hear: it began later, lost its connection, or cannot read."""

import logging
from typing import Any

import pytest

from asgi_redis_guard import RateLimit, RateLimitAdmin, RedisUnavailable
from asgi_redis_guard.pubsub import feed as feeds
from tests.drive import ADDRESS
from tests.middleware.calls import TestRedis
from tests.ratelimit.processes import Process, allowed, policy, processes
from tests.redis.tools import eventually
from tests.servers import Server

CONFIGURED, CHANGED = policy('"hour";q=3;w=3600'), policy('"hour";q=7;w=3600')


def changeable() -> RateLimit:
    return RateLimit("3/hour", changeable=True)


async def test_a_process_that_starts_later_finds_the_changed_limits(backend: str) -> None:
    async with processes(backend, changeable) as (here, later):
        await RateLimitAdmin(here.guard, here.redis).change("7/hour")
        await later.becomes(CHANGED)
        assert CHANGED(await here.get()), "here they are known at once, before any request"


async def test_who_lost_its_connection_looks_for_what_was_said_meanwhile(fresh_server: Server) -> None:
    async with processes(fresh_server.url, changeable) as (here, there):
        assert CONFIGURED(await there.get())
        await there.listens()
        await here.redis.execute("HSET", b"guard:lc:ratelimit", "", "7/hour")  # and no word of it
        assert CONFIGURED(await there.get())
        fresh_server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await there.becomes(CHANGED)


async def test_who_remembers_a_refusal_and_lost_its_connection_asks_again(fresh_server: Server) -> None:
    async with processes(fresh_server.url, lambda: RateLimit("1/hour")) as (here, there):
        assert await there.statuses(2) == [200, 429]
        await there.listens()
        assert await there.statuses(1) == [429], "and remembered from here on"
        (key,) = await here.redis.execute("KEYS", "guard:l:*")
        await here.redis.execute("DEL", key)  # and no word of it
        assert await there.statuses(3) == [429] * 3
        fresh_server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await there.becomes(allowed)


async def test_a_process_that_starts_without_redis_finds_the_changes_when_that_is_there(fresh_server: Server) -> None:
    fresh_server.stop()
    async with processes(fresh_server.url, changeable, 1, timeout=0.2) as (one,):
        assert allowed(await one.get())
        fresh_server.start()
        fresh_server.command("HSET", "guard:lc:ratelimit", "", "7/hour")
        await one.becomes(CHANGED)
        follower: Any = one.redis.pubsub.feed
        await eventually(lambda: not follower._waiting)


async def test_who_could_not_look_while_redis_was_away_looks_again(
    memory: TestRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "_AGAIN", 0.001)
    await memory.execute("HSET", b"guard:lc:ratelimit", "", "7/hour")
    one = Process(memory, changeable())
    memory.away = RedisUnavailable()
    for _ in range(3):
        assert CONFIGURED(await one.get())
        await one.listens()
    memory.away = None
    await one.becomes(CHANGED)


@pytest.mark.parametrize("garbage", ["garbage", "0/hour", b"\xff\xfe", "3/hour;;;x"])
async def test_a_change_that_cannot_be_read_is_logged_once_and_changes_nothing(
    backend: str, garbage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with processes(backend, changeable, 1) as (one,):
        await one.redis.execute("HSET", b"guard:lc:ratelimit", "", garbage)
        for _ in range(3):
            assert CONFIGURED(await one.get())
            await one.listens()
            one.guard.told(b"changed:nobody we know")
            feed: Any = one.redis.pubsub.feed
            (follower,) = feed._followers["limits"].values()
            await follower.missed()
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        await RateLimitAdmin(one.guard, one.redis).change("7/hour")
        assert CHANGED(await one.get())


async def test_changes_of_rules_that_are_no_more_are_ignored(backend: str) -> None:
    async with processes(backend, changeable, 1) as (one,):
        await one.redis.execute("HSET", b"guard:lc:ratelimit", "/gone/*", "1/hour", "", "7/hour")
        await one.becomes(CHANGED)


async def test_a_guard_that_is_not_changeable_is_not_changed_by_another_of_its_group(backend: str) -> None:
    def fixed() -> RateLimit:
        return RateLimit("3/hour", group="shared")

    async with processes(backend, fixed) as (here, there):
        other = RateLimit("3/hour", group="shared", changeable=True)
        await RateLimitAdmin(other, here.redis).change("7/hour")
        await there.becomes(lambda response: response.status == 429)
        await there.listens()
        await RateLimitAdmin(other, here.redis).reset(ADDRESS)
        assert CONFIGURED(await there.becomes(allowed))


async def test_words_that_nobody_can_read_are_ignored(backend: str) -> None:
    async with processes(backend, changeable, 1) as (one,):
        await one.get()
        await one.listens()
        feed = one.redis.pubsub.feed
        for word in (
            b"",
            b"changed",
            b"changed:",
            b":::",
            b"forget:x",
            b"\xff\xfe",
            b"forget:a>b",
            b"changed:ratelimit",
        ):
            assert not one.guard.told(word)
            await feed.tell("limits", [word or b" "])
        await RateLimitAdmin(RateLimit("1/hour", changeable=True), one.redis).change("7/hour")
        await one.becomes(CHANGED)
