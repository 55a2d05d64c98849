"""Counting revoked tokens without looking at them: exact, whatever was done in whichever order."""

import random

import pytest

from asgi_redis_guard import RedisManager, Revocation, RevocationList

HOUR = 3600
MARGIN = 600  # seconds; marks are kept this much longer than the tokens


async def this_hour(redis: RedisManager) -> int:
    seconds, _ = await redis.execute("TIME")
    return int(seconds) // HOUR


async def test_nothing_is_revoked_at_first(revocations: RevocationList) -> None:
    assert await revocations.stats() == {"revoked": 0, "by_hour": {}}


@pytest.mark.parametrize("seed", range(3))
async def test_counts_are_exact_over_any_order_of_events(
    redis: RedisManager, revocations: RevocationList, seed: int
) -> None:
    """Revoked once, again with a longer and a shorter life, taken back, and again; ends lie in the middle of hours."""
    dice = random.Random(seed)
    now = await this_hour(redis)
    model: dict[str, int] = {}
    for _ in range(300):
        jti = f"t-{dice.randrange(12)}"
        if dice.random() < 0.3:
            assert await revocations.unrevoke(jti) is (jti in model)
            model.pop(jti, None)
        else:
            hour = now + dice.randrange(2, 8)
            assert await revocations.revoke(jti, hour * HOUR + HOUR / 2 - MARGIN) is (jti not in model)
            model[jti] = max(hour, model.get(jti, 0))
        if dice.random() < 0.1:
            await check(redis, revocations, model)
    await check(redis, revocations, model)


async def check(redis: RedisManager, revocations: RevocationList, model: dict[str, int]) -> None:
    stats = await revocations.stats()
    assert stats["revoked"] == len(model)
    hours = list(model.values())
    assert stats["by_hour"] == {hour: hours.count(hour) for hour in hours}
    counts = await redis.execute("PTTL", redis.keys.revoked)
    marks = [await redis.execute("PTTL", redis.keys.token("", jti)) for jti in model]
    assert counts == -2 or counts > max(marks, default=0)


async def test_the_same_token_twice_in_one_call_counts_once(revocations: RevocationList) -> None:
    assert await revocations.revoke_many(["a", "b", "a", Revocation("b", ttl=5)]) == 2
    assert (await revocations.stats())["revoked"] == 2


async def test_hours_that_are_over_are_forgotten(redis: RedisManager, revocations: RevocationList) -> None:
    await revocations.revoke("t", ttl=5 * HOUR)
    now = await this_hour(redis)
    await redis.execute("HSET", redis.keys.revoked, now - 1, 7, now - 30, 9)
    assert (await revocations.stats())["revoked"] == 1
    assert await redis.execute("HLEN", redis.keys.revoked) == 1


async def test_counts_live_longer_than_every_mark(redis: RedisManager) -> None:
    """Also where a life is made longer after the counts were first written."""
    revocations = RevocationList(redis, max_lifetime=10)
    await revocations.revoke("t", ttl=1)
    first = await redis.execute("PTTL", redis.keys.revoked)
    await revocations.revoke("t", ttl=500_000)
    mark = await redis.execute("PTTL", redis.keys.token("", "t"))
    longest = (500_000 + MARGIN + HOUR) * 1000
    assert first < mark < await redis.execute("PTTL", redis.keys.revoked) <= longest + 2
    for _ in range(5):
        await revocations.revoke("t", ttl=500_000)
    assert await redis.execute("PTTL", redis.keys.revoked) <= longest + 2, "it does not grow by repetition"


async def test_counts_that_the_server_has_dropped_never_become_immortal_or_negative(
    redis: RedisManager, revocations: RevocationList
) -> None:
    for act in (revocations.unrevoke("a"), revocations.revoke("b", ttl=9 * HOUR)):
        await revocations.revoke_many([Revocation("a", ttl=HOUR), Revocation("b", ttl=HOUR)])
        await redis.execute("DEL", redis.keys.revoked)
        await act
        assert (await revocations.stats())["revoked"] in (0, 1)
        assert await redis.execute("PTTL", redis.keys.revoked) != -1
