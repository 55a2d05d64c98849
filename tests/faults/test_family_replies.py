"""Refresh families whose replies are lost: asked again, Redis answers as it did, and nobody is thrown out for it."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.errors import RedisTimeout, RedisUnavailable
from asgi_redis_guard.jwt.service.families import FamilyLimits, Verdict
from asgi_redis_guard.jwt.service.family_store import FamilyStore
from asgi_redis_guard.jwt.service.refresh_token import RefreshToken
from asgi_redis_guard.testing import FaultProxy
from tests.redis.tools import PATIENCE, until_back, within

DAY = 86_400_000  # ms
#: Every second use is reuse: what is asked again must be known from what comes again.
STRICT = FamilyLimits(idle=7 * DAY, lifetime=30 * DAY, grace=0, most_replays=0, keep=3_600_000)
USUAL = FamilyLimits(idle=7 * DAY, lifetime=30 * DAY, grace=60_000, most_replays=1000, keep=3_600_000)


@pytest.fixture
def store(manager: RedisManager) -> FamilyStore:
    return FamilyStore(manager, STRICT, statistics=False)


async def begun(store: FamilyStore, **marks: str) -> RefreshToken:
    family, _ = await store.begin("ann", b"note", **marks)
    return RefreshToken(family, 1)


async def without_a_reply(proxy: FaultProxy, call: Callable[[], Awaitable[Any]]) -> Any:
    """Have a call carried out whose first reply is lost, with the connection."""
    before = proxy.connections
    proxy.cut_after_request(b"EVALSHA")
    result = await within(call())
    assert proxy.connections == before + 1
    return result


async def test_a_refresh_whose_reply_is_lost_is_the_first_use_all_the_same(
    proxy: FaultProxy, store: FamilyStore
) -> None:
    token = await begun(store)
    await store.rotate(token._replace(family=b"unknown-0123456789-abc"))  # loads the script
    for number in range(1, 5):
        said = await without_a_reply(proxy, lambda: store.rotate(token))  # noqa: B023
        assert (said.verdict, said.number, said.replays) == (Verdict.ROTATED, number + 1, 0)
        token = token._replace(number=said.number)


async def test_reuse_is_told_also_where_the_first_reply_is_lost_and_then_no_more(
    proxy: FaultProxy, store: FamilyStore
) -> None:
    token = await begun(store)
    await store.rotate(token)
    said = await without_a_reply(proxy, lambda: store.rotate(token))
    assert (said.verdict, said.note) == (Verdict.REUSED, b"note")
    assert (await store.rotate(token)).verdict == Verdict.REVOKED


async def test_a_family_whose_first_reply_is_lost_is_there_once(
    proxy: FaultProxy, manager: RedisManager, store: FamilyStore
) -> None:
    await begun(store)
    family, said = await without_a_reply(proxy, lambda: store.begin("ann"))
    assert said.till > 0
    index = manager.keys.families(*store.owner("ann"))
    assert await manager.execute("ZCARD", index) == 2
    assert (await store.rotate(RefreshToken(family, 1))).verdict == Verdict.ROTATED


@pytest.mark.parametrize("how", ["family", "user", "device", "session", "others"])
async def test_a_revocation_whose_reply_is_lost_says_what_it_has_ended(
    proxy: FaultProxy, store: FamilyStore, how: str
) -> None:
    def revoke(token: RefreshToken) -> Awaitable[Any]:
        return {
            "family": lambda: store.revoke(token.family),
            "user": lambda: store.revoke_user("ann"),
            "device": lambda: store.revoke_device("ann", "phone"),
            "session": lambda: store.revoke_session("ann", "s1"),
            "others": lambda: store.revoke_others("ann", b"tagtagothers1234567890"),
        }[how]()

    first = await revoke(await begun(store, device="phone", session="s1"))  # loads the script
    token = await begun(store, device="phone", session="s1")
    ended = await without_a_reply(proxy, lambda: revoke(token))
    assert [family for family, _ in ended.families] == [token.family]
    assert (ended.gen > first.gen) is (how == "user")
    assert (await revoke(token)).families == ()
    assert (await store.rotate(token)).verdict == Verdict.REVOKED


async def test_a_generation_is_begun_once_where_the_reply_is_lost(proxy: FaultProxy, store: FamilyStore) -> None:
    await store.revoke_user("ann")
    ended = await without_a_reply(proxy, lambda: store.revoke_user("ann"))
    _, said = await store.begin("ann")
    assert said.gen == ended.gen


async def test_a_client_that_gets_no_answer_at_all_comes_again_and_stays_logged_in(
    proxy: FaultProxy, redis_url: str
) -> None:
    async with RedisManager(proxy.url, timeout=0.2) as manager:
        store = FamilyStore(manager, USUAL, statistics=False)
        token = await begun(store)
        await store.rotate(token._replace(family=b"unknown-0123456789-abc"))
        proxy.drop_replies()
        with pytest.raises(RedisTimeout):
            await within(store.rotate(token))
        proxy.heal()
        if manager.links.breaker.is_open:
            await until_back(manager)
        said = await within(_until_answered(lambda: store.rotate(token)))
        assert said.verdict in (Verdict.SAME, Verdict.ROTATED)  # the request may have been lost with the connection
        assert said.number == 2


async def _until_answered(call: Callable[[], Awaitable[Any]]) -> Any:
    while True:
        try:
            return await call()
        except RedisUnavailable:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("seed", range(4))
async def test_crowds_of_refreshes_over_connections_that_break_agree_on_every_successor(
    proxy: FaultProxy, redis_url: str, seed: int
) -> None:
    dice = random.Random(seed)
    async with RedisManager(proxy.url, timeout=PATIENCE) as one, RedisManager(redis_url, timeout=PATIENCE) as other:
        stores = [FamilyStore(manager, USUAL, statistics=False) for manager in (one, other)]
        token = await begun(stores[1])
        for _ in range(25):
            if dice.random() < 0.6:
                proxy.cut_after_request(b"EVALSHA")
            calls = [_until_answered(lambda: dice.choice(stores).rotate(token)) for _ in range(10)]  # noqa: B023
            said = await within(asyncio.gather(*calls))
            verdicts = Counter(rotation.verdict for rotation in said)
            assert verdicts.keys() <= {Verdict.ROTATED, Verdict.SAME}
            assert verdicts[Verdict.ROTATED] <= 1, "by one of them at the most; its reply may be lost for good"
            assert {rotation.number for rotation in said} == {token.number + 1}
            token = token._replace(number=token.number + 1)
