"""Locks of several processes in long random histories, with many who want one, while networks and the server fail."""

import asyncio
import random

import pytest

from tests.conftest import MakeServer
from tests.faults.locks import TIMEOUT, Process, held, is_free, processes, steps
from tests.locks.judging import LONG, SHORT, Caller, Judge
from tests.redis.tools import within
from tests.servers import Server

#: Seconds that a history lasts at the least, and grants after which it may end.
LASTS, GRANTS = 2.0, 60

FAULTS = ["cut", "reset_all", "drop_replies", "black_hole", "refuse", "slow", "pause", "flush", "evict", "restart"]


async def lives(caller: Caller, chance: random.Random, over: asyncio.Event) -> None:
    """Want the lock, use it and give it back, in whatever way; until all is over."""
    while not over.is_set():
        asking = asyncio.ensure_future(caller.acquire(chance.choice([0, 0.02, 0.3, 5.0])))
        if chance.random() < 0.2:
            await steps(chance.randrange(60))
            asking.cancel()
        await asyncio.wait([asking])
        if asking.cancelled() or not asking.result():
            await asyncio.sleep(chance.random() * 0.01)
            continue
        while caller.held:
            caller.write()
            deed = chance.random()
            if deed < 0.6:
                await caller.release()
            elif deed < 0.7:
                await caller.release(chance.randrange(20))
            elif deed < 0.8:
                await caller.extend(chance.choice([0.1, 0.5]), replace=chance.random() < 0.5)
            else:
                await asyncio.sleep(chance.choice([0, 0.001, 0.01, SHORT * 1.1]))


async def befalls(those: list[Process], server: Server, judge: Judge, fault: str, chance: random.Random) -> None:
    """Have one thing go wrong for a while."""
    proxy = chance.choice(those).proxy
    if fault == "slow":
        proxy.latency = 0.02
    elif fault == "cut":
        proxy.cut_after_request(b"EVALSHA")
    elif fault == "pause":
        server.pause()
    elif fault == "flush":
        judge.era += 1
        server.command("FLUSHALL")
    elif fault == "evict":
        judge.era += 1
        if keys := held(server):
            server.command("DEL", *keys)
    elif fault == "restart":
        judge.era += 1
        server.restart()
    else:
        getattr(proxy, fault)()
    await asyncio.sleep(chance.choice([0.02, 0.1, SHORT * 1.1]))
    server.resume()
    proxy.heal()


@pytest.mark.parametrize("faults", [[], FAULTS[:6], FAULTS], ids=["none", "network", "all"])
@pytest.mark.parametrize("permits", [None, 3], ids=["lock", "semaphore"])
async def test_a_history(make_server: MakeServer, permits: int | None, faults: list[str]) -> None:
    chance = random.Random(len(faults))
    server, judge, over = make_server(), Judge(permits), asyncio.Event()
    async with processes(server.url, 3, timeout=TIMEOUT) as those:
        for number in range(9):
            ttl, renew = chance.choice([(SHORT, False), (SHORT, True), (LONG, True)])
            Caller(judge, those[number % 3], ttl, renew)
        everybody = [
            asyncio.create_task(lives(caller, random.Random(chance.random()), over)) for caller in judge.callers
        ]
        ends = asyncio.get_running_loop().time() + LASTS
        while (asyncio.get_running_loop().time() < ends or len(judge.eras) < GRANTS) and not any(
            task.done() for task in everybody
        ):
            if faults:
                await befalls(those, server, judge, chance.choice(faults), chance)
            await asyncio.sleep(chance.random() * 0.1)
        over.set()
        await within(asyncio.gather(*everybody))
        for caller in judge.callers:
            if caller.held:
                await caller.release()
        await is_free(server)
