"""The feed: who holds something open under a key is told when it ends, once, also where word was missed."""

import asyncio
import logging
from math import inf

import pytest

from asgi_redis_guard.pubsub.feed import Watch
from asgi_redis_guard.pubsub.hub import Hub
from asgi_redis_guard.pubsub.messages import Gap
from asgi_redis_guard.redis.manager import RedisManager
from tests.pubsub.conftest import within


class Holder:
    """Holds something open under a key."""

    def __init__(self, key: bytes, *lives: float | Exception, topic: str = "t", fails: bool = False) -> None:
        self.told = asyncio.Event()
        self.times = 0
        self.looks: asyncio.Queue[bytes] = asyncio.Queue()
        #: What it finds when it looks, one after the other, and the last one always.
        self._lives, self._fails = [inf, *lives], fails
        self.watch = Watch(topic, key, self.ended, self.lives)

    def ended(self) -> None:
        self.times += 1
        self.told.set()
        if self._fails:
            raise LookupError

    async def lives(self, key: bytes) -> float:
        self.looks.put_nowait(key)
        found = self._lives.pop(0) if len(self._lives) > 1 else self._lives[0]
        if isinstance(found, Exception):
            raise found
        return found


async def watching(hub: Hub, *holders: Holder) -> None:
    """Let them watch, and wait until the server has confirmed."""
    for holder in holders:
        hub.feed.watch(holder.watch)
    for holder in holders:
        assert await within(holder.looks.get()) == holder.watch.key


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
    gone, alive, unknown = Holder(b"a", 0), Holder(b"b"), Holder(b"c", LookupError("away"))
    elsewhere = Holder(b"a", 0, topic="u")
    await watching(hub, gone, alive, unknown, elsewhere)
    hub.feed._hear("t", Gap("reconnected"))
    await within(gone.told.wait())
    for holder in (alive, unknown):
        await within(holder.looks.get())
    await hub.feed.tell("t", [b"a", b"b", b"c"])
    await within(unknown.told.wait())
    assert (gone.times, alive.times, unknown.times) == (1, 1, 1)
    assert elsewhere.looks.empty()


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


async def test_what_has_ended_before_word_could_come_is_found_at_the_beginning(hub: Hub) -> None:
    late = Holder(b"a")
    late._lives = [0]
    hub.feed.watch(late.watch)
    await within(late.told.wait())
    assert (late.times, repr(hub.feed).endswith("0 keys watched>")) == (1, True)


async def test_what_ends_by_its_time_is_looked_at_then(hub: Hub) -> None:
    holder, used = Holder(b"a"), Holder(b"b")
    holder._lives, used._lives = [0.01, 0], [0.01, 0.01, inf]
    hub.feed.watch(holder.watch)
    hub.feed.watch(used.watch)
    await within(holder.told.wait())
    for _ in range(3):
        await within(used.looks.get())
    assert (holder.times, used.times) == (1, 0)


async def test_an_ended_watch_looks_no_more(hub: Hub) -> None:
    holder = Holder(b"a", 0)
    await watching(hub, holder)
    holder.watch.look_in(1000, holder.ended)
    timer = holder.watch.timer
    hub.feed.unwatch(holder.watch)
    assert timer is not None
    assert (timer.cancelled(), holder.watch.timer) == (True, None)


async def test_a_key_that_moves_takes_its_watchers_with_it(hub: Hub) -> None:
    first, second, other = Holder(b"a"), Holder(b"a"), Holder(b"b")
    await watching(hub, first, second, other)
    await hub.feed.tell("t", [b"a>c"])
    await hub.feed.tell("t", [b"a", b"c>d", b"b"])
    await within(other.told.wait())
    assert (first.times, second.times, first.watch.key) == (0, 0, b"d")
    hub.feed.unwatch(second.watch)
    hub.feed._hear("t", Gap("reconnected"))
    assert await within(first.looks.get()) == b"d"
    await hub.feed.tell("t", [b"d"])
    await within(first.told.wait())
    assert (first.times, second.times) == (1, 0)
