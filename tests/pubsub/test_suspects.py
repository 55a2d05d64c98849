"""Suspects: who holds something open under several keys looks for itself when one is named, and is never ended."""

import asyncio
import logging
from typing import Any

import pytest

from asgi_redis_guard.errors import OperationFailed, RedisUnavailable
from asgi_redis_guard.pubsub import suspects as module
from asgi_redis_guard.pubsub.hub import Hub
from asgi_redis_guard.pubsub.messages import Gap
from asgi_redis_guard.pubsub.suspects import Suspect, Suspects
from asgi_redis_guard.redis.manager import RedisManager
from tests.pubsub.conftest import eventually, quiet_manager, within
from tests.servers import Server


class Holder(Suspect):
    """Notes its looks, true for those that a word is the reason for; the first of them end as they are told to."""

    def __init__(self, *keys: bytes, finds: list[Exception | None] | None = None) -> None:
        super().__init__(keys, self._look)
        self.looks: asyncio.Queue[bool] = asyncio.Queue()
        self._finds = [*(finds or [])]

    async def _look(self, told: bool) -> None:
        self.looks.put_nowait(told)
        if self._finds and (error := self._finds.pop(0)) is not None:
            raise error

    async def looked(self, *told: bool) -> None:
        """Wait for these looks, and no others."""
        assert [await within(self.looks.get()) for _ in told] == list(told)
        assert self.looks.empty()


class Holds(Suspect):
    """Looks for as long as it is told to, and notes how many do so at a time."""

    def __init__(self, *keys: bytes, running: list[int]) -> None:
        super().__init__(keys, self._look)
        self.go_on, self.begun, self.times, self._running = asyncio.Event(), asyncio.Event(), 0, running

    async def _look(self, told: bool) -> None:
        self.times += 1
        self._running.append(self._running[-1] + 1)
        self.begun.set()
        await self.go_on.wait()
        await asyncio.sleep(0)
        self._running.append(self._running[-1] - 1)


async def suspected(hub: Hub, *those: Any, topic: str = "t") -> Suspects:
    """Let them be suspected, and wait until each has looked once: words reach it from now on."""
    suspects = hub.feed.suspects(topic)
    for one in those:
        suspects.add(one)
    for one in those:
        if isinstance(one, Holder):
            await one.looked(False)
    return suspects


async def test_who_is_named_by_any_of_its_keys_looks_and_stays(hub: Hub) -> None:
    first, second, other = Holder(b"a", b"mine"), Holder(b"b", b"mine"), Holder(b"c")
    elsewhere = Holder(b"a")
    await suspected(hub, first, second, other)
    await suspected(hub, elsewhere, topic="u")
    await hub.feed.tell("t", [b"a", b"x"])
    await first.looked(True)
    await hub.feed.tell("t", [b"mine"])
    await first.looked(True)
    await second.looked(True)
    await hub.feed.tell("t", [b"c"])
    await other.looked(True)
    assert first.looks.empty()
    assert elsewhere.looks.empty()


async def test_several_words_at_once_are_one_reason(hub: Hub) -> None:
    one, last = Holder(b"a", b"b", b"c"), Holder(b"z")
    await suspected(hub, one, last)
    await hub.feed.tell("t", [b"a", b"b", b"a", b"c", b"z"])
    await last.looked(True)
    await one.looked(True)


async def test_a_word_that_comes_during_a_look_has_it_repeated(hub: Hub) -> None:
    one, running = Holder(b"z"), [0]
    holds = Holds(b"a", running=running)
    await suspected(hub, one, holds)
    await within(holds.begun.wait())
    holds.begun.clear()
    suspects = hub.feed.suspects("t")
    suspects.told(b"a")
    suspects.told(b"a")
    holds.go_on.set()
    await within(holds.begun.wait())
    await hub.feed.tell("t", [b"z"])
    await one.looked(True)
    assert (holds.times, max(running)) == (2, 1), "never twice at a time"


async def test_however_many_are_named_a_bounded_number_looks_at_a_time(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 5)
    running = [0]
    those = [Holds(b"a", b"%d" % number, running=running) for number in range(23)]
    for one in those:
        one.go_on.set()
    suspects = await suspected(hub, *those)
    await eventually(lambda: [one.times for one in those] == [1] * 23 and not suspects._working)
    await hub.feed.tell("t", [b"a"])
    await eventually(lambda: [one.times for one in those] == [2] * 23 and not suspects._working)
    assert (max(running), running[-1]) == (5, 0)


async def test_who_is_suspected_no_more_does_not_look_and_leaves_nothing(hub: Hub) -> None:
    gone, there = Holder(b"a", b"mine"), Holder(b"b", b"mine")
    suspects = await suspected(hub, gone, there)
    suspects.discard(gone)
    suspects.discard(gone)
    suspects.look(gone)
    await hub.feed.tell("t", [b"a", b"mine"])
    await there.looked(True)
    assert gone.looks.empty()
    assert repr(hub.feed) == "<Feed of t, 2 keys watched>"
    suspects.discard(there)
    assert repr(suspects) == "<Suspects: 0 under 0 keys>"


async def test_who_comes_when_words_are_heard_already_looks_at_once(hub: Hub) -> None:
    first, second = Holder(b"a"), Holder(b"b")
    suspects = await suspected(hub, first)
    suspects.add(second)
    await second.looked(False)
    assert first.looks.empty()


async def test_who_is_suspected_no_more_before_its_turn_does_not_look(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    first, gone, last = Holder(b"a"), Holder(b"b"), Holder(b"c")
    suspects = await suspected(hub, first, gone, last)
    await eventually(lambda: not suspects._working)
    for one in (first, gone, last):
        suspects.look(one)
    await first.looked(False)
    suspects.discard(gone)
    await last.looked(False)
    assert gone.looks.empty()


async def test_after_a_gap_and_when_it_is_asked_to_everybody_looks_without_a_word(hub: Hub) -> None:
    first, second = Holder(b"a"), Holder(b"b")
    suspects = await suspected(hub, first, second)
    hub.feed._hear("t", Gap("reconnected"))
    await first.looked(False)
    await second.looked(False)
    suspects.look(first)
    await first.looked(False)
    assert second.looks.empty()


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("error", [RedisUnavailable(), OperationFailed("WRONGTYPE")])
async def test_who_could_not_be_told_looks_again_until_it_can(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, error: Exception, told: bool
) -> None:
    monkeypatch.setattr(module, "_AGAIN", 0.001)
    holder = Holder(b"a", finds=[None, error, error])
    suspects = await suspected(hub, holder)
    if told:
        await hub.feed.tell("t", [b"a"])
    else:
        suspects.look(holder)
    await holder.looked(told, told, told)
    assert suspects._later == {}


async def test_while_redis_is_away_those_wait_who_were_not_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    away = RedisUnavailable()
    first, second, named = Holder(b"a", finds=[None, away]), Holder(b"b"), Holder(b"c")
    suspects = await suspected(hub, first, second, named)
    await eventually(lambda: not suspects._working)
    suspects.look(first)
    suspects.look(second)
    await first.looked(False)
    await eventually(lambda: not suspects._working)
    assert second.looks.empty()
    suspects.told(b"c")
    await named.looked(True)
    monkeypatch.setattr(module, "_AGAIN", 0)
    suspects._again()
    await second.looked(False)
    await first.looked(False)


async def test_a_key_that_fails_by_itself_keeps_nobody_else_waiting(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    monkeypatch.setattr(module, "_AGAIN", 3600)
    spoiled, other = Holder(b"a", finds=[None, OperationFailed("WRONGTYPE")]), Holder(b"b")
    suspects = await suspected(hub, spoiled, other)
    await eventually(lambda: not suspects._working)
    suspects.look(spoiled)
    suspects.look(other)
    await spoiled.looked(False)
    await other.looked(False)
    assert [*suspects._later] == [spoiled]


async def test_who_leaves_while_redis_is_away_is_forgotten_and_the_rest_looks_later(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 1)
    monkeypatch.setattr(module, "_AGAIN", 0.001)
    away, leaves = asyncio.Event(), asyncio.Event()

    async def look(told: bool) -> None:
        if not away.is_set():
            return
        leaves.set()
        suspects.discard(gone)
        raise RedisUnavailable

    gone, other = Suspect([b"a"], look), Holder(b"b")
    suspects = await suspected(hub, gone, other)
    await eventually(lambda: not suspects._working)
    away.set()
    suspects.look(gone)
    suspects.look(other)
    await within(leaves.wait())
    await other.looked(False)
    assert (suspects._later, suspects._due, len(suspects)) == ({}, {}, 1)


async def test_who_fails_hurts_nobody_and_is_not_asked_again(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    failing, other = Holder(b"a", finds=[None, LookupError("a")]), Holder(b"a")
    suspects = await suspected(hub, failing, other)
    await hub.feed.tell("t", [b"a"])
    await other.looked(True)
    await failing.looked(True)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert suspects._later == {}


async def test_a_closed_hub_lets_nobody_look(manager: RedisManager) -> None:
    holder = Holder(b"a", finds=[None, RedisUnavailable()])
    suspects = await suspected(manager.pubsub, holder)
    suspects.look(holder)
    await holder.looked(False)
    await eventually(lambda: not suspects._working)
    timer = suspects._timer
    assert timer is not None
    await manager.aclose()
    suspects.look(holder)
    assert (timer.cancelled(), suspects._timer, len(suspects)) == (True, None, 0)
    assert holder.looks.empty()


async def test_who_is_suspected_before_the_server_is_there_looks_when_it_is(fresh_server: Server) -> None:
    fresh_server.stop()
    manager = quiet_manager(fresh_server.url, timeout=0.1)
    try:
        holder = Holder(b"a")
        manager.pubsub.feed.suspects("t").add(holder)
        await holder.looked(False)
        fresh_server.start()
        await holder.looked(False)
        fresh_server.command("PUBLISH", "guard:t", "a")
        await holder.looked(True)
    finally:
        await manager.aclose()
