"""Refusals that are remembered here: no round trip for up to a second, and nothing that is not so any more."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, GuardMiddleware, RateLimit, RedisManager
from asgi_redis_guard.core.keys import digest
from asgi_redis_guard.ratelimit.changes import changed_word, forget_word
from asgi_redis_guard.ratelimit.denials import Denial, Denials
from tests.drive import ADDRESS, App, get
from tests.middleware.calls import settled
from tests.ratelimit.conftest import CountingManager, Limited
from tests.ratelimit.said import left, times
from tests.redis.tools import PATIENCE, eventually

HOUR: dict[str, Any] = {"algorithm": "fixed"}
NOW = 1_700_000_000.0


@pytest.fixture
def clock() -> list[float]:
    return [NOW]


async def test_a_client_over_its_limit_costs_no_round_trip_for_a_second(
    limited: Limited, manager: CountingManager, clock: list[float]
) -> None:
    app = limited(RateLimit("1/hour"), clock=lambda: clock[0])
    await times(app, 2)
    await settled(manager)  # from now on it listens
    await times(app, 1)
    asked = manager.round_trips
    waits = []
    for _ in range(9):
        refused = await get(app)
        waits.append(int(refused["retry-after"]))
        clock[0] += 0.1
    assert manager.round_trips == asked
    assert waits[0] - 1 <= waits[-1] <= waits[0]
    clock[0] += 0.2
    await times(app, 1)
    assert manager.round_trips == asked + 1


async def test_what_is_repeated_counts_down(limited: Limited, manager: CountingManager, clock: list[float]) -> None:
    app = limited(RateLimit("1/hour", legacy_headers=True), clock=lambda: clock[0])
    await times(app, 2)
    await settled(manager)
    first = await get(app)
    clock[0] += 0.999
    later = await get(app)
    assert int(first["retry-after"]) - int(later["retry-after"]) in (0, 1)
    assert later["retry-after"] == later["x-ratelimit-reset"]
    assert {name for name, _ in first.headers} == {name for name, _ in later.headers}
    assert later.json() == first.json()


async def test_a_wait_shorter_than_a_second_is_kept_no_longer_than_it_lasts() -> None:
    denials = Denials(1.0, 10)
    denials.add("plan", b"a", Denial(NOW, 0, 1, 250_000, None))
    found = [denials.find("plan", b"a", 1, NOW + passed) for passed in (0, 0.1, 0.2499, 0.25)]
    assert [one.wait if one is not None else None for one in found] == [250_000, 150_000, 100, None]


async def test_a_cheaper_request_is_asked_about(limited: Limited, manager: CountingManager, clock: list[float]) -> None:
    cost = {"now": 8}
    app = limited(RateLimit("10/hour", cost=lambda exchange: cost["now"], **HOUR), clock=lambda: clock[0])
    assert await times(app, 2) == [200, 429]
    cost["now"] = 2
    assert await times(app, 1) == [200]
    cost["now"] = 8
    assert await times(app, 1) == [429]


async def test_an_inner_limit_s_remembered_refusal_does_not_drain_an_outer_one(
    limited: Limited, manager: CountingManager, clock: list[float]
) -> None:
    outer, inner = RateLimit("9/hour", name="outer", **HOUR), RateLimit("1/hour", name="inner", **HOUR)
    app = limited(outer, inner, clock=lambda: clock[0])
    said = [await get(app) for _ in range(20)]
    assert [one.status for one in said] == [200] + [429] * 19
    assert {left(one)["outer"] for one in said} == {8}
    assert inner.denials.held


async def test_without_a_time_nothing_is_remembered(limited: Limited, manager: CountingManager) -> None:
    guard = RateLimit("1/hour", deny_cache=0)
    assert await times(limited(guard), 5) == [200, *[429] * 4]
    assert not guard.denials.held
    for wrong in (-0.1, 1.1, float("nan"), "1", None, True):
        with pytest.raises(ConfigurationError, match="deny_cache"):
            RateLimit("1/hour", deny_cache=wrong)  # type: ignore[arg-type]


async def test_a_flood_of_refused_clients_takes_a_bounded_amount_of_memory(limited: Limited) -> None:
    guard = RateLimit("1/hour", cost=lambda exchange: 2, local_keys=10)
    app = limited(guard)
    for number in range(50):
        assert await times(app, 1, client=(f"192.0.2.{number}", 1)) == [429]
        assert len(guard.denials.held) <= 10


async def test_what_is_over_is_forgotten_when_anybody_asks(limited: Limited, clock: list[float]) -> None:
    guard = RateLimit("1/hour", cost=lambda exchange: 2 if exchange.path == "/dear" else 1)
    app = limited(guard, clock=lambda: clock[0])
    for number in range(9):
        await times(app, 1, "/dear", client=(f"192.0.2.{number}", 1))
    clock[0] += 1.1
    await times(app, 1)
    assert not guard.denials.held


@pytest.mark.parametrize("back", [0.001, 60, 86_400 * 400])
async def test_a_clock_that_was_set_back_makes_a_second_no_longer(
    limited: Limited, manager: CountingManager, clock: list[float], back: float
) -> None:
    app = limited(RateLimit("1/hour"), clock=lambda: clock[0])
    await times(app, 2)
    await settled(manager)
    await times(app, 1)
    asked, clock[0] = manager.round_trips, clock[0] - back
    await times(app, 1)
    assert manager.round_trips == asked + 1


async def test_the_app_words_remembered_refusals_as_the_others(limited: Limited) -> None:
    from asgi_redis_guard import Answer, Exchange

    def own(exchange: Exchange, answer: Answer) -> Answer:
        return Answer(420, [], exchange.path.encode())

    app = limited(RateLimit("1/hour", on_refused=own))
    assert [(one.status, one.body) for one in [await get(app, path) for path in ("/a", "/b", "/c")]][1:] == [
        (420, b"/b"),
        (420, b"/c"),
    ]


def who(address: str = ADDRESS) -> bytes:
    """What stands in keys for an address."""
    return digest("address", address)


@pytest.mark.parametrize("word", [forget_word("ratelimit", who()), forget_word("ratelimit"), changed_word("ratelimit")])
async def test_a_word_to_all_processes_clears_what_they_remember(redis_url: str, word: bytes) -> None:
    """Two managers are as good as two processes: nothing is shared but the server."""
    async with RedisManager(redis_url, timeout=PATIENCE) as here, RedisManager(redis_url, timeout=PATIENCE) as there:
        guards = [RateLimit("1/hour"), RateLimit("1/hour")]
        apps = [
            GuardMiddleware(App(), [guard], redis=manager, clock=lambda: NOW)
            for guard, manager in zip(guards, (here, there), strict=True)
        ]
        for app, manager in zip(apps, (here, there), strict=True):
            await times(app, 2)
            await settled(manager)
            assert await times(app, 1) == [429]
        assert all(guard.denials.held for guard in guards)
        await here.pubsub.feed.tell("limits", [word])
        await eventually(lambda: not any(guard.denials.held for guard in guards))
        await here.execute("FLUSHALL")
        assert [await times(app, 1) for app in apps] == [[200], [429]]


@pytest.mark.parametrize(
    "word",
    [
        forget_word("other"),
        forget_word("ratelimit", who("192.0.2.1")),
        b"",
        b":",
        b"forget",
        b"forget:::",
        b"\xff:x",
        b"?",
    ],
)
async def test_a_word_about_others_or_nothing_clears_nothing(redis_url: str, word: bytes) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as manager:
        guard = RateLimit("1/hour")
        app = GuardMiddleware(App(), [guard], redis=manager, clock=lambda: NOW)
        await times(app, 2)
        await settled(manager)
        await times(app, 1)
        await manager.pubsub.feed.tell("limits", [word, forget_word("marker")])
        heard: list[bytes] = []
        told = guard.told
        guard.told = lambda said: heard.append(said) or told(said)  # type: ignore[method-assign, func-returns-value]
        await manager.pubsub.feed.tell("limits", [word, b"last"])
        await eventually(lambda: b"last" in heard)
        assert len(guard.denials.held) == 1


async def test_two_requests_on_their_way_when_the_limit_is_reached_are_both_refused_by_the_server(
    limited: Limited,
) -> None:
    app = limited(RateLimit("3/hour"))
    said = await asyncio.gather(*(get(app) for _ in range(20)))
    assert sorted(one.status for one in said) == [200] * 3 + [429] * 17
