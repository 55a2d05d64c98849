"""Units that a request takes: reserved before it, set right after it, each in one round trip."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, GuardError, GuardMiddleware, RateLimit, RedisManager, RedisUnavailable
from asgi_redis_guard.ratelimit.responder import Charge
from tests.drive import get
from tests.middleware.calls import GONE, Call, TestRedis, http, responding, settled
from tests.ratelimit.said import left

FIXED: dict[str, Any] = {"algorithm": "fixed"}
ALGORITHMS = ["gcra", "fixed", "counter", "log", "calendar"]


def charging(*calls: Callable[[Charge], None], name: str = "tokens", **options: Any) -> Any:
    """An app that says something of its charge, and then answers."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for call in calls:
            call(scope["rate_limits"][name])
        await responding(**options)(scope, receive, send)

    return app


async def used(redis: RedisManager, limit: RateLimit) -> int:
    """How much of an amount of 100 is used, when what is on its way has arrived."""
    await settled(redis)
    looking = RateLimit("100/hour", name=limit.name, algorithm=limit.options.algorithm, cost=0, key=limit.options.key)
    return (
        100
        - left(await get(GuardMiddleware(responding(), [looking], redis=redis), client=("203.0.113.9", 1)))[limit.name]
    )


#: Of three limits; the first two have their own counts, and one name.
NAMES_AND_KEYS = ((None, "address"), (None, "user"), ("named", "user"))


def tokens(**options: Any) -> RateLimit:
    return RateLimit("100/hour", name="tokens", cost=10, **{"settle": True, **FIXED, **options})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("actual", "left_over"), [(10, 10), (25, 25), (3, 3), (0, 0), (150, 100)])
async def test_what_the_app_says_is_what_counts_in_the_end(
    redis: RedisManager, algorithm: Any, actual: int, left_over: int
) -> None:
    limit = tokens(algorithm=algorithm)
    app = GuardMiddleware(charging(lambda charge: charge.settle(actual)), [limit], redis=redis)
    call = await Call(app).run()
    assert b'"tokens";r=90' in dict(call.headers)[b"ratelimit"]
    assert await used(redis, limit) == left_over


async def test_settling_takes_one_round_trip_and_none_where_nothing_differs(memory: TestRedis) -> None:
    for said, trips in (((), 1), ((10,), 1), ((11,), 2), ((11, 10), 1), ((0, 99, 12), 2)):
        calls = [lambda charge, units=units: charge.settle(units) for units in said]
        app = GuardMiddleware(charging(*calls), [tokens(), RateLimit("9/day", name="other")], redis=memory)
        memory.rounds.clear()
        await Call(app).run()
        await settled(memory)
        assert len(memory.rounds) == trips, said


async def test_several_limits_settle_in_one_round_trip_each_by_its_own_word(memory: TestRedis) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["rate_limits"]["tokens"].settle(30)
        scope["rate_limits"]["money"].refund()
        await responding()(scope, receive, send)

    both = (
        tokens(),
        RateLimit("100/hour", name="money", cost=4, settle=True, **FIXED),
    )
    await Call(GuardMiddleware(app, both, redis=memory)).run()
    await settled(memory)
    assert memory.rounds == [["ratelimit.fixed"] * 2, ["ratelimit.fixed_settle"] * 2]
    assert [await used(memory, limit) for limit in both] == [30, 0]


@pytest.mark.parametrize("option", ["settle", "changeable", "statistics"])
def test_two_limits_that_would_be_taken_for_one_have_two_names(option: Any) -> None:
    one, other, named = (RateLimit("5/hour", name=name, key=key, **{option: True}) for name, key in NAMES_AND_KEYS)
    GuardMiddleware(responding(), [one, named])
    with pytest.raises(ConfigurationError, match="a name of its own"):
        GuardMiddleware(responding(), [one, other])


async def test_all_limits_of_a_guard_are_set_right(memory: TestRedis) -> None:
    limit = RateLimit("100/hour", "200/day", name="tokens", cost=10, settle=True, **FIXED)
    app = GuardMiddleware(charging(lambda charge: charge.settle(60)), [limit], redis=memory)
    await Call(app).run()
    await settled(memory)
    call = await Call(app).run()
    assert dict(call.headers)[b"ratelimit"].startswith(b'"tokens-hour";r=30;')
    assert b'"tokens-day";r=130;' in dict(call.headers)[b"ratelimit"]


@pytest.mark.parametrize("wrong", [-1, -(10**12), 1.0, 1e300, float("nan"), float("inf"), True, "5", None, 10**9 + 1])
def test_a_number_of_units_that_is_none_is_refused(wrong: Any) -> None:
    charge = Charge(7)
    charge.add(5)
    for say in (charge.settle, charge.add):
        with pytest.raises(ValueError, match=r"given; allowed are whole numbers from 0 to 1,000,000,000"):
            say(wrong)
    assert (charge.actual, charge.reserved) == (5, 7)
    assert repr(charge) == "<Charge of 5, 7 reserved>"


def test_units_add_up_from_nothing_and_no_further_than_there_are_units() -> None:
    charge = Charge(7)
    for units in (3, 4, 10**9, 10**9):
        charge.add(units)
    assert charge.actual == 10**9


async def test_after_the_end_nothing_can_be_said_any_more(memory: TestRedis) -> None:
    kept: list[Charge] = []
    limit = tokens()
    await Call(GuardMiddleware(charging(kept.append), [limit], redis=memory)).run()
    for say in (lambda: kept[0].settle(1), lambda: kept[0].add(1), kept[0].refund):
        with pytest.raises(GuardError, match="the response has ended"):
            say()
    assert await used(memory, limit) == 10


async def test_a_stream_is_settled_at_its_end(memory: TestRedis) -> None:
    """The number of tokens of a language model is known with the last chunk."""
    limit, gate = tokens(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(3):
            await send({"type": "http.response.body", "body": b"word ", "more_body": True})
            scope["rate_limits"]["tokens"].add(7)
        await gate.wait()
        await send({"type": "http.response.body", "body": b""})

    call = Call(GuardMiddleware(app, [limit], redis=memory)).start()
    await call.sees("http.response.body", 3)
    assert await used(memory, limit) == 10, "reserved"
    gate.set()
    await call.task
    assert await used(memory, limit) == 21


async def fails(*asgi: Any) -> None:
    raise RuntimeError("boom")


async def leaves(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@pytest.mark.parametrize("ending", ["error", "cancelled", "disconnect"])
async def test_whatever_ends_a_request_early_keeps_what_was_reserved(memory: TestRedis, ending: str) -> None:
    async def waits(*asgi: Any) -> None:
        running.set()
        await asyncio.Event().wait()

    limit, running = tokens(), asyncio.Event()
    app = {"error": fails, "cancelled": waits, "disconnect": leaves}[ending]
    call = Call(GuardMiddleware(app, [limit], redis=memory)).start()
    if ending == "disconnect":
        call.feed(GONE)
    elif ending == "cancelled":
        await running.wait()
        call.task.cancel()
    await asyncio.wait([call.task])
    assert await used(memory, limit) == 10


@pytest.mark.parametrize(("error", "left_over"), [(False, 42), (True, 42)])
async def test_what_the_app_has_said_before_it_failed_counts(memory: TestRedis, error: bool, left_over: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["rate_limits"]["tokens"].settle(42)
        if error:
            raise RuntimeError("boom")
        await responding()(scope, receive, send)

    limit = tokens()
    call = Call(GuardMiddleware(app, [limit], redis=memory)).start()
    await asyncio.wait([call.task])
    assert (call.task.exception() is not None) is error
    assert await used(memory, limit) == left_over


@pytest.mark.parametrize(
    ("chunks", "count"), [((b"",), 0), ((b"abc",), 3), ((b"ab", b"", b"cde"), 5), ((b"x" * 70,), 70)]
)
async def test_bytes_of_the_body_are_what_counts(memory: TestRedis, chunks: tuple[bytes, ...], count: int) -> None:
    limit = tokens(settle="bytes")
    await Call(GuardMiddleware(responding(*chunks), [limit], redis=memory)).run()
    assert await used(memory, limit) == count


async def test_of_a_response_that_breaks_off_the_bytes_that_were_sent_count(memory: TestRedis) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 33, "more_body": True})
        raise RuntimeError("boom")

    limit = tokens(settle="bytes")
    with pytest.raises(RuntimeError):
        await Call(GuardMiddleware(app, [limit], redis=memory)).run()
    assert await used(memory, limit) == 33


async def test_of_a_response_that_never_began_the_reservation_counts(memory: TestRedis) -> None:
    limit = tokens(settle="bytes")
    with pytest.raises(RuntimeError):
        await Call(GuardMiddleware(fails, [limit], redis=memory)).run()
    assert await used(memory, limit) == 10


@pytest.mark.parametrize(
    "options",
    [
        {"exempt": ["/"]},
        {"rules": {"/": None}},
        {"allow": ["203.0.113.9"]},
        {"unidentified": "allow", "key": "header:x"},
        {"paths": ["/x"]},
    ],
)
async def test_a_request_that_is_not_counted_has_a_charge_of_which_nothing_comes(
    memory: TestRedis, options: dict[str, Any]
) -> None:
    """Else the app's word on it would be a KeyError for admins, or while Redis is away."""
    app = GuardMiddleware(charging(lambda charge: charge.settle(50)), [tokens(**options)], redis=memory)
    assert (await Call(app).run()).status == 200
    await settled(memory)
    assert memory.rounds == []


async def test_a_limit_that_is_open_while_redis_is_away_has_a_charge_too(memory: TestRedis) -> None:
    memory.away = RedisUnavailable()
    app = GuardMiddleware(charging(lambda charge: charge.settle(50)), [tokens(on_outage="open")], redis=memory)
    assert (await Call(app).run()).status == 200


@pytest.mark.parametrize("turned", [False, True])
async def test_every_limit_s_charge_is_there_whichever_of_them_counts(memory: TestRedis, turned: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(sorted((name, charge.reserved) for name, charge in scope["rate_limits"].items()))
        await responding()(scope, receive, send)

    seen: list[Any] = []
    one, other = tokens(), RateLimit("5/hour", name="free", settle=True, rules={"/": None})
    await Call(GuardMiddleware(app, (other, one) if turned else (one, other), redis=memory)).run()
    assert seen == [[("free", 0), ("tokens", 10)]]


async def test_over_the_limit_by_what_was_settled_is_over_the_limit(memory: TestRedis) -> None:
    limit = tokens()
    app = GuardMiddleware(charging(lambda charge: charge.settle(500)), [limit], redis=memory)
    assert (await Call(app).run()).status == 200
    await settled(memory)
    assert (await Call(app).run()).status == 429


async def test_a_cost_function_that_raises_is_a_500_and_counts_nothing(memory: TestRedis) -> None:
    limit = RateLimit("5/hour", cost=lambda exchange: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        await Call(GuardMiddleware(responding(), [limit], redis=memory)).run()
    assert memory.rounds == []


async def test_a_request_of_no_cost_only_looks(redis: RedisManager) -> None:
    for algorithm in ALGORITHMS:
        limit = RateLimit(
            "3/hour", name="tokens", algorithm=algorithm, cost=lambda exchange: (exchange.path == "/" and 1) or 0
        )  # type: ignore[arg-type]
        app = GuardMiddleware(responding(), [limit], redis=redis)
        said = [
            (await Call(app, http(path=path)).run()).status for path in ("/x", "/", "/", "/x", "/", "/x", "/x", "/")
        ]
        assert said == [200] * 7 + [429], algorithm
