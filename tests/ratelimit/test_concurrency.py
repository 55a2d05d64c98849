"""`ConcurrencyLimit`: never more than the amount at once, what is told of it, and its options."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import (
    Answer,
    ConfigurationError,
    GuardMiddleware,
    RateLimit,
    RedisManager,
    guarded,
)
from asgi_redis_guard.core.script import Operation, stopping
from asgi_redis_guard.ratelimit.concurrency import ConcurrencyLimit
from asgi_redis_guard.ratelimit.concurrency_middleware import ConcurrencyLimitMiddleware
from tests.drive import App, get
from tests.guards import asking, count, passing
from tests.middleware.calls import Call, TestRedis, http, responding, settled
from tests.middleware.site import hello, routing
from tests.ratelimit.gates import TOO_MANY, Gate, held, stack
from tests.ratelimit.structured import parse_list
from tests.redis.tools import PATIENCE

#: Refuses for the group of all limits.
STOPS = Operation(stopping("limits"), ())


async def test_so_many_run_at_once_and_the_next_is_refused_until_one_has_ended(redis: RedisManager) -> None:
    gate = Gate()
    app = stack(gate, redis, ConcurrencyLimit(3))
    calls = [Call(app).start() for _ in range(3)]
    await gate.runs(3)
    assert (await get(app, client=("203.0.113.9", 1))).status == TOO_MANY
    assert await held(redis) == 3
    gate.open.set()
    await asyncio.gather(*[call.task for call in calls])
    assert [call.status for call in calls] == [200] * 3
    assert await held(redis) == 0
    assert (await get(app, client=("203.0.113.9", 1))).status == 200


async def test_others_have_their_own(redis: RedisManager) -> None:
    gate = Gate()
    app = stack(gate, redis, ConcurrencyLimit(1))
    calls = [Call(app, http(client=(f"203.0.113.{number}", 1))).start() for number in range(5)]
    await gate.runs(5)
    gate.open.set()
    await asyncio.gather(*[call.task for call in calls])


async def test_a_hundred_tasks_at_once_are_never_more_than_the_amount(backend: str) -> None:
    """Through two managers, as two processes would; every request comes again until it is let in."""
    inside = most = served = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal inside, most, served
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        await other.execute("PING")
        inside -= 1
        served += 1
        await responding()(scope, receive, send)

    async with RedisManager(backend, timeout=PATIENCE) as one, RedisManager(backend, timeout=PATIENCE) as two:
        other = one
        managers = (one,) if backend == "memory://" else (one, two)
        apps = [stack(app, manager, ConcurrencyLimit(7)) for manager in managers]

        async def insist(number: int) -> None:
            while (await get(apps[number % len(apps)])).status == TOO_MANY:  # noqa: ASYNC110
                await asyncio.sleep(0)

        async with asyncio.timeout(50):
            await asyncio.gather(*(insist(number) for number in range(100)))
        assert (served, most <= 7, most > 1) == (100, True, True)
        for manager in managers:
            assert await held(manager) == 0


async def test_the_fields_tell_the_policy_and_what_is_left(redis: RedisManager) -> None:
    gate = Gate()
    app = stack(gate, redis, ConcurrencyLimit(2, name="jobs"))
    calls = [Call(app).start() for _ in range(2)]
    await gate.runs(2)
    refused = await get(app, client=("203.0.113.9", 1))
    gate.open.set()
    await asyncio.gather(*[call.task for call in calls])
    policy = '"jobs";q=2;qu="concurrent-requests"'
    assert sorted(dict(call.headers)[b"ratelimit"] for call in calls) == [b'"jobs";r=0', b'"jobs";r=1']
    assert {dict(call.headers)[b"ratelimit-policy"] for call in calls} == {policy.encode()}
    assert (refused["ratelimit-policy"], refused["ratelimit"]) == (policy, '"jobs";r=0')
    assert (refused["retry-after"], refused["content-type"]) == ("1", "application/problem+json")
    assert refused.json()["violated-policies"] == ["jobs"]
    assert refused.json()["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"


async def test_a_browser_s_script_may_read_the_fields_also_of_a_refusal(memory: TestRedis) -> None:
    app, origin = stack(App(), memory, ConcurrencyLimit(2, cost=lambda exchange: len(exchange.path))), (b"origin", b"x")
    passed, refused = await get(app, "/a", headers=[origin]), await get(app, "/aa", headers=[origin])
    assert passed["access-control-expose-headers"] == "ratelimit-policy, ratelimit"
    assert refused["access-control-expose-headers"] == "ratelimit-policy, ratelimit, retry-after"
    assert not [one for path in ("/a", "/aa") for one in (await get(app, path)).all("access-control-expose-headers")]


async def test_on_a_route_its_refusal_gives_back_what_other_limits_have_counted(memory: TestRedis) -> None:
    function = guarded(hello, [ConcurrencyLimit(1, cost=2)])
    refused = await get(GuardMiddleware(routing(function), [RateLimit("5/hour")], redis=memory))
    assert (refused.status, dict(parse_list(refused["ratelimit"]))["hour"]["r"]) == (TOO_MANY, 5)


async def test_it_is_one_round_trip_with_other_limits_and_their_fields_are_joined(memory: TestRedis) -> None:
    app = stack(App(), memory, RateLimit("5/minute"), ConcurrencyLimit(4), asking(count("behind")))
    response = await get(app)
    await settled(memory)
    assert memory.rounds == [
        ["ratelimit.gcra", "ratelimit.concurrency", "test.count"],
        ["ratelimit.concurrency_release"],
    ]
    assert [name for name, _ in parse_list(response["ratelimit-policy"])] == ["minute", "concurrency"]
    assert parse_list(response["ratelimit"])[1] == ("concurrency", {"r": 3})


async def test_what_another_limit_refuses_holds_nothing_and_tells_what_is_left(redis: RedisManager) -> None:
    app = stack(App(), redis, ConcurrencyLimit(4), RateLimit("1/hour"))
    assert (await get(app)).status == 200
    assert await held(redis) == 0
    refused = await get(app)
    assert (refused.status, refused.json()["violated-policies"]) == (TOO_MANY, ["hour"])
    assert dict(parse_list(refused["ratelimit"]))["concurrency"] == {"r": 4}
    assert await held(redis) == 0


async def test_who_holds_nothing_gives_nothing_back(memory: TestRedis) -> None:
    await get(stack(App(), memory, ConcurrencyLimit(4, cost=0)))
    assert (await get(stack(App(), memory, ConcurrencyLimit(4), asking(STOPS)))).status == TOO_MANY
    await settled(memory)
    assert "ratelimit.concurrency_release" not in [name for names in memory.rounds for name in names]


async def test_a_request_of_several_units_takes_so_many_and_gives_them_all_back(redis: RedisManager) -> None:
    gate = Gate()
    limit = ConcurrencyLimit(5, cost=lambda exchange: int(exchange.query("cost")[0]))
    app = stack(gate, redis, limit)
    call = Call(app, http(query_string=b"cost=3", client=("203.0.113.7", 1))).start()
    await gate.runs(1)
    assert await held(redis) == 3
    assert (await get(app, query_string=b"cost=3")).status == TOO_MANY
    gate.open.set()
    assert (await get(app, query_string=b"cost=2")).status == 200
    await call.task
    assert await held(redis) == 0
    look = await get(app, query_string=b"cost=0")
    assert (look.status, parse_list(look["ratelimit"])) == (200, [("concurrency", {"r": 5})])
    assert await held(redis) == 0


async def test_paths_exemptions_preflights_and_whose_requests_they_are_mean_what_they_mean_elsewhere(
    memory: TestRedis,
) -> None:
    limit = ConcurrencyLimit(1, key=("address", "path"), paths=["/jobs/*"], exempt=["/jobs/free"])
    app = stack(App(), memory, limit)
    counted = {path: "ratelimit" in str((await get(app, path)).headers) for path in ("/jobs/1", "/jobs/free", "/other")}
    assert counted == {"/jobs/1": True, "/jobs/free": False, "/other": False}
    headers = {"origin": "https://example.com", "access-control-request-method": "PUT"}
    assert not (await get(app, "/jobs/1", headers, method="OPTIONS")).all("ratelimit")
    assert (await get(app, "/jobs/1", client=None)).status == 400
    lax = stack(App(), memory, ConcurrencyLimit(1, unidentified="allow"))
    assert (await get(lax, client=None)).status == 200
    proxied = stack(App(), memory, ConcurrencyLimit(1, trusted_proxies=["203.0.113.0/24"]))
    assert (await get(proxied, headers={"x-forwarded-for": "198.51.100.1"})).status == 200
    await settled(memory)
    assert memory.rounds.count(["ratelimit.concurrency"]) == 2


async def test_an_app_may_word_its_refusals(memory: TestRedis) -> None:
    own = Answer(503, [], b"busy", reason="busy")
    gate = Gate()
    app = stack(gate, memory, ConcurrencyLimit(1, on_refused=lambda exchange, answer: own))
    call = Call(app, http(client=("203.0.113.7", 1))).start()
    await gate.runs(1)
    refused = await get(app)
    assert (refused.status, refused.body) == (503, b"busy")
    gate.open.set()
    await call.task


def test_all_faults_are_told_at_once() -> None:
    wrong: dict[str, Any] = {"ttl": 0.5, "name": "", "unidentified": "maybe", "on_outage": "never"}
    with pytest.raises(ConfigurationError) as told:
        ConcurrencyLimit(0, **wrong)
    assert [fault.partition(":")[0] for fault in told.value.faults] == ["amount", *wrong]
    for cost in (-1, 1.5, True, 1001):
        with pytest.raises(ConfigurationError, match="cost"):
            ConcurrencyLimit(1, cost=cost)  # type: ignore[arg-type]


def test_two_that_count_under_one_key_are_refused_in_one_stack() -> None:
    with pytest.raises(ConfigurationError, match="count under the same key"):
        GuardMiddleware(App(), [ConcurrencyLimit(1), ConcurrencyLimit(2)], redis="memory://")
    GuardMiddleware(App(), [ConcurrencyLimit(1), ConcurrencyLimit(2, name="b")], redis="memory://")
    GuardMiddleware(App(), [ConcurrencyLimit(1), ConcurrencyLimit(2, key="user")], redis="memory://")


async def test_a_middleware_is_the_same_limit(memory: TestRedis) -> None:
    app = ConcurrencyLimitMiddleware(App(), 2, name="m", redis=memory)
    assert (await get(app))["ratelimit"] == '"m";r=1'
    app = ConcurrencyLimitMiddleware(App(), guard=ConcurrencyLimit(3), redis=memory)
    assert (await get(app))["ratelimit"] == '"concurrency";r=2'
    assert repr(app.guards[0]) == "<ConcurrencyLimit concurrency: 3 at once by address>"
    for wrong in ({}, {"amount": 1, "guard": ConcurrencyLimit(1)}, {"guard": ConcurrencyLimit(1), "ttl": 5}):
        with pytest.raises(ConfigurationError):
            ConcurrencyLimitMiddleware(App(), redis=memory, **wrong)  # type: ignore[arg-type]


async def test_it_stands_behind_what_establishes_the_user(memory: TestRedis) -> None:
    limit = ConcurrencyLimit(1, key="user")
    assert limit.needs == {"user"}
    assert (await get(stack(App(), memory, passing(), limit))).status == 200
