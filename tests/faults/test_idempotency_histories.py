"""Many duplicates of idempotent requests in long random histories, in several processes whose networks and server fail.

Judged is what clients and the shop may rely on: no two of a key run at a time, none runs after a client has seen its
answer, and all who see one see the same; only a server that has lost its data is excused.
"""

import asyncio
import random
from typing import Any

import pytest

from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from tests.conftest import MakeServer
from tests.faults.locks import TIMEOUT, Process, nothing_is_left_of, processes, steps
from tests.idempotency.shop import guarded, post
from tests.redis.tools import within
from tests.servers import Server

#: Seconds that a history lasts at the least, and the keys that are in use at a time.
LASTS, KEYS = 3.0, 3

#: Seconds; the shortest that is allowed, so that it runs out where a network is away for longer.
LEASE = 1

#: Seconds for which a network may fail: longer than the lease now and then.
OUTAGES = [0.02, 0.1, 0.4, LEASE * 1.2]

FAULTS = ["cut", "reset_all", "drop_replies", "black_hole", "refuse", "slow", "pause", "flush", "restart"]

#: What tells a client to come again: nobody can say that it was done.
AGAIN = {409, 500, 503}


class Payment:
    """What has become of one key."""

    def __init__(self, number: int) -> None:
        self.key = f"payment-{number}"
        self.excused = False  # the server has lost what it knew of it
        self.running = 0
        self.runs = 0
        self.seen: bytes | None = None  # what a client was answered
        self.tries = 0


class Shop:
    """Carries payments out, slowly, and fails now and then; notes where one runs that must not."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.by_key: dict[str, Payment] = {}
        self.payments = [self._payment() for _ in range(KEYS)]
        self.faults: list[str] = []
        self.answered = self.replayed = 0

    def _payment(self) -> Payment:
        payment = Payment(len(self.by_key))
        self.by_key[payment.key] = payment
        return payment

    def start_over(self) -> None:
        """Have clients pay other things: the server has lost its data."""
        for payment in self.by_key.values():
            payment.excused = True
        self.payments = [self._payment() for _ in range(KEYS)]

    def app(self) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            key = dict(scope["headers"])[b"idempotency-key"].decode()
            payment = self.by_key[key]
            if payment.running and not payment.excused:
                self.faults.append(f"{key} runs twice at a time")
            if payment.seen is not None and not payment.excused:
                self.faults.append(f"{key} runs again")
            payment.running += 1
            payment.runs += 1
            number = payment.runs
            try:
                await receive()
                await asyncio.sleep(self.chance.choice([*[0, 0.001, 0.02, 0.3] * 3, LEASE * 1.5]))
                if self.chance.random() < 0.2:
                    raise ValueError("the bank is closed")
            finally:
                payment.running -= 1
            body = b"%b: %d" % (key.encode(), number)
            head = [(b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": 201, "headers": head})
            await send({"type": "http.response.body", "body": body})

        return app

    def sees(self, payment: Payment, response: Any) -> None:
        """A client sees a response."""
        self.answered += 1
        if response.status in AGAIN:
            return
        assert response.status == 201, response.status
        self.replayed += b"idempotent-replayed" in dict(response.headers)
        if payment.seen not in (None, response.body) and not payment.excused:
            self.faults.append(f"{payment.key}: {payment.seen!r}, then {response.body!r}")
        payment.seen = response.body

    def next_payment(self, payment: Payment) -> None:
        """Have a client that was answered often enough pay something else."""
        payment.tries += 1
        if payment.seen is not None and payment.tries > 30 and payment in self.payments:
            self.payments[self.payments.index(payment)] = self._payment()


async def pays(shop: Shop, app: ASGIApp, chance: random.Random, over: asyncio.Event) -> None:
    """Send duplicates until all is over; now and then go away in the middle."""
    while not over.is_set():
        payment = chance.choice(shop.payments)
        sending = asyncio.ensure_future(post(app, payment.key))
        if chance.random() < 0.1:
            await steps(chance.randrange(100))
            sending.cancel()
        await asyncio.wait([sending])
        if not sending.cancelled() and sending.exception() is None:
            shop.sees(payment, sending.result())
        shop.next_payment(payment)
        await asyncio.sleep(chance.random() * 0.02)


async def befalls(those: list[Process], server: Server, shop: Shop, fault: str, chance: random.Random) -> None:
    """Have one thing go wrong for a while."""
    proxy = chance.choice(those).proxy
    if fault == "slow":
        proxy.latency = 0.02
    elif fault == "cut":
        proxy.cut_after_request(b"EVALSHA")
    elif fault == "pause":
        server.pause()
    elif fault == "flush":
        server.command("FLUSHALL")
        shop.start_over()
    elif fault == "restart":
        server.restart()
        shop.start_over()
    else:
        getattr(proxy, fault)()
    await asyncio.sleep(chance.choice(OUTAGES))
    server.resume()
    proxy.heal()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("faults", [FAULTS[:7], FAULTS], ids=["network", "all"])
async def test_a_history(make_server: MakeServer, seed: int, faults: list[str]) -> None:
    chance = random.Random(seed)
    server, over = make_server(), asyncio.Event()
    shop = Shop(random.Random(chance.random()))
    async with processes(server.url, 3, timeout=TIMEOUT) as those:
        apps = [
            guarded(shop.app(), process.redis, lease=LEASE, key="address", wait=chance.choice([0, 0.5]))
            for process in those
        ]
        clients = [
            asyncio.create_task(pays(shop, apps[number % 3], random.Random(chance.random()), over))
            for number in range(9)
        ]
        ends = asyncio.get_running_loop().time() + LASTS
        while asyncio.get_running_loop().time() < ends and not shop.faults:
            await befalls(those, server, shop, chance.choice(faults), chance)
            await asyncio.sleep(chance.random() * 0.1)
        over.set()
        await within(asyncio.gather(*clients))
        for process in those:
            process.proxy.heal()
            await nothing_is_left_of(process.redis)
    assert shop.faults == []
    assert shop.replayed > 20
