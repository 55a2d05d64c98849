"""Records of incarnations: over random histories of writes, losses and repairs, processes agree on what is missing."""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.redis import loss_watch
from asgi_redis_guard.redis.incarnation import Records, anchors
from asgi_redis_guard.redis.losses import Losses
from asgi_redis_guard.redis.slots import SLOTS, Place, Shard, SlotMap, slot_of
from tests.conftest import MakeServer
from tests.redis.tools import PATIENCE, eventually, server_ms, within

LIFE = 3_600_000


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look only when the test does."""
    monkeypatch.setattr(loss_watch, "_BEAT", 3600.0)
    monkeypatch.setattr(loss_watch, "_BEAT_LOST", 3600.0)


async def server_us(manager: RedisManager) -> int:
    """The time of the server in microseconds."""
    return round(await server_ms(manager) * 1000)


class History:
    """Some processes on one server, and what was written there: when, and whether it is there still."""

    def __init__(self, managers: list[RedisManager], dice: random.Random) -> None:
        self.managers, self.dice = managers, dice
        self.written: dict[int, bool] = {}

    @property
    def anyone(self) -> RedisManager:
        return self.dice.choice(self.managers)

    @property
    def missing(self) -> list[int]:
        return [at for at, is_there in self.written.items() if not is_there]

    async def write(self) -> None:
        manager = self.anyone
        await manager.links.losses.ensure(LIFE)
        is_there = False
        while not is_there:
            before = manager.links.losses.incarnations()
            name = await manager.execute("HGET", manager.links.losses.record, "id")
            at = await server_us(manager)
            is_there = await manager.links.losses.is_there(before, name or b"", at)
        self.written[at] = True

    async def look(self) -> None:
        await self.anyone.links.losses.look()

    async def lose(self) -> None:
        await self.anyone.execute("FLUSHALL")
        self.written = dict.fromkeys(self.written, False)

    async def give_back(self, earlier: int | None = None) -> None:
        """As a mirror does that knows everything up to some time, now or an earlier one."""
        manager = self.anyone
        upto = await server_us(manager) - (self.dice.choice([0, 0, 20_000]) if earlier is None else earlier)
        found = await manager.links.losses.look()
        lost = {key: name for key, (name, is_lost) in found.items() if is_lost}
        if lost:
            for at in self.written:
                if at <= upto:
                    self.written[at] = True
            await manager.links.losses.mend(lost, upto)

    async def accept(self) -> None:
        if await self.anyone.accept_loss():
            self.written = dict.fromkeys(self.written, True)

    async def settle(self) -> None:
        """Everybody looks, and hears what the others have found."""
        for _ in range(2):
            await asyncio.gather(*(manager.links.losses.look() for manager in self.managers))

    async def check(self) -> None:
        """All agree; what is missing is told, and where nothing is, that can be mended.

        Who writes to a server that has lost its data, and has not looked since, may hold what it wrote for lost.
        """
        await self.settle()
        told = {manager.links.losses.lost for manager in self.managers}
        assert len(told) == 1, "all agree"
        if self.missing:
            assert told == {True}, f"{self.missing} are missing, and nobody says so"
        elif told == {True}:
            await self.give_back(earlier=0)
            await self.settle()
            assert not any(manager.links.losses.lost for manager in self.managers)


@pytest.mark.usefixtures("seldom")
@pytest.mark.parametrize("seed", range(8))
async def test_what_is_missing_is_known_to_all_whatever_happened(redis_url: str, seed: int) -> None:
    dice = random.Random(seed)
    async with AsyncExitStack() as stack:
        managers = [
            await stack.enter_async_context(RedisManager(redis_url, timeout=PATIENCE))
            for _ in range(dice.choice([2, 3]))
        ]
        history = History(managers, dice)
        steps = [history.write, history.write, history.look, history.look, history.lose, history.give_back]
        for _ in range(60):
            await dice.choice([*steps, history.accept] if dice.random() < 0.3 else steps)()
            await asyncio.sleep(0.002)  # times are told in ms
            if dice.random() < 0.3:
                await history.check()
        await history.check()


@pytest.mark.usefixtures("seldom")
async def test_what_is_lost_again_while_it_is_given_back_is_missing(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        here = redis.links.losses
        await here.ensure(LIFE)
        await redis.execute("FLUSHALL")
        lost = {key: name for key, (name, is_lost) in (await here.look()).items() if is_lost}
        await redis.execute("FLUSHALL")
        await here.mend(lost, await server_us(redis))
        assert here.lost


@pytest.mark.usefixtures("seldom")
async def test_what_is_lost_again_and_again_is_told_once(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as manager:
        losses = manager.links.losses
        losses.heed()
        await losses.ensure(LIFE)
        for _ in range(2):
            for _ in range(3):
                await manager.execute("FLUSHALL")
                await losses.look()
                assert losses.lost
            await manager.accept_loss()
            assert not losses.lost
        lines = ["lost" if "has lost its data" in line else "whole" for line in caplog.messages]
        assert lines == ["lost", "whole"] * 2


@pytest.mark.usefixtures("seldom")
async def test_who_knows_of_something_newer_than_what_was_given_back_says_so(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as one, RedisManager(redis_url, timeout=PATIENCE) as late:
        await one.links.losses.ensure(LIFE)
        await late.links.losses.ensure(LIFE)
        upto = await server_us(one)
        known = late.links.losses.incarnations()
        assert await late.links.losses.is_there(known, known[late.links.losses.record], upto + 1)
        await one.execute("FLUSHALL")
        found = await one.links.losses.look()
        await one.links.losses.mend({key: name for key, (name, _) in found.items()}, upto)
        assert not one.links.losses.lost
        await late.links.losses.look()
        await one.links.losses.look()
        assert one.links.losses.lost
        assert late.links.losses.lost


@pytest.mark.usefixtures("seldom")
async def test_it_costs_nothing_while_the_record_lasts_long_enough(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        here = redis.links.losses
        await here.ensure(LIFE)
        asked = here._number
        for _ in range(100):
            await here.ensure(LIFE)
            await here.ensure(0, int(await server_ms(redis)) + LIFE)
        assert here._number == asked
        await here.ensure(LIFE * 3)
        assert here._number == asked + 1
        assert await redis.execute("PTTL", redis.keys.incarnation(0)) > LIFE * 3


@pytest.mark.usefixtures("seldom")
@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_full_memory_keeps_nobody_from_noticing(make_server: MakeServer, kind: str) -> None:
    server = make_server(kind, maxmemory_policy="noeviction")
    async with RedisManager(server.url, timeout=PATIENCE) as redis:
        here = redis.links.losses
        await here.ensure(LIFE)
        server.command("FLUSHALL")
        server.command("CONFIG", "SET", "maxmemory", 1)
        await here.look()
        assert here.lost
        async with RedisManager(server.url, timeout=PATIENCE) as other:
            await other.links.losses.look()
            assert other.links.losses.lost
            assert await other.accept_loss()
        await here.look()
        assert not here.lost


@pytest.mark.usefixtures("seldom")
async def test_a_loss_that_cannot_be_written_down_is_known_all_the_same(make_server: MakeServer) -> None:
    """As where the disk is full: the server serves, and refuses writes."""
    server = make_server(min_replicas_to_write=0)
    async with RedisManager(server.url, timeout=PATIENCE) as redis:
        here = redis.links.losses
        await here.ensure(LIFE)
        server.command("FLUSHALL")
        server.command("CONFIG", "SET", "min-replicas-to-write", 1)
        await here.look()
        assert here.lost
        assert await redis.execute("EXISTS", redis.keys.incarnation(0)) == 0
        server.command("CONFIG", "SET", "min-replicas-to-write", 0)
        await here.look()
        assert here.lost
        assert await redis.execute("EXISTS", redis.keys.incarnation(0)) == 1


async def test_an_account_that_may_not_look_is_told_of(make_server: MakeServer) -> None:
    server = make_server()
    server.command("ACL", "SETUSER", "some", "on", ">pw", "~other:*", "&*", "+@all")
    async with RedisManager(f"unix://some:pw@{server.path}", timeout=PATIENCE) as redis:
        redis.links.losses.heed()
        await eventually(lambda: redis.links.losses.warnings())
        assert "may not look" in (await redis.health())["warnings"]["losses_unseen"]


async def test_nothing_looks_after_the_end(redis_url: str) -> None:
    manager = RedisManager(redis_url, timeout=PATIENCE)
    here: Losses = manager.links.losses
    await within(here.look())
    await manager.aclose()
    assert here._timer is not None
    assert here._timer.cancelled()
    here.heed()
    assert here._timer.cancelled()


def test_an_older_look_undoes_nothing() -> None:
    records = Records()
    records.judge(b"k", 1, [b"one", 9_000, 0, 1_000, 1, 0, 0, 0], 0.0)
    assert records.judge(b"k", 3, [b"two", 9_000, 9_000, 1_000, 1, 0, 0, 0], 0.0)
    assert not records.judge(b"k", 2, [b"one", 9_000, 0, 1_000, 1, 0, 0, 0], 0.0)
    assert records.missing[b"k"].id == b"two"


def shared_by(primaries: int) -> SlotMap:
    """A map in which so many primaries share the slots evenly."""
    ends = [SLOTS * number // primaries for number in range(primaries + 1)]
    return SlotMap((ends[port], ends[port + 1] - 1, Shard(Place("h", port))) for port in range(primaries))


def test_every_primary_has_a_record_of_its_own() -> None:
    slots = shared_by(100)
    found = anchors(Keys(), slots)
    assert set(found) == set(slots.primaries)
    assert all(slots[slot_of(key)] == Shard(place) for place, key in found.items() if place is not None)


def test_a_prefix_with_a_tag_has_one_record() -> None:
    assert list(anchors(Keys("{app}:"), shared_by(3)).values()) == [b"{app}:inc:{0}"]
