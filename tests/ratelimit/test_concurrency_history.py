"""A `ConcurrencyLimit` over random histories: what is held is what runs, and nothing leaks."""

import asyncio
import random
from typing import Any

import pytest

from asgi_redis_guard import (
    RedisUnavailable,
)
from asgi_redis_guard.core.keys import Keys, digest
from asgi_redis_guard.core.script import Batch, Operation, place_of
from asgi_redis_guard.ratelimit.concurrency import TAKE, ConcurrencyLimit
from asgi_redis_guard.redis.program import program_of
from tests.middleware.calls import GONE, Call, TestRedis, http, responding, settled
from tests.ratelimit.gates import TOO_MANY, fails, leaves, stack


@pytest.mark.parametrize("seed", range(12))
async def test_over_random_histories_what_is_held_is_what_runs(memory: TestRedis, seed: int) -> None:
    """The model: units by identity. Requests begin, end in every way, are cut off, and Redis comes and goes.

    What was released while Redis was away, and what a process that died left behind, stays until its ttl.
    """
    dice = random.Random(seed)
    amount = 4
    limit = ConcurrencyLimit(amount, cost=lambda exchange: int(exchange.header(b"cost") or b"1"), ttl=600)
    story = Story(memory, stack(Turns(), memory, limit))
    for _ in range(150):
        action = dice.choice(["begin"] * 4 + ["finish", "fail", "cancel", "leave", "die", "outage"])
        if action == "begin":
            await story.begin(dice.randrange(3), dice.choice([1, 1, 2, 3]), amount)
        elif action == "die" and dice.random() < 0.2:
            await story.die(dice.randrange(3), amount)
        elif action == "outage":
            memory.away = None if memory.away else RedisUnavailable("away") if dice.random() < 0.3 else None
        elif story.running and action != "die":
            await story.end(dice.randrange(len(story.running)), action)
        await settled(memory)
        assert {who: units for who, units in story.local.items() if units} == {
            who: limit._local[identity(who)] for who in range(3) if identity(who) in limit._local
        }
        for who in range(3):
            assert await story.units(who) == story.redis_units[who]
    for _ in [*story.running]:
        await story.end(0, "finish")
    await settled(memory)
    assert limit._local == {}
    assert len(memory.leases) == 0
    assert [await story.units(who) for who in range(3)] == story.left_behind
    assert story.outcomes == {200, TOO_MANY}


def identity(who: int) -> bytes:
    return digest("address", f"203.0.113.{who}")


class Turns:
    """An app that ends as its request says when it is told."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["arrived"].set()
        await scope["go_on"].wait()
        await {"fail": fails, "leave": leaves}.get(scope["how"][0], responding())(scope, receive, send)


class Story:
    """What the model knows: who runs, counted where, and what nobody gives back any more."""

    def __init__(self, memory: TestRedis, app: Any) -> None:
        self.memory, self.app = memory, app
        self.running: list[tuple[Call, int, int, str]] = []
        self.redis_units, self.left_behind = [0] * 3, [0] * 3
        self.local = {0: 0, 1: 0, 2: 0}
        self.outcomes: set[int] = set()
        self.dead = 0

    async def units(self, who: int) -> int:
        units: int = await self.memory.execute("ZCARD", Keys().concurrency(b"default", identity(who)))
        return units

    async def begin(self, who: int, cost: int, amount: int) -> None:
        where = "local" if self.memory.away else "redis"
        used = self.local[who] if self.memory.away else self.redis_units[who]
        scope = http(client=(f"203.0.113.{who}", 1), headers=[(b"cost", b"%d" % cost)])
        scope |= {"arrived": asyncio.Event(), "go_on": asyncio.Event(), "how": []}
        call = Call(self.app, scope).start()
        arrived = asyncio.ensure_future(scope["arrived"].wait())
        await asyncio.wait([arrived, call.task], return_when=asyncio.FIRST_COMPLETED)
        arrived.cancel()
        if used + cost > amount:
            assert call.status == TOO_MANY
            self.outcomes.add(TOO_MANY)
            return
        assert scope["arrived"].is_set()
        self.running.append((call, who, cost, where))
        if where == "local":
            self.local[who] += cost
        else:
            self.redis_units[who] += cost

    async def end(self, place: int, how: str) -> None:
        call, who, cost, where = self.running.pop(place)
        call.scope["how"].append(how)
        call.feed(GONE)
        if how == "cancel":
            call.task.cancel()
        call.scope["go_on"].set()
        await asyncio.wait([call.task])
        if how == "finish":
            self.outcomes.add(call.status)
        if not call.task.cancelled():
            call.task.exception()
        if where == "local":
            self.local[who] -= cost
        elif self.memory.away:
            self.left_behind[who] += cost
        else:
            self.redis_units[who] -= cost

    async def die(self, who: int, amount: int) -> None:
        """Another process takes a place and is never heard of again."""
        if self.memory.away or self.redis_units[who] >= amount:
            return
        self.dead += 1
        key = Keys().concurrency(b"default", identity(who))
        taken = Operation(TAKE, (key,), (amount, 600_000_000, 1, f"dead-{self.dead}"))
        await self.memory.evaluate(program_of((place_of(False, (TAKE,)),)), [Batch((taken,))])
        self.redis_units[who] += 1
        self.left_behind[who] += 1
