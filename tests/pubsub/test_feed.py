"""The feed: who holds something open under a key is told when it ends, once, also where word was missed."""

import asyncio
import logging

import pytest

from asgi_redis_guard.pubsub.feed import Watch
from asgi_redis_guard.pubsub.hub import Hub
from asgi_redis_guard.pubsub.messages import Gap
from asgi_redis_guard.redis.manager import RedisManager
from tests.pubsub.conftest import within


class Holder:
    """Holds something open under a key."""

    def __init__(self, key: bytes, *, lives: bool | Exception = True, topic: str = "t", fails: bool = False) -> None:
        self.told = asyncio.Event()
        self.times = 0
        self.looked = asyncio.Event()
        self._lives, self._fails = lives, fails
        self.watch = Watch(topic, key, self.ended, self.lives)

    def ended(self) -> None:
        self.times += 1
        self.told.set()
        if self._fails:
            raise LookupError

    async def lives(self) -> bool:
        self.looked.set()
        if isinstance(self._lives, Exception):
            raise self._lives
        return self._lives


async def watching(hub: Hub, *holders: Holder) -> None:
    """Let them watch, and wait until the server has confirmed."""
    for holder in holders:
        hub.feed.watch(holder.watch)
    for listener in hub.feed._listeners.values():
        await within(listener.ready())


async def test_who_watches_a_key_is_told_once_and_nobody_else(hub: Hub) -> None:
    first, second, other, elsewhere = Holder(b"a"), Holder(b"a"), Holder(b"b"), Holder(b"a", topic="u")
    await watching(hub, first, second, other, elsewhere)
    await hub.feed.tell("t", [b"x", b"a"])
    await hub.feed.tell("t", [b"a", b"b"])
    await within(other.told.wait())
    assert (first.times, second.times, other.times, elsewhere.times) == (1, 1, 1, 0)


async def test_an_ended_watch_hears_nothing(hub: Hub) -> None:
    gone, other = Holder(b"a"), Holder(b"b")
    await watching(hub, gone, other)
    hub.feed.unwatch(gone.watch)
    hub.feed.unwatch(gone.watch)
    await hub.feed.tell("t", [b"a", b"b"])
    await within(other.told.wait())
    assert gone.times == 0


async def test_after_a_gap_every_watcher_of_the_topic_looks_for_itself(hub: Hub) -> None:
    gone, alive, unknown = Holder(b"a", lives=False), Holder(b"b"), Holder(b"c", lives=LookupError("away"))
    elsewhere = Holder(b"a", topic="u", lives=False)
    await watching(hub, gone, alive, unknown, elsewhere)
    hub.feed._hear("t", Gap("reconnected"))
    for holder in (gone.told, alive.looked, unknown.looked):
        await within(holder.wait())
    await hub.feed.tell("t", [b"a", b"b", b"c"])
    await within(unknown.told.wait())
    assert (gone.times, alive.times, unknown.times) == (1, 1, 1)
    assert not elsewhere.looked.is_set()


async def test_a_watcher_that_fails_does_not_keep_others_from_being_told(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    failing, other = Holder(b"a", fails=True), Holder(b"b")
    await watching(hub, failing, other)
    await hub.feed.tell("t", [b"a", b"b"])
    await within(other.told.wait())
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_nothing_to_tell_is_not_sent(manager: RedisManager, hub: Hub) -> None:
    await hub.feed.tell("t", [])
    assert repr(hub.feed) == "<Feed of nothing, 0 keys watched>"
