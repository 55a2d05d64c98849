"""The operations of locks and semaphores over random histories: every verdict, number and key is the model's.

On all servers; time is given to the server's script, see `clockwork`.
"""

import random
from typing import Any, Literal

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.locks.operations import Claim
from tests.conformance.clockwork import PASSED, STOPPED, Clockwork, Said
from tests.conformance.lock_models import LockModel, SemaphoreModel

START = 1_700_000_000_123_456  # µs
SECOND = 1_000_000
TOKENS = ["a", "b", "c", "d", "e-" + "long" * 20, "-1w"]
TTLS = [0.001, 0.5, 1, 1, 2, 90_000]  # the longest is longer than fences are remembered
PAUSES = [*[0, 1, 999, 1000, 40_000] * 3, SECOND // 3, SECOND // 3, SECOND, 2 * SECOND]
KEYS = Keys()
ACTIONS = [*["acquire"] * 5, *["release"] * 3, "attend", "attend", "renew", "renew", "add", "set", "peek", "lose"]


def lock(token: str, ttl: float = 1.0) -> Claim:
    return Claim.of(KEYS, ("import", "7"), token, ttl)


def place(token: str, ttl: float = 1.0, permits: int = 2) -> Claim:
    return Claim.of(KEYS, ("import", "7"), token, ttl, permits)


class History:
    """Callers that take, prolong, give back, or are never heard of again, at a server that loses what it likes to."""

    def __init__(self, manager: RedisManager, semaphore: bool, seed: int) -> None:
        self.manager, self.clockwork, self.dice = manager, Clockwork(manager), random.Random(seed)
        self.semaphore = semaphore
        self.model = SemaphoreModel() if semaphore else LockModel()
        self.now = START
        self.newest = 0  # the highest fence
        self.seen: set[tuple[str, int]] = set()

    def claim(self) -> Claim:
        """Somebody's claim, often that of who holds it."""
        token, ttl = self.dice.choice([*TOKENS, *self.model.holders * 4]), self.dice.choice(TTLS)
        return place(token, ttl, self.dice.choice([1, 2, 2, 3])) if self.semaphore else lock(token, ttl)

    async def step(self) -> None:
        """Let time pass, do one thing, and compare."""
        self.now += self.dice.choice(PAUSES)
        if self.model.fences.last and self.dice.random() < 0.05:  # the clock is set back, the last fence is known
            self.now -= self.dice.choice([1, SECOND, 3600 * SECOND])
        claim, action = self.claim(), self.dice.choice(ACTIONS)
        if action == "lose":
            await self.lose(claim)
        else:
            said, expected = await self.do(action, claim)
            assert said == expected, f"{action} {self.now - START} µs after the start"
            self.seen.add((action, said.status))
        await self.compare(claim)

    async def do(self, action: str, claim: Claim) -> tuple[Said, Said]:
        now, model = self.now, self.model
        if action == "acquire":
            held_before = isinstance(model, LockModel) and model.peek(now, claim).values[0] == 1
            expected = model.acquire(now, claim)
            said = await self.clockwork.one(now, claim.acquire())
            if said.status == PASSED and not held_before:
                assert said.values[0] > self.newest, "fences rise, whatever is lost"
                self.newest = said.values[0]
            return said, expected
        if action in ("add", "set"):
            how: Literal["add", "set"] = "add" if action == "add" else "set"
            milliseconds = self.dice.choice([1, 700, 3000])
            said = await self.clockwork.one(now, claim.extend(milliseconds, how))
            return said, model.renew(now, claim, milliseconds, how)
        if action == "renew":
            return await self.clockwork.one(now, claim.renew()), model.renew(now, claim, claim.ttl, "least")
        return await self.clockwork.one(now, getattr(claim, action)()), getattr(model, action)(now, claim)

    async def lose(self, claim: Claim) -> None:
        """The server evicts a key, or loses all; its clock is right then, which is all that fences ask of it."""
        what = self.dice.choice([claim.keys[:1], claim.keys[1:], claim.keys])
        if claim.keys[1] in what:
            self.now = max(self.now, self.newest + 1)
            self.model.fences.last = None
        if claim.keys[0] in what:
            self.model.lose()
        await self.manager.execute("DEL", *what, *[key + b"/ends" for key in what])

    async def compare(self, claim: Claim) -> None:
        """What is stored is what the model stores, and nothing stays for ever."""
        content: dict[bytes, Any] = await self.clockwork.content()
        held = content.pop(claim.keys[0], None)
        if isinstance(held, list):
            pairs = held if isinstance(held[0], list) else zip(held[::2], held[1::2], strict=True)
            held = {name: int(float(ends)) for name, ends in pairs}
        assert held == self.model.content()
        assert content.keys() <= {claim.keys[1]}
        ends = await self.clockwork.ends()
        assert None not in ends.values()
        if held:
            assert ends[claim.keys[0]] == self.model.ends


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("semaphore", [False, True], ids=["lock", "semaphore"])
async def test_every_verdict_number_and_key_is_the_models(manager: RedisManager, semaphore: bool, seed: int) -> None:
    history = History(manager, semaphore, seed)
    async with manager.pubsub.subscribe(KEYS.locks_channel, maxsize=1000) as heard:
        for _ in range(400):
            await history.step()
        await manager.execute("PUBLISH", KEYS.locks_channel, "the end")
        words = []
        async for message in heard:
            if message.data == b"the end":  # type: ignore[union-attr]
                break
            words.append(message.data)  # type: ignore[union-attr]
    assert words == [history.claim().word] * history.model.said
    assert words, "nobody was waited for"
    both = {"acquire", "renew", "add", "set"}
    assert {(action, status) for action in both for status in (PASSED, STOPPED)} <= history.seen
