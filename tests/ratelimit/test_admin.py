"""`RateLimitAdmin`: how somebody stands, and what reaches all other processes at once."""

from datetime import UTC, datetime
from typing import Any

import pytest

from asgi_redis_guard import Ban, ConfigurationError, RateLimit, RateLimitAdmin, RedisManager
from tests.drive import ADDRESS
from tests.ratelimit.processes import Process, allowed, policy, processes
from tests.redis.tools import server_ms

SIX = ("2001:db8:1:2::7", 1)


async def test_inspect_tells_how_somebody_stands_and_counts_nothing(backend: str) -> None:
    async with processes(backend, lambda: RateLimit("3/hour", "9/day", ban=Ban(after=0)), 1) as (one,):
        admin = RateLimitAdmin(one.guard, one.redis)
        for _ in range(3):
            status = await admin.inspect(ADDRESS)
            assert [(state.allowed, state.remaining) for state in status.states] == [(True, 3), (True, 9)]
        assert (await one.redis.execute("DBSIZE"), status.blocked, status.banned_until) == (0, False, None)
        await one.statuses(4)
        status = await admin.inspect(ADDRESS)
        assert [(state.allowed, state.remaining) for state in status.states] == [(False, 0), (True, 6)]
        assert status.blocked
        assert not (await admin.inspect("198.51.100.1")).blocked


async def test_inspect_tells_of_the_limits_of_a_rule_by_its_text(backend: str) -> None:
    rules = {"/search/*": "1/hour", "POST /login": "2/hour", "/free/*": None}
    async with processes(backend, lambda: RateLimit("3/hour", rules=rules), 1) as (one,):
        admin = RateLimitAdmin(one.guard, one.redis)
        await one.statuses(1, path="/search/cats")
        await one.statuses(2, path="/login", method="POST")
        stands = {rule: await admin.inspect(ADDRESS, rule=rule) for rule in ("", "/search/*", "POST /login")}
        assert [status.states[0].remaining for status in stands.values()] == [3, 0, 0]
        for unknown in ("/free/*", "/search", "/login"):
            with pytest.raises(ValueError, match="rule: "):
                await admin.inspect(ADDRESS, rule=unknown)
        await admin.reset(ADDRESS)
        assert [(await admin.inspect(ADDRESS, rule=rule)).states[0].remaining for rule in stands] == [3, 1, 2]


async def test_limits_that_a_function_tells_are_said_to_the_admin(backend: str) -> None:
    async with processes(backend, lambda: RateLimit(lambda exchange: "3/hour", name="told"), 1) as (one,):
        admin = RateLimitAdmin(one.guard, one.redis)
        await one.statuses(2)
        with pytest.raises(ValueError, match="limits="):
            await admin.inspect(ADDRESS)
        assert (await admin.inspect(ADDRESS, limits="3/hour")).states[0].remaining == 1
        await admin.reset(ADDRESS, limits="3/hour")
        assert (await admin.inspect(ADDRESS, limits=["3/hour"])).states[0].remaining == 3


@pytest.mark.parametrize(
    ("key", "request_of", "values"),
    [
        ("address", {}, (ADDRESS,)),
        ("address", {"client": SIX}, (SIX[0],)),
        ("address", {"client": SIX}, ("2001:db8:1:2:ffff::1",)),
        ("address", {"client": SIX}, ("2001:db8:1:2::/64",)),
        ("address", {"client": (f"::ffff:{ADDRESS}", 1)}, (ADDRESS,)),
        ("header:X-Key", {"headers": {"x-key": "k1"}}, ("k1",)),
        (("header:X-Key", "method"), {"headers": {"x-key": "k1"}}, ("k1", "GET")),
        (("address", "header:x-key"), {"client": SIX, "headers": {"x-key": "k1"}}, (SIX[0], "k1")),
        (("query:tenant", "path"), {"path": "/a", "query_string": b"tenant=t1"}, ("t1", "*")),
        ("header:x-key|address", {"headers": {"x-key": "k1"}}, ("header:x-key", "k1")),
        ("header:x-key|address", {}, ("address", ADDRESS)),
        ("user", {}, ("nobody", ADDRESS)),
        (lambda exchange: "mine", {}, ("mine",)),
        (lambda exchange: b"exactly 20 bytes long", {}, ("exactly 20 bytes long",)),
    ],
)
async def test_somebody_is_named_by_the_values_of_the_key_or_by_the_digest(
    redis_url: str, key: Any, request_of: dict[str, Any], values: tuple[str, ...]
) -> None:
    async with processes(redis_url, lambda: RateLimit("2/hour", key=key), 1) as (one,):
        admin = RateLimitAdmin(one.guard, one.redis)
        assert await one.statuses(3, **request_of) == [200, 200, 429]
        status = await admin.inspect(*values)
        assert status.blocked
        assert (await admin.inspect(status.identity)).blocked
        await admin.reset(*values)
        assert await one.statuses(3, **request_of) == [200, 200, 429]
        await admin.reset(status.identity)
        assert await one.statuses(3, **request_of) == [200, 200, 429]
        await admin.reset(*values[:-1], "somebody else")
        assert await one.statuses(1, **request_of) == [429]


@pytest.mark.parametrize(("key", "values"), [("address", ("a", "b")), (("user", "method"), ("ann",)), ("user", ())])
def test_a_key_has_a_value_for_each_of_its_parts(key: Any, values: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="one for each of"):
        RateLimit("2/hour", key=key).identity.named(values)


async def refused(*each: Process) -> None:
    """Let processes refuse somebody, and remember that."""
    for one in each:
        await one.becomes(lambda response: response.status == 429)
        await one.listens()  # where it forgets what it was not told to keep
        assert await one.statuses(1) == [429]


async def test_a_reset_reaches_who_remembers_a_refusal_and_nobody_else(backend: str) -> None:
    async with processes(backend, lambda: RateLimit("2/hour")) as (here, there):
        await refused(here, there)
        other = {"client": ("198.51.100.1", 1)}
        assert await there.statuses(3, **other) == [200, 200, 429]
        await RateLimitAdmin(here.guard, here.redis).reset(ADDRESS)
        assert allowed(await here.get()), "here it is known at once"
        await there.becomes(allowed)
        assert await there.statuses(1, **other) == [429]


async def test_a_ban_by_hand_holds_everywhere_until_it_is_lifted(backend: str) -> None:
    async with processes(backend, lambda: RateLimit("9/hour", ban=Ban(after=0))) as (here, there):
        admin = RateLimitAdmin(here.guard, here.redis)
        before = await server_ms(here.redis)
        until = await admin.ban(ADDRESS, seconds=600)
        after = await server_ms(here.redis)
        assert before + 599_990 < (until - datetime.fromtimestamp(0, UTC)).total_seconds() * 1000 < after + 600_010
        assert [(await one.get()).json()["detail"][:35] for one in (here, there)] == [
            "The limits were exceeded too often;"
        ] * 2
        status = await admin.inspect(ADDRESS)
        assert (status.blocked, status.banned_until, status.states[0].remaining) == (True, until, 9)
        await there.listens()
        assert await admin.unban(ADDRESS)
        assert allowed(await here.get())
        await there.becomes(allowed)
        assert not await admin.unban(ADDRESS)
        assert not (await admin.inspect(ADDRESS)).blocked


async def test_changed_limits_stand_everywhere_and_what_was_used_is_kept(backend: str) -> None:
    async with processes(backend, lambda: RateLimit("3/hour", algorithm="fixed", changeable=True)) as (here, there):
        admin = RateLimitAdmin(there.guard, there.redis)
        await refused(here, there)
        await admin.change("5/hour; 9/day")
        response = await there.get()
        assert (response.status, response["ratelimit-policy"]) == (200, '"hour";q=5;w=3600, "day";q=9;w=86400')
        assert response["ratelimit"].startswith('"hour";r=1;'), "three of five were used"
        await here.becomes(policy('"hour";q=5;w=3600, "day";q=9;w=86400'))
        await admin.change(None)
        await here.becomes(policy(""))
        assert await here.statuses(9) == [200] * 9
        await admin.restore()
        await here.becomes(policy('"hour";q=3;w=3600'))


async def test_the_limits_of_one_rule_are_changed_alone(backend: str) -> None:
    def make() -> RateLimit:
        return RateLimit("9/hour", rules={"/search/*": "2/hour", "POST /login": "1/hour"}, changeable=True)

    async with processes(backend, make) as (here, there):
        await there.get()
        await there.listens()
        admin = RateLimitAdmin(here.guard, here.redis)
        await admin.change(["7/hour", "8/day"], rule="/search/*")
        await admin.change(None, rule="POST /login")
        await there.becomes(policy('"hour";q=7;w=3600, "day";q=8;w=86400'), path="/search/x")
        await there.becomes(policy(""), path="/login", method="POST")
        assert policy('"hour";q=9;w=3600')(await there.get())
        assert policy('"hour";q=9;w=3600')(await there.get("/login"))


async def test_limits_that_a_function_tells_are_changed_too(backend: str) -> None:
    async with processes(backend, lambda: RateLimit(lambda exchange: "2/hour", changeable=True)) as (here, there):
        await there.get()
        await there.listens()
        admin = RateLimitAdmin(here.guard, here.redis)
        with pytest.raises(ValueError, match="no limits that are known beforehand"):
            await admin.inspect(ADDRESS)
        await admin.change("7/hour")
        await there.becomes(policy('"hour";q=7;w=3600'))
        await admin.restore()
        await there.becomes(policy('"hour";q=2;w=3600'))


async def test_what_a_guard_is_not_made_for_is_refused_in_plain_words(redis: RedisManager) -> None:
    plain = RateLimitAdmin(RateLimit("3/hour"), redis)
    for call, word in (
        (plain.ban("a", seconds=5), "ban=Ban"),
        (plain.change("1/hour"), "changeable=True"),
        (plain.restore(), "changeable=True"),
        (plain.statistics(), "statistics=True"),
        (plain.busiest(), "statistics=True"),
        (plain.refused(), "statistics=True"),
        (plain.blocked(), "statistics=True"),
        (plain.inspect("a", rule="/nowhere"), "rule: "),
    ):
        with pytest.raises(ValueError, match=word):
            await call
    full = RateLimitAdmin(RateLimit("3/hour", ban=Ban(), changeable=True, statistics=True), redis)
    for seconds in (0, -1, 367 * 86_400, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="seconds: "):
            await full.ban("a", seconds=seconds)
    for hours in (0, 49):
        with pytest.raises(ValueError, match="hours: "):
            await full.statistics(hours)
    with pytest.raises(ValueError, match="rule: "):
        await full.change("1/hour", rule="/nowhere")
    for limits in ("many", "", "0/hour", ["5/hour", "x"]):
        with pytest.raises(ConfigurationError):
            await full.change(limits)
    assert await redis.execute("DBSIZE") == 0
    with pytest.raises(ConfigurationError, match="guard: "):
        RateLimitAdmin("ratelimit")  # type: ignore[arg-type]
