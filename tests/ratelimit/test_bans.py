"""Bans: who breaks limits again and again is refused for longer and longer, whatever it asks."""

from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, GuardMiddleware, RateLimit, RedisManager
from asgi_redis_guard.ratelimit.ledger import BAN, Ban
from tests.conformance.clockwork import Clockwork, Said
from tests.drive import App, get
from tests.middleware.calls import settled
from tests.ratelimit.conftest import CountingManager, Limited
from tests.ratelimit.said import left, times

HOUR: dict[str, Any] = {"algorithm": "fixed"}
SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND


def banning(limit: str = "2/hour", after: int = 3, **options: Any) -> RateLimit:
    return RateLimit(limit, ban=Ban(after=after, lasts=300), **{**HOUR, "deny_cache": 0, **options})


async def test_after_so_many_breaches_everything_is_refused(redis: RedisManager) -> None:
    app = GuardMiddleware(App(), [banning()], redis=redis)
    assert await times(app, 5) == [200, 200, 429, 429, 429]
    refused = await get(app)
    assert (refused.status, refused["content-type"]) == (429, "application/problem+json")
    assert refused.json()["type"] == "https://iana.org/assignments/http-problem-types#abnormal-usage-detected"
    assert "violated-policies" not in refused.json()
    assert 290 < int(refused["retry-after"]) <= 300
    assert not refused.all("ratelimit")
    assert await times(app, 1, client=("192.0.2.1", 1)) == [200], "nobody else is banned"


async def test_a_ban_is_shorter_than_the_limit_or_longer_as_it_comes(redis: RedisManager) -> None:
    app = GuardMiddleware(App(), [banning("1/second", 2, name="short")], redis=redis)
    waits = [int((await get(app)).all("retry-after")[0]) for _ in range(12) if (await get(app)).status == 429]
    assert max(waits) > 200, "a limit that is whole again in a second, and a ban for 300"


async def test_keys_of_bans_end_when_nothing_is_to_be_remembered(redis: RedisManager) -> None:
    app = GuardMiddleware(App(), [banning(after=2)], redis=redis)
    assert await times(app, 3) == [200, 200, 429]
    (key,) = await redis.execute("KEYS", "guard:b:*")
    assert 50_000 < await redis.execute("PTTL", key) <= 60_000, "one breach: for as long as breaches add up"
    assert await times(app, 1) == [429]
    assert 86_600_000 < await redis.execute("PTTL", key) <= 86_700_000, "a ban, and the longest one after it"
    assert all([await redis.execute("PTTL", one) > 0 for one in await redis.execute("KEYS", "*")])


async def test_each_further_ban_is_longer_up_to_the_longest_and_they_are_forgotten(manager: RedisManager) -> None:
    ban = Ban(after=2, within=60, lasts=300, factor=3, longest=3000)
    clockwork, now, lengths = Clockwork(manager), NOW, []
    for _ in range(5):
        said = await clockwork.one(now, ban.operation(b"strikes", 2))
        assert said == Said(1, (0,))
        said = await clockwork.one(now + 1, ban.operation(b"strikes", 0))
        assert said.status == 0
        lengths.append(said.values[0] + 1)
        now += lengths[-1]
        assert (await clockwork.one(now - 1, ban.operation(b"strikes", 0))) == Said(0, (1,))
        assert (await clockwork.one(now, ban.operation(b"strikes", 0))) == Said(1, (0,)), "it is over"
    assert lengths == [seconds * SECOND for seconds in (300, 900, 2700, 3000, 3000)]
    now += 3001 * SECOND
    await clockwork.one(now, ban.operation(b"strikes", 2))
    assert (await clockwork.one(now, ban.operation(b"strikes", 0))).values == (300 * SECOND,), "forgotten"


async def test_breaches_far_apart_do_not_add_up(manager: RedisManager) -> None:
    ban, clockwork = Ban(after=2, within=60), Clockwork(manager)
    for minute in range(6):
        await clockwork.one(NOW + minute * 61 * SECOND, ban.operation(b"strikes", 1))
    now = NOW + 5 * 61 * SECOND + 59 * SECOND
    assert (await clockwork.one(now, ban.operation(b"strikes", 0))).status == 1
    await clockwork.one(now, ban.operation(b"strikes", 1))
    assert (await clockwork.one(now + 1, ban.operation(b"strikes", 0))).status == 0


async def test_what_was_refused_from_memory_counts_as_a_breach(limited: Limited, manager: CountingManager) -> None:
    clock = [1_700_000_000.0]
    app = limited(banning("1/hour", 10, deny_cache=1.0), clock=lambda: clock[0])
    assert await times(app, 12) == [200, *[429] * 11]
    assert manager.round_trips == 2
    clock[0] += 1.0
    assert await times(app, 1) == [429], "asked again: eleven breaches were hidden or are this one"
    clock[0] += 1.0
    refused = await get(app)
    assert refused.json()["type"].endswith("abnormal-usage-detected")


async def test_the_requests_of_others_do_not_wash_hidden_breaches_away(limited: Limited) -> None:
    """What is over is forgotten when anybody asks; who goes on hammering must not profit by that."""
    clock = [1_700_000_000.0]
    app = limited(banning("1/hour", 10, deny_cache=1.0), clock=lambda: clock[0])
    await times(app, 12)
    clock[0] += 1.5
    for number in range(5):
        await times(app, 1, client=(f"192.0.2.{number}", 1))
    await times(app, 1)
    clock[0] += 1.0
    assert (await get(app)).json()["type"].endswith("abnormal-usage-detected")


async def test_what_was_hidden_longer_ago_than_breaches_add_up_is_forgotten(limited: Limited) -> None:
    clock = [1_700_000_000.0]
    guard = banning("1/hour", 10, deny_cache=1.0)
    app = limited(guard, clock=lambda: clock[0])
    await times(app, 12)
    clock[0] += 62
    await times(app, 1, client=("192.0.2.1", 1))
    assert not guard.denials.held


async def test_a_banned_request_is_counted_by_no_limit_of_the_stack(limited: Limited) -> None:
    outer, inner = RateLimit("99/hour", name="outer", **HOUR), RateLimit("99/hour", name="inner", **HOUR)
    app = limited(outer, banning("1/hour", 1), inner)
    assert await times(app, 2) == [200, 429]
    said = [await get(app) for _ in range(5)]
    assert [left(one)["outer"] for one in said] == [98] * 5
    assert {one.json()["type"].rpartition("#")[2] for one in said} == {"abnormal-usage-detected"}
    alone = limited(RateLimit("99/hour", name="inner", **HOUR))
    assert left(await get(alone)) == {"inner": 97}


async def test_a_ban_that_is_remembered_here_costs_no_round_trip_and_counts_down(
    limited: Limited, manager: CountingManager
) -> None:
    clock = [1_700_000_000.0]
    app = limited(banning("1/hour", 1, deny_cache=1.0), clock=lambda: clock[0])
    await times(app, 2)
    clock[0] += 1
    await settled(manager)
    await times(app, 1)
    asked = manager.round_trips
    assert {(await get(app)).json()["type"].rpartition("#")[2] for _ in range(9)} == {"abnormal-usage-detected"}
    assert manager.round_trips == asked


async def test_a_ban_is_for_all_rules_of_a_guard_and_shared_by_a_group(limited: Limited) -> None:
    app = limited(banning("9/hour", 1, rules={"/login": "1/hour"}, group="site"))
    assert [(await get(app, path)).status for path in ("/", "/login", "/login", "/")] == [200, 200, 429, 429]
    other = limited(banning("50/hour", 1, group="site", name="other"))
    assert await times(other, 1) == [429]
    assert await times(limited(banning("50/hour", 1, group="else")), 1) == [200]


async def test_a_ban_after_no_number_of_breaches_is_by_hand_alone(redis: RedisManager) -> None:
    app = GuardMiddleware(App(), [banning("1/hour", 0)], redis=redis)
    for _ in range(30):
        last = await get(app)
    assert last.json()["type"].endswith("quota-exceeded")


@pytest.mark.parametrize(
    "wrong",
    [
        {"after": -1},
        {"after": 1.5},
        {"after": True},
        {"factor": 0},
        {"factor": 1.5},
        {"within": 0},
        {"within": "1"},
        {"lasts": 1e9},
        {"longest": None},
    ],
)
def test_a_ban_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"ban: {next(iter(wrong))}="):
        RateLimit("1/hour", ban=Ban(**wrong))
    with pytest.raises(ConfigurationError, match="allowed is a Ban"):
        RateLimit("1/hour", ban=wrong)  # type: ignore[arg-type]


def test_a_ban_takes_one_operation() -> None:
    assert RateLimit("1/hour", ban=Ban()).ledger.kinds == (BAN,)
