"""Requests for one locked route in long random histories, in several processes whose networks fail."""

import asyncio
import random
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, RouteLock
from tests.conftest import MakeServer
from tests.drive import call, http_scope
from tests.faults.locks import TIMEOUT, is_free, nothing_is_left_of, processes, steps
from tests.locks.judging import Judge
from tests.locks.test_lock_histories import FAULTS, LASTS, befalls
from tests.redis.tools import within

#: Runs after which a history may end.
RUNS = 40

#: Seconds of a lease, which runs out where a network is away for long.
TTL = 0.5


class Import:
    """What must not run twice at a time, and writes with its fence."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.running = 0
        self.fences: list[int] = []
        self.wrong: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.running:
            self.wrong.append("two run at a time")
        if self.fences and scope["lock"].fence <= self.fences[-1]:
            self.wrong.append("a later one has a lower fence")
        self.fences.append(scope["lock"].fence)
        self.running += 1
        try:
            await asyncio.sleep(self.chance.choice([*[0, 0, 0.005, 0.1] * 3, TTL * 1.5]))
            if self.chance.random() < 0.1:
                raise ValueError("it has failed")
        finally:
            self.running -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


async def asks(app: Any, chance: random.Random, over: asyncio.Event, statuses: list[int]) -> None:
    """Send one request after another; some are cancelled by their server."""
    while not over.is_set():
        sending = asyncio.ensure_future(call(app, http_scope("/import", [], method="POST")))
        if chance.random() < 0.15:
            await steps(chance.randrange(100))
            sending.cancel()
        await asyncio.wait([sending])
        if not sending.cancelled() and sending.exception() is None:
            statuses.append(sending.result().status)
        await asyncio.sleep(chance.random() * 0.02)


@pytest.mark.parametrize("seed", range(2))
async def test_no_two_run_at_a_time_whatever_fails(make_server: MakeServer, seed: int) -> None:
    chance, over = random.Random(seed), asyncio.Event()
    server, work, statuses = make_server(), Import(random.Random(seed)), list[int]()
    async with processes(server.url, 3, timeout=TIMEOUT) as those:
        apps = [
            GuardMiddleware(work, [RouteLock("import", ttl=TTL, wait=wait)], redis=process.redis)
            for process, wait in zip(those, (0, 0.3, 2), strict=True)
        ]
        clients = [
            asyncio.create_task(asks(apps[number % 3], random.Random(seed + number), over, statuses))
            for number in range(9)
        ]
        ends = asyncio.get_running_loop().time() + LASTS
        while (asyncio.get_running_loop().time() < ends or len(work.fences) < RUNS) and not work.wrong:
            await befalls(those, server, Judge(), chance.choice(FAULTS[:7]), chance)
            await asyncio.sleep(chance.random() * 0.1)
        over.set()
        await within(asyncio.gather(*clients))
        for process in those:
            process.proxy.heal()
            await nothing_is_left_of(process.redis)
        await is_free(server)
    assert work.wrong == []
    assert set(statuses) <= {200, 409, 500, 503}
