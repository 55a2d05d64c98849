"""Mirrors over random histories, on every kind of server: in the end they know what Redis knows, and a model."""

import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from asgi_redis_guard import RedisManager, Revocation, RevocationList
from asgi_redis_guard.jwt.revocation.questions import Questions
from tests.jwt.revocation.test_mirror import another, mirror_of
from tests.redis.conftest import nothing_is_left_running
from tests.redis.tools import eventually, within

__all__ = ["nothing_is_left_running"]

TOKENS = [f"t-{number}" for number in range(10)]
USERS = ["alice", "bob", "carol"]


class History:
    """Two mirrors, and what they should know."""

    def __init__(self, lists: list[RevocationList], dice: random.Random) -> None:
        self.lists, self.dice = lists, dice
        self.redis: RedisManager = lists[0]._redis
        self.revoked: set[str] = set()
        self.cutoffs: dict[str, int] = {}

    @property
    def anyone(self) -> RevocationList:
        return self.dice.choice(self.lists)

    async def revoke(self) -> None:
        """Some tokens at once, one of them perhaps twice; with lives that end in several hours."""
        named = self.dice.choices(TOKENS, k=self.dice.randrange(1, 4))
        await self.anyone.revoke_many([Revocation(jti, ttl=self.dice.randrange(1, 9) * 3000.0) for jti in named])
        self.revoked.update(named)

    async def unrevoke(self) -> None:
        jti = self.dice.choice(TOKENS)
        assert await self.anyone.unrevoke(jti) is (jti in self.revoked)
        self.revoked.discard(jti)

    async def cut(self) -> None:
        user = self.dice.choice(USERS)
        self.cutoffs[user] = round(await self.anyone.revoke_user(user) * 1_000_000)

    async def trim(self) -> None:
        await self.redis.execute("XTRIM", self.redis.keys.revoked_stream, "MAXLEN", 0)

    async def lose_stream(self) -> None:
        await self.redis.execute("DEL", self.redis.keys.revoked_stream)

    async def lose_state(self) -> None:
        """As an eviction does: the epoch is over. What is taken back before that is noticed would be revoked again."""
        former = [mirror_of(one)._known for one in self.lists]
        await self.redis.execute("DEL", self.redis.keys.revoked_mirrors)
        await eventually(
            lambda: all(mirror_of(one)._known is not known for one, known in zip(self.lists, former, strict=True))
        )

    async def cut_line(self) -> None:
        for one in self.lists:
            mirror_of(one)._stream.wire._drop("the test has cut it")

    async def is_told(self) -> None:
        """Wait until all mirrors have read what there is and know what the model knows."""
        keys = self.redis.keys

        def agrees(one: RevocationList) -> bool:
            mirror = mirror_of(one)
            marks = {jti for jti in TOKENS if mirror.is_revoked(Questions((keys.token("", jti),), ()))}
            users = {
                user: cutoff
                for user, cutoff in self.cutoffs.items()
                if mirror.is_revoked(Questions((), ((keys.user("", user), cutoff),)))
                and not mirror.is_revoked(Questions((), ((keys.user("", user), cutoff + 1),)))
            }
            return mirror.fresh and marks == self.revoked and users == self.cutoffs

        await eventually(lambda: all(agrees(one) for one in self.lists))
        for jti in TOKENS:
            assert await self.lists[0].is_revoked(jti) is (jti in self.revoked)


@pytest.mark.parametrize("seed", range(3))
async def test_mirrors_know_what_redis_knows_whatever_happened(backend: str, seed: int) -> None:
    dice = random.Random(seed)
    async with AsyncExitStack() as stack:
        here, mine = await stack.enter_async_context(another(backend, max_stale=0.4))
        lists = [mine]
        if backend == "memory://":
            lists.append(RevocationList(here, mode="mirror", max_stale=0.5))
        else:
            lists.append((await stack.enter_async_context(another(backend, max_stale=0.5)))[1])
        history = History(lists, dice)
        usual: list[Callable[[], Awaitable[None]]] = [history.revoke, history.unrevoke, history.cut]
        faults: list[Callable[[], Awaitable[None]]] = [history.trim, history.lose_stream, history.cut_line]
        for _ in range(12):
            for _ in range(dice.randrange(1, 6)):
                await dice.choice(usual)()
            if dice.random() < 0.5:
                await dice.choice(faults)()
            elif dice.random() < 0.3:
                await history.is_told()
                await history.lose_state()
            if dice.random() < 0.4:
                await history.is_told()
        await history.is_told()
        late = RevocationList(here, mode="mirror", max_stale=3.0)
        await within(late.mirrored())
        history.lists.append(late)
        await history.is_told()


async def test_a_token_in_several_hours_leaves_nothing_in_the_index(backend: str) -> None:
    async with another(backend) as (manager, revocations):
        await revocations.revoke_many([Revocation("t", ttl=hours * 3600.0) for hours in (1, 5, 3)])
        await revocations.revoke("t", ttl=9 * 3600)
        await revocations.unrevoke("t")
        assert (await revocations.stats())["revoked"] == 0
        left = await manager.execute("KEYS", manager.keys.revoked + b":*")
        assert sorted(left) == sorted([manager.keys.revoked_mirrors, manager.keys.revoked_stream])
