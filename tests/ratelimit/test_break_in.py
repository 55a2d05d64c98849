"""Ways past a limit, or to a fault of it, that clients have tried: each one found open once."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, MessageLimit, RateLimit, RateLimiter, RedisManager, RedisUnavailable
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.client_ip import parse
from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.keys import Keys, digest
from asgi_redis_guard.core.script import STOPPED, Replies
from asgi_redis_guard.core.steps import Answer, Ask, Pass
from asgi_redis_guard.ratelimit.admin import RateLimitAdmin
from asgi_redis_guard.ratelimit.concurrency import ConcurrencyLimit
from tests.drive import App, get, http_scope
from tests.guards import Does, count
from tests.middleware.calls import Call, TestRedis, settled
from tests.ratelimit.chats import chat
from tests.ratelimit.gates import held
from tests.ratelimit.said import left, times
from tests.redis.tools import eventually

HOUR: dict[str, Any] = {"algorithm": "fixed"}
NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("key", "request_of"),
    [
        ("query:key", lambda n: {"query_string": b"key=%d&key=real" % n}),
        ("cookie:key", lambda n: {"headers": {"cookie": f"key={n}; key=real"}}),
        ("header:key", lambda n: {"headers": [(b"key", b"%d" % n), (b"key", b"real")]}),
        (("user|query:key",), lambda n: {"query_string": b"key=%d&key=real" % n}),
    ],
)
async def test_a_value_given_twice_does_not_choose_a_fresh_count(memory: TestRedis, key: Any, request_of: Any) -> None:
    """Frameworks go by the last one, or by the first."""
    app = GuardMiddleware(App(), [RateLimit("2/hour", key=key, **HOUR)], redis=memory)
    assert [(await get(app, **request_of(number))).status for number in range(3)] == [200, 200, 429]
    assert (await get(app, client=("203.0.113.8", 1), **request_of(0))).status == 200, "not one count for all of them"


async def test_the_same_value_twice_is_one_value(memory: TestRedis) -> None:
    app = GuardMiddleware(App(), [RateLimit("1/hour", key="query:key", **HOUR)], redis=memory)
    queries = (b"key=a", b"key=a&key=a")
    assert [(await get(app, query_string=query)).status for query in queries] == [200, 429]


async def test_methods_that_a_client_makes_up_are_counted_as_one(memory: TestRedis) -> None:
    app = GuardMiddleware(App(), [RateLimit("1/hour", key=("address", "method"), **HOUR)], redis=memory)
    assert [(await get(app, method=method)).status for method in ("GET", "XA", "XB", "xc")] == [200, 200, 429, 429]


async def test_a_request_cancelled_while_limits_give_back_keeps_no_slot(memory: TestRedis) -> None:
    def tells(exchange: Any) -> Any:
        yield Ask([count("first")])
        return Pass({"late": 1})

    def refuses(exchange: Any) -> Any:
        yield Ask([count("second")])
        memory.withhold()
        return Answer(429, [], b"", reason="rate_limited")

    guards = [
        ConcurrencyLimit(1),
        RateLimit("9/hour", **HOUR),
        Does(tells, provides=frozenset({"late"})),
        Does(refuses, needs=frozenset({"late"}), refunds=True),
    ]
    call = Call(GuardMiddleware(App(), guards, redis=memory)).start()
    await eventually(lambda: memory.withheld)
    assert memory.rounds[-1] == ["ratelimit.fixed_settle"]
    call.task.cancel()
    await asyncio.wait([call.task])
    memory.give()
    assert await held(memory) == 0


@pytest.mark.parametrize("algorithm", ["gcra", "fixed", "counter", "log", "calendar"])
async def test_three_guards_of_six_limits_have_room_to_tell_what_they_owe(redis: RedisManager, algorithm: Any) -> None:
    spans = ["hour", "day", "month", "year"] if algorithm == "calendar" else [f"{n} hours" for n in range(1, 7)]
    guards = [
        RateLimit(*[f"9 per {span}" for span in spans], name=name, algorithm=algorithm, statistics=True)
        for name in ("a", "b", "c")
    ]
    app = GuardMiddleware(App(), guards, redis=redis, clock=lambda: NOW)
    for guard in guards:
        plan = guard.rules.plans[0]
        identity = guard.identity.single(_exchange())
        guard.local.decide(plan, _hashed(identity), 5, NOW)
    assert await times(app, 2) == [200, 200]
    assert all(number == 9 - 5 - 2 - 1 for number in left(await get(app)).values())
    assert not any(guard.local.windows for guard in guards)


async def test_what_is_given_back_of_a_window_that_is_over_is_not_free_in_the_next(memory: TestRedis) -> None:
    clock, gate = [NOW], asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await gate.wait()
        await send({"type": "http.response.start", "status": 200 if scope["path"] == "/slow" else 401, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = RateLimit("5/minute", count_if=[401], deny_cache=0)
    stack = GuardMiddleware(app, [guard], redis=memory, clock=lambda: clock[0])
    memory.away = RedisUnavailable()
    slow = [Call(stack, http_scope("/slow")).start() for _ in range(5)]
    await eventually(lambda: bool(guard.local.windows))
    clock[0] += 61
    assert await times(stack, 6) == [401] * 5 + [429]
    gate.set()
    await asyncio.gather(*(call.task for call in slow))
    await settled(memory)
    assert await times(stack, 1) == [429]


async def test_a_degraded_hit_of_a_window_that_is_over_gives_nothing_back(
    memory: TestRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [NOW]
    monkeypatch.setattr("asgi_redis_guard.ratelimit.limiter.host_time", lambda: clock[0])
    limiter = RateLimiter("2/minute", redis=memory)
    memory.away = RedisUnavailable()
    early = await limiter.hit("a", cost=2)
    clock[0] += 61
    now = await limiter.hit("a", cost=2)
    await limiter.refund(early)
    assert not await limiter.hit("a")
    await limiter.refund(now)
    assert await limiter.hit("a")


async def test_a_label_of_half_a_surrogate_is_no_fault(memory: TestRedis) -> None:
    """JSON may hold one, so a token's subject may."""
    guard = RateLimit("9/hour", key=lambda exchange: "a\ud800b", statistics=True, labels=True)
    assert await times(GuardMiddleware(App(), [guard], redis=memory), 1) == [200]
    assert [one.label for one in await RateLimitAdmin(guard, memory).busiest()] == ["value a?b"]


def test_what_redis_has_stopped_is_refused_whatever_the_wait() -> None:
    """In floating point a wait may come to nothing: windows of a year and of a million."""
    guard = RateLimit("9/hour", algorithm="counter")
    exchange = _exchange()
    ask = guard.ask(exchange)
    assert isinstance(ask, Ask)
    verdict = guard.decide(exchange, Replies(ask, [STOPPED, 0, 1, 0], False, 1))
    assert isinstance(verdict, Answer)
    assert verdict.status == 429


async def test_a_wait_too_long_to_be_told_is_no_negative_one(redis: RedisManager) -> None:
    guard = RateLimit("1/day", cost=lambda exchange: 1_000_000_000, deny_cache=0)
    refused = await get(GuardMiddleware(App(), [guard], redis=redis))
    assert refused.status == 429
    assert int(refused["retry-after"]) > 86_400


async def test_empty_messages_are_not_free(memory: TestRedis) -> None:
    _, app = await chat(memory, MessageLimit("2/hour", unit="bytes", on_breach="drop"), b"", "", b"", "")
    assert app.heard == [b"", ""]


async def test_units_that_many_settle_beyond_a_log_do_not_pile_up(redis: RedisManager) -> None:
    limiter = RateLimiter("10/hour", algorithm="log", redis=redis)
    hits = [await limiter.hit("a") for _ in range(10)]
    await asyncio.gather(*(limiter.settle(hit, 1_000_000_000) for hit in hits))
    (key,) = await redis.execute("KEYS", "guard:l:*")
    assert await redis.execute("ZCARD", key) == 20
    assert not await limiter.hit("a")


async def test_a_file_that_the_server_would_send_by_itself_is_counted(memory: TestRedis) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert list(scope["extensions"]) == ["tls"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 700})

    stack = GuardMiddleware(app, [RateLimit("1000/hour", settle="bytes", **HOUR)], redis=memory)
    names = ("http.response.pathsend", "tls", "http.response.zerocopysend")
    scope = http_scope(extensions={name: {} for name in names})
    for _ in range(2):
        call = await Call(stack, scope).run()
        await settled(memory)
    assert dict(call.headers)[b"ratelimit"] == b'"hour";r=299;t=3600'


@pytest.mark.parametrize("key", [b" " * 20, b"a word changed:12345", b"\x00" * 20])
async def test_a_key_of_twenty_bytes_is_no_digest_and_says_nothing_to_others(memory: TestRedis, key: bytes) -> None:
    guard = RateLimit("1/hour", key="header:key", **HOUR)
    app, admin = GuardMiddleware(App(), [guard], redis=memory), RateLimitAdmin(guard, memory)
    headers = [(b"key", key)]
    assert await times(app, 2, headers=headers) == [200, 429]
    await admin.reset(key)
    assert await times(app, 1, headers=headers) == [200]


def test_long_texts_in_the_place_of_addresses_are_not_remembered() -> None:
    assert parse("fe80::1%" + "a" * 60_000) is None
    assert parse("[fe80::1%" + "a" * 60 + "]:8080") == parse("fe80::1")


def _exchange() -> Any:

    return Exchange(http_scope(), NOW, lambda size: b"\x00" * size, Keys())


def _hashed(identity: Any) -> bytes:

    return digest(*identity)
