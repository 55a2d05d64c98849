"""The traps that other limiters have fallen into, one test or group for each, by the number that they have in the list.

Some are shown at length elsewhere; what stands here is what is promised to those who come from such a limiter.
"""

import asyncio
import inspect
import logging
from typing import Any

import pytest
from starlette.middleware.cors import CORSMiddleware

from asgi_redis_guard import GuardMiddleware, RateLimit, RateLimitMiddleware, RedisManager, RedisUnavailable
from asgi_redis_guard.core.keys import Keys, digest
from asgi_redis_guard.core.script import OperationKind
from asgi_redis_guard.middleware.routed import DECLARED
from asgi_redis_guard.ratelimit import concurrency
from asgi_redis_guard.ratelimit.concurrency import ConcurrencyLimit
from asgi_redis_guard.ratelimit.decorator import rate_limit
from asgi_redis_guard.ratelimit.notation import Style, make_limits
from asgi_redis_guard.ratelimit.policy import KINDS, SETTLES
from tests.conformance.clockwork import Clockwork
from tests.drive import App, get
from tests.middleware.calls import Call, TestRedis, http, responding, settled
from tests.ratelimit.conftest import CountingManager, Limited
from tests.ratelimit.gates import Gate, held
from tests.ratelimit.said import left, times
from tests.servers import Server

ALGORITHMS = ["gcra", "fixed", "counter", "log", "calendar"]
NOW = 1_700_000_000_000_000


@pytest.fixture(autouse=True)
def decorated_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the engine its shorter way for the tests of others."""
    monkeypatch.setattr(DECLARED, "any", False)


async def test_trap_1_a_fast_limit_s_time_to_live_never_becomes_zero(redis: RedisManager) -> None:
    """100 a second at a burst of 10 let 60 of 60 through, where a TTL was rounded down to nothing."""
    (limit,) = make_limits(["100/second"], Style(burst=10))
    said = [await Clockwork(redis).one(NOW, limit.operation(Keys(), b"who")) for _ in range(60)]
    assert [one.status for one in said] == [1] * 10 + [0] * 50
    for fast in ("1000000/second", "1000000000/hour"):  # a unit is a µs, and 4 of them
        app = GuardMiddleware(App(), [RateLimit(fast, burst=1, name="fast")], redis=redis)
        assert (await get(app)).status == 200


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "leaky"])
async def test_trap_2_every_key_ends_from_its_first_hit_on(redis: RedisManager, algorithm: Any) -> None:
    limit = RateLimit("2/hour", algorithm=algorithm, statistics=True, labels=True, settle=True)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["rate_limits"]["ratelimit"].settle(2)
        await responding()(scope, receive, send)

    await get(GuardMiddleware(app, [limit], redis=redis))
    await settled(redis)
    keys = await redis.execute("KEYS", "*")
    assert len(keys) >= 3
    assert all([await redis.execute("PTTL", key) > 0 for key in keys])


async def test_trap_3_parts_of_a_unit_are_not_lost(manager: RedisManager) -> None:
    """A refill that is rounded down at each look would never be whole for who looks often."""
    (limit,) = make_limits(["3/second"], Style(burst=1))
    clockwork, admitted = Clockwork(manager), 0
    for step in range(3000):  # a look each ms, for three seconds
        operation = limit.operation(Keys(), b"who")
        admitted += (await clockwork.one(NOW + step * 1000, operation)).status == 1
    assert admitted == 9


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_trap_4_microseconds_of_an_epoch_are_kept_whole(redis: RedisManager, algorithm: Any) -> None:
    """Lua's own text of a number has 14 digits; they have 16."""
    await get(GuardMiddleware(App(), [RateLimit("5/hour", algorithm=algorithm)], redis=redis))
    (key,) = await redis.execute("KEYS", "guard:l:*")
    kind = await redis.execute("TYPE", key)
    if kind in (b"zset", "zset"):
        stored = b":".join(await redis.execute("ZRANGE", key, 0, -1))
    else:
        stored = await redis.execute("GET", key)
    assert b"e+" not in stored.lower()
    assert b"." not in stored
    if algorithm != "fixed":  # whose key holds a count alone
        assert max(len(word) for word in stored.split(b":")) == 16


def test_trap_5_names_and_values_never_run_into_one_another() -> None:
    assert digest("a/b", "c") != digest("a", "b/c")
    assert digest("a:b") != digest("a", "b")
    assert digest("1:a") != digest("a")


async def test_trap_5_hostile_parts_of_a_key_do_not_meet(limited: Limited) -> None:
    app = limited(RateLimit("1/hour", key=["header:x-tenant", "header:x-user"]))
    pairs = [
        ("a", "b:c"),
        ("a:b", "c"),
        ("ab", "c"),
        ("a", "bc"),
        ("", "abc"),
        ("abc", ""),
        ("{a}", "b"),
        ("a\x00", "b"),
    ]
    assert [await times(app, 1, headers={"x-tenant": one, "x-user": two}) for one, two in pairs] == [[200]] * len(pairs)


@pytest.mark.parametrize("algorithm", ["fixed", "counter", "log", "calendar", "gcra"])
async def test_trap_6_a_change_of_amount_does_not_reset_what_was_used(redis: RedisManager, algorithm: Any) -> None:
    for amount in (4, 8, 4, 8, 4, 4):
        limit = RateLimit(f"{amount}/hour", algorithm=algorithm)
        last = await get(GuardMiddleware(App(), [limit], redis=redis))
    assert last.status == 429
    assert len(await redis.execute("KEYS", "guard:l:*")) == 1


async def test_trap_7_a_limit_goes_by_the_route_and_not_by_the_path_that_was_asked_for(limited: Limited) -> None:
    app = limited(RateLimit(rules={"/i/{item}": "1/hour"}))
    assert [(await get(app, f"/i/{number}")).status for number in range(4)] == [200, 429, 429, 429]


async def test_trap_7_middlewares_without_a_name_do_not_share_a_count_by_accident(limited: Limited) -> None:
    one = RateLimit("1/hour", key="header:x-a", unidentified="allow")
    other = RateLimit("1/hour", key="header:x-b", unidentified="allow")
    app = limited(one, other)
    assert await times(app, 1, headers={"x-a": "same"}) == [200]
    assert await times(app, 1, headers={"x-b": "same"}) == [200]
    assert await times(app, 1, headers={"x-a": "same"}) == [429]


async def test_trap_7_the_server_s_clock_counts_and_not_the_app_s(redis: RedisManager) -> None:
    said = []
    for off in (0, 7200, -7200, 10**9):
        limit = RateLimit("2/hour", algorithm="fixed", deny_cache=0)
        said += await times(GuardMiddleware(App(), [limit], redis=redis, clock=lambda off=off: 1.7e9 + off), 1)  # type: ignore[misc]
    assert said == [200, 200, 429, 429]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_trap_8_what_is_refused_uses_up_nothing(redis: RedisManager, algorithm: Any) -> None:
    guards = [
        RateLimit("1/hour", "9/day", name="first", algorithm=algorithm, deny_cache=0),
        RateLimit("9/day", name="second", algorithm=algorithm, deny_cache=0),
    ]
    app = GuardMiddleware(App(), guards, redis=redis)
    assert await times(app, 9) == [200, *[429] * 8]
    hours = [key for key in await redis.execute("KEYS", "guard:l:first.*") if b".3600:" in key or b".hour@" in key]
    await redis.execute("DEL", *hours)
    assert left(await get(app)) == {"first-hour": 0, "first-day": 7, "second": 7}


@pytest.mark.parametrize("client", [None, ("", 0), ("unix:", 0)])
async def test_trap_9_who_has_no_address_is_not_everybody_else_without_one(limited: Limited, client: Any) -> None:
    assert (await get(limited(RateLimit("9/hour")), client=client)).status == 400


#: The proxies of a site: a load balancer that the world reaches, and one inside.
TRUSTED = ["10.0.0.0/8", "2001:db8:aa::/48", "unix"]


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("6.6.6.6, 192.0.2.1", "192.0.2.1"),
        ("6.6.6.6, 7.7.7.7, 192.0.2.1, 10.9.9.9", "192.0.2.1"),
        ("10.1.1.1, 192.0.2.1", "192.0.2.1"),
        ("127.0.0.1, 192.0.2.1:4711, 10.2.2.2:80", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:4711", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:5::6]:4711, 2001:db8:aa::1", "2001:db8:1:2::/64"),
        ("192.0.2.1, unknown", "10.0.0.1"),
        ("192.0.2.1, _hidden, 10.3.3.3", "10.3.3.3"),
        ("", "10.0.0.1"),
        ("10.5.5.5", "10.5.5.5"),
        (", ".join(["6.6.6.6"] * 500 + ["192.0.2.1"]), "192.0.2.1"),
    ],
)
async def test_trap_9_behind_nested_proxies_the_right_most_that_is_not_ours_is_the_client(
    limited: Limited, forwarded: str, address: str
) -> None:
    """A browser's headers, what it has forged in front of them, and the limit that it shares with who is meant."""
    browser = {
        "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36",
        "accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
        "accept-language": "de,en;q=0.7",
        "forwarded": 'for=8.8.8.8;proto=https, for="[2001:db8::8]"',
        "x-real-ip": "8.8.4.4",
        "cf-connecting-ip": "8.8.4.5",
        "x-forwarded-for": forwarded,
    }
    seen: list[bytes] = []

    def counted(exchange: Any) -> bool:
        seen.append(digest("address", exchange.client(guard.identity.proxies)))
        return False

    guard = RateLimit("1/hour", trusted_proxies=TRUSTED, deny=counted)
    app = limited(guard)
    assert await times(app, 2, headers=browser, client=("10.0.0.1", 1)) == [200, 429]
    assert seen[0] == digest("address", address)


async def test_trap_9_the_lines_of_a_forwarded_field_are_one_list(limited: Limited) -> None:
    app = limited(RateLimit("1/hour", trusted_proxies=TRUSTED))
    for forged in (b"6.6.6.6", b"7.7.7.7", b"192.0.2.9"):
        lines = [(b"x-forwarded-for", forged), (b"X-Other".lower(), b"1"), (b"x-forwarded-for", b"192.0.2.1")]
        last = await get(app, headers=lines, client=("10.0.0.1", 1))
    assert last.status == 429


async def test_trap_9_nobody_is_believed_who_is_no_proxy_of_ours(limited: Limited) -> None:
    app = limited(RateLimit("1/hour", trusted_proxies=TRUSTED))
    said = [
        await times(app, 1, headers={"x-forwarded-for": f"192.0.2.{number}"}, client=("203.0.113.5", 1))
        for number in range(3)
    ]
    assert said == [[200], [429], [429]]


async def test_trap_9_all_of_ipv4_is_not_one_ipv6_network(limited: Limited) -> None:
    app = limited(RateLimit("1/hour"))
    said = [await times(app, 1, client=(f"::ffff:192.0.2.{number}", 1)) for number in (1, 2, 1)]
    assert said == [[200], [200], [429]]
    assert await times(app, 1, client=("192.0.2.2", 1)) == [429]


async def test_trap_10_an_outage_is_bounded_quiet_and_not_a_refusal(
    memory: TestRedis, caplog: pytest.LogCaptureFixture
) -> None:
    guard = RateLimit("5/hour", workers=5, local_keys=3)
    app = GuardMiddleware(App(), [guard], redis=memory)
    memory.away = RedisUnavailable()
    with caplog.at_level(logging.INFO):
        for number in range(50):
            assert await times(app, 2, client=(f"192.0.2.{number}", 1)) == [200, 429], "a fifth of the limit"
    assert len(guard.local.windows) <= 3
    assert not caplog.records, "a line for each request helps nobody"


def test_trap_10_what_may_have_run_is_repeated_where_counting_one_too_many_is_the_worst() -> None:
    assert all(kind.repeatable for kind in KINDS.values())
    assert not any(kind.repeatable for kind in SETTLES.values()), "to give back twice would be a gift"


async def test_trap_11_a_server_that_has_forgotten_its_scripts_learns_them_again(
    fresh_redis: RedisManager, fresh_server: Server
) -> None:
    app = GuardMiddleware(App(), [RateLimit("9/hour", algorithm="fixed")], redis=fresh_redis)
    for remaining in (8, 7, 6):
        assert left(await get(app)) == {"hour": remaining}
        fresh_server.command("SCRIPT", "FLUSH")


def test_trap_11_no_script_looks_for_keys_and_all_keys_of_an_operation_share_a_slot() -> None:
    kinds: list[OperationKind] = [*KINDS.values(), *SETTLES.values()]
    for kind in kinds:
        text = kind.check + kind.commit
        assert "KEYS'" not in text
        assert "SCAN" not in text
        assert len(kind.keys) == 1
    assert all(key.count(b"{guard}") == 1 for key in Keys().limit_statistics(b"guard", 7))


async def test_trap_12_messages_go_by_once_and_unknown_ones_as_they_are(memory: TestRedis) -> None:
    sent = [
        {"type": "http.response.start", "status": 200, "headers": [(b"X-Mixed", b"1")], "trailers": True},
        {"type": "http.response.body", "body": b"a", "more_body": True},
        {"type": "http.response.body", "body": b"b", "more_body": True},
        {"type": "http.response.body", "body": b""},
        {"type": "http.response.trailers", "headers": [], "more_trailers": False},
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in sent:
            await send(message)

    for options in ({}, {"settle": True}, {"settle": "bytes"}):
        call = await Call(GuardMiddleware(app, [RateLimit("9/hour", **options)], redis=memory)).run()
        assert call.kinds == [message["type"] for message in sent]
        assert all(name == name.lower() for name, _ in call.headers if name != b"X-Mixed")

    async def path_sending(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.pathsend", "path": "/etc/hostname"})

    call = await Call(GuardMiddleware(path_sending, [RateLimit("9/hour", name="p")], redis=memory)).run()
    assert call.sent[-1] == {"type": "http.response.pathsend", "path": "/etc/hostname"}


async def test_trap_13_what_runs_is_a_lease_that_ends_with_the_request_however_it_ends(memory: TestRedis) -> None:
    """At length in the tests of concurrency limits."""
    gate = Gate()
    app = GuardMiddleware(gate, [ConcurrencyLimit(2)], redis=memory)
    calls = [Call(app).start() for _ in range(2)]
    await gate.runs(2)
    assert await held(memory) == 2
    calls[0].task.cancel()
    gate.open.set()
    await asyncio.wait([call.task for call in calls])
    assert await held(memory) == 0
    source = inspect.getsource(concurrency)
    assert "INCR" not in source
    assert "DECR" not in source


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_trap_14_a_key_that_was_evicted_is_a_fresh_quota_and_no_error(
    redis: RedisManager, algorithm: Any
) -> None:
    """What eviction does to a limit; a server that keeps limits has `noeviction`, and says so when it is full."""
    app = GuardMiddleware(App(), [RateLimit("1/hour", algorithm=algorithm, deny_cache=0)], redis=redis)
    assert await times(app, 2) == [200, 429]
    await redis.execute("DEL", *await redis.execute("KEYS", "guard:l:*"))
    assert await times(app, 2) == [200, 429]


async def test_trap_15_a_preflight_is_not_counted(limited: Limited, manager: CountingManager) -> None:
    app = limited(RateLimit("1/hour", rules={"/x": "1/hour"}))
    preflight = {"origin": "https://a", "access-control-request-method": "POST"}
    assert await times(app, 5, "/x", headers=preflight, method="OPTIONS") == [200] * 5
    assert manager.round_trips == 0
    assert await times(app, 2, "/x", headers={"origin": "https://a"}, method="OPTIONS") == [200, 429]


async def test_trap_15_a_refusal_inside_of_a_cors_middleware_can_be_read_by_a_script(manager: CountingManager) -> None:
    limited = RateLimitMiddleware(App(), "1/hour", redis=manager)
    app = CORSMiddleware(limited, allow_origins=["https://a"])
    for status in (200, 429):
        response = await get(app, headers={"origin": "https://a"})
        assert (response.status, response["access-control-allow-origin"]) == (status, "https://a")
        assert "ratelimit" in response["access-control-expose-headers"]
    assert "retry-after" in response["access-control-expose-headers"]


async def test_the_whole_way_of_a_decorated_route_is_one_round_trip_more(memory: TestRedis) -> None:
    async def route() -> None:
        """A route function."""

    inner = rate_limit("9/hour", "99/day")(route)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await inner()
        await responding()(scope, receive, send)

    await Call(RateLimitMiddleware(app, "9/hour", redis=memory), http()).run()
    assert [len(one) for one in memory.rounds] == [1, 2]
