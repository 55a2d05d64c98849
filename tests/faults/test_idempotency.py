"""Idempotent requests while connections break, servers die and processes are killed: each is done once."""

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.idempotency.decorator import idempotent
from tests.conftest import MakeServer
from tests.drive import Response
from tests.faults.locks import TIMEOUT, Process, processes, steps
from tests.idempotency.shop import Shop, answering, guarded, post, posting
from tests.redis.tools import PATIENCE, eventually, within
from tests.servers import Server

ROOT = Path(__file__).parent.parent.parent

#: Seconds of a lease that does not end within a test.
LONG = 300.0


def records(server: Server) -> list[bytes]:
    """What stands about requests."""
    keys: list[bytes] = server.command("KEYS", "guard:y:*")
    return [server.command("GET", key) for key in keys]


async def test_a_reply_lost_on_begin_is_asked_for_again_and_the_request_runs(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 2) as (one, other):
        shop = Shop()
        one.proxy.cut_after_request(b"EVALSHA")
        assert (await within(post(guarded(shop, one.redis)))).status == 201
        assert (await post(guarded(shop, other.redis)))["idempotent-replayed"] == "true"
        assert len(shop.charges) == 1


async def test_a_reply_lost_on_completion_is_asked_for_again_and_it_is_recorded_once(
    valkey: Server, redis_url: str
) -> None:
    async with processes(redis_url, 2) as (one, other):
        shop = Shop()
        shop.close()
        first = posting(guarded(shop, one.redis))
        await shop.runs(1)
        one.proxy.cut_after_request(b"EVALSHA")
        shop.open.set()
        await within(first.task)
        assert first.status == 201
        assert (await post(guarded(shop, other.redis))).body == b"charge 1"
        assert len(shop.charges) == 1


async def test_a_reply_lost_on_release_leaves_the_key_free(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 1) as (one,):
        shop = Shop(answering(503))
        shop.close()
        first = posting(guarded(shop, one.redis))
        await shop.runs(1)
        one.proxy.cut_after_request(b"EVALSHA")
        shop.open.set()
        await within(first.task)
        await eventually(lambda: not records(valkey))


async def test_a_begin_that_nobody_heard_of_is_refused_and_given_back(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 1, timeout=TIMEOUT) as (one,):
        shop = Shop()
        await post(guarded(shop, one.redis), "warm-up")
        one.proxy.drop_replies()
        assert (await within(post(guarded(shop, one.redis, lease=LONG)))).status == 503
        assert len(records(valkey)) == 2, "it was taken"
        one.proxy.heal()
        await eventually(lambda: len(records(valkey)) == 1)
        assert len(shop.charges) == 1


async def test_a_completion_that_nobody_heard_of_is_not_seen_and_not_run_again(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 2, timeout=TIMEOUT) as (one, other):
        shop = Shop()
        shop.close()
        first = posting(guarded(shop, one.redis, lease=LONG))
        await shop.runs(1)
        one.proxy.black_hole()
        shop.open.set()
        await within(first.task)
        assert first.status == 503
        assert (await post(guarded(shop, other.redis))).status == 409
        one.proxy.heal()
        await eventually(lambda: records(valkey)[0][:1] == b"D")
        assert (await post(guarded(shop, other.redis))).body == b"charge 1"
        assert len(shop.charges) == 1


async def test_a_call_that_is_cancelled_while_it_is_recorded_is_recorded(valkey: Server, redis_url: str) -> None:
    async with processes(redis_url, 1, timeout=TIMEOUT) as (one,):
        proxy, calls = one.proxy, list[int]()

        @idempotent("charge:{order}", redis=one.redis, lease=LONG)
        async def charge(order: int) -> str:
            calls.append(order)
            proxy.black_hole()
            return "charged"

        call = asyncio.ensure_future(charge(1))
        await eventually(lambda: calls)
        await steps(5)
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        proxy.heal()
        await eventually(lambda: records(valkey)[0][:1] == b"D")
        assert (await charge(1), calls) == ("charged", [1])


async def test_a_server_that_comes_back_empty_ends_the_handler(make_server: MakeServer) -> None:
    server = make_server(tcp=True)
    async with RedisManager(server.url, timeout=TIMEOUT) as redis:
        shop = Shop()
        shop.close()
        first = posting(guarded(shop, redis, lease=1))
        await shop.runs(1)
        server.kill()
        server.start()
        await within(first.task)
        assert (first.status, shop.charges) == (503, [])


async def test_an_evicted_record_ends_the_handler(fresh_server: Server, fresh_redis: RedisManager) -> None:
    """It is the only key with an expiry, so the only one that such a server may throw away."""
    shop = Shop()
    first = await shop.begins(guarded(shop, fresh_redis, lease=1))
    fresh_server.command("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    fresh_server.command("CONFIG", "SET", "maxmemory", "1")
    await eventually(lambda: not records(fresh_server))
    await within(first.task)
    assert (first.status, shop.charges) == (503, [])
    fresh_server.command("CONFIG", "SET", "maxmemory", "0")


async def test_what_a_killed_process_was_at_is_free_at_the_end_of_its_lease(valkey: Server, redis_url: str) -> None:
    words = [sys.executable, "-m", "tests.idempotency.worker", redis_url]
    worker = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        app = guarded(Shop(), redis)
        try:
            assert worker.stdout is not None
            assert await within(worker.stdout.readline()) == b"running\n"
            assert (await post(app)).status == 409
        finally:
            worker.kill()
            await worker.communicate()
        assert (await post(app)).status == 409, "until the lease ends"
        await eventually(lambda: not records(valkey))
        assert (await post(app)).body == b"charge 1"


class Bank:
    """A handler whose work for one key succeeds, fails or raises, and that knows what it must never see."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.running: dict[bytes, int] = {}
        self.done: list[bytes] = []
        self.wrong: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        key = dict(scope["headers"])[b"idempotency-key"]
        if self.running.get(key):
            self.wrong.append(f"two at a time for {key!r}")
        if key in self.done:
            self.wrong.append(f"{key!r} was run again")
        self.running[key] = self.running.get(key, 0) + 1
        try:
            for _ in range(self.dice.randrange(8)):
                await asyncio.sleep(self.dice.choice([0, 0, 0.002]))
            outcome = self.dice.choice([201, 201, 503, 500, None])
            if outcome is None:
                raise RuntimeError("boom")
            if outcome == 201:
                self.done.append(key)
        finally:
            self.running[key] -= 1
        await answering(outcome, b"done " + key)(scope, receive, send)


async def client(app: Any, key: str, dice: random.Random, seen: list[tuple[str, bytes]]) -> None:
    """Send the same request until it is done, as clients do; some attempts are cancelled by their server."""
    while True:
        attempt = asyncio.ensure_future(post(app, key))
        if dice.random() < 0.15:
            await asyncio.sleep(dice.choice([0, 0, 0.001, 0.005]))
            attempt.cancel()
        (result,) = await asyncio.gather(attempt, return_exceptions=True)
        if isinstance(result, Response) and result.status == 201:
            seen.append((key, result.body))
            return
        await asyncio.sleep(dice.choice([0, 0.001, 0.01]))


async def disturb(those: list[Process], dice: random.Random, times: int) -> None:
    """Cut, reset, and black out the networks of processes, one fault after the other."""
    for _ in range(times):
        proxy = dice.choice(those).proxy
        fault = dice.choice(["cut", "cut", "cut", "reset", "lose"])
        if fault == "cut":
            proxy.cut_after_request(b"EVALSHA")
        elif fault == "reset":
            proxy.reset_all()
        else:
            proxy.drop_replies()
            await asyncio.sleep(dice.choice([0.02, 1.2 * TIMEOUT]))
            proxy.heal()
        await asyncio.sleep(dice.choice([0, 0.005, 0.03]))


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_fails_a_request_is_never_run_twice_at_a_time_nor_after_it_was_done(
    redis_url: str, seed: int
) -> None:
    dice = random.Random(seed)
    bank, seen = Bank(dice), list[tuple[str, bytes]]()
    keys = ["a", "b", "c"]
    async with processes(redis_url, 3, timeout=TIMEOUT) as those:
        apps = [
            guarded(bank, process.redis, lease=LONG, wait=wait) for process, wait in zip(those, (0, 0, 1), strict=True)
        ]
        clients = [client(app, key, dice, seen) for app in apps for key in keys for _ in range(3)]
        await within(asyncio.gather(disturb(those, dice, 25), *clients))
    assert bank.wrong == []
    assert sorted(bank.done) == [key.encode() for key in keys]
    assert sorted(seen) == sorted((key, b"done " + key.encode()) for key in keys for _ in range(9))
