"""`MessageLimit` while Redis is away, in shadow, and on a socket that lives for hours."""

from typing import Any

import pytest

from asgi_redis_guard import Ban, GuardMiddleware, MessageLimit, RateLimitAdmin, RedisManager, RedisUnavailable
from asgi_redis_guard.testing import ManualClock
from tests.jwt.tokens import NOW
from tests.middleware.calls import CONNECT, Call, TestRedis, websocket
from tests.ratelimit.chats import LEAVES, Chat, Waits, chat, closes, considered, says


async def test_while_redis_is_away_messages_are_counted_here(memory: TestRedis) -> None:
    memory.away = RedisUnavailable()
    call, app = await chat(memory, MessageLimit("2/hour"), "a", "b", "c")
    assert (app.heard, closes(call)) == (["a", "b"], [(1008, "rate limited")])
    _, app = await chat(memory, MessageLimit("4/hour", workers=2, on_breach="drop"), "a", "b", "c")
    assert app.heard == ["a", "b"]


async def test_what_was_counted_here_is_told_when_redis_is_back(memory: TestRedis) -> None:
    guard, clock = MessageLimit("3/hour", algorithm="fixed", on_breach="drop"), ManualClock(NOW)
    app = Chat()
    call = Call(GuardMiddleware(app, [guard], redis=memory, clock=clock), websocket(), CONNECT).start()
    await call.sees("websocket.accept")
    memory.away = RedisUnavailable()
    for number, said in enumerate("ab", start=1):
        call.feed(says(said))
        await call.sees("websocket.send", number)
    memory.away = None
    for said in "cde":
        call.feed(says(said))
    call.feed(LEAVES)
    await call.task
    assert app.heard == ["a", "b", "c"]


async def test_open_lets_all_messages_through_and_closed_closes(memory: TestRedis) -> None:
    memory.away = RedisUnavailable()
    _, app = await chat(memory, MessageLimit("1/hour", on_outage="open"), "a", "b", "c")
    assert app.heard == ["a", "b", "c"]
    for on_breach in ("close", "drop", "delay"):
        guard = MessageLimit("1/hour", on_outage="closed", on_breach=on_breach)  # type: ignore[arg-type]
        call, app = await chat(memory, guard, "a", "b")
        assert (app.heard, app.end, closes(call)) == ([], 1013, [(1013, "try again later")])


@pytest.mark.parametrize("on_breach", ["close", "drop", "delay"])
@pytest.mark.parametrize("algorithm", ["gcra", "leaky", "fixed"])
async def test_in_shadow_nothing_is_closed_dropped_or_delayed(
    memory: TestRedis, monkeypatch: pytest.MonkeyPatch, algorithm: Any, on_breach: Any
) -> None:
    waits = Waits(memory, monkeypatch)
    guard = MessageLimit("24/day", algorithm=algorithm, on_breach=on_breach, shadow=True)
    said = [str(number) for number in range(30)]
    call, app = await chat(memory, guard, *said)
    assert (app.heard, closes(call), waits.seconds) == (said, [], [])


async def test_a_socket_lives_for_hours_by_the_clock_of_then(memory: TestRedis) -> None:
    guard, clock = MessageLimit("1/hour", on_breach="drop"), ManualClock(NOW)
    app = Chat()
    call = Call(GuardMiddleware(app, [guard], redis=memory, clock=clock), websocket(), CONNECT).start()
    await call.sees("websocket.accept")
    for hour in range(1, 4):
        for said in ("first", "second", "third"):
            call.feed(says(f"{said} of {hour}"))
        await considered(call)
        for key in await memory.execute("KEYS", "guard:l:*"):
            await memory.execute("DEL", key)
        clock.advance(3600)
    call.feed(LEAVES)
    await call.task
    assert app.heard == ["first of 1", "first of 2", "first of 3"]


async def test_windows_of_an_outage_end_by_the_clock_of_then(memory: TestRedis) -> None:
    guard, clock = MessageLimit("1/hour", on_breach="drop"), ManualClock(NOW)
    memory.away = RedisUnavailable()
    app = Chat()
    call = Call(GuardMiddleware(app, [guard], redis=memory, clock=clock), websocket(), CONNECT, says("a")).start()
    await call.sees("websocket.send")
    clock.advance(3601)
    call.feed(says("b"))
    await call.sees("websocket.send", 2)
    call.feed(LEAVES)
    await call.task
    assert app.heard == ["a", "b"]


async def test_the_app_s_clock_matters_to_no_wait(memory: TestRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(memory, monkeypatch)
    clock = ManualClock(NOW - 86_400)
    guard = MessageLimit("1/minute", on_breach="delay", deny_cache=0)
    _, app = await chat(memory, guard, "a", "b", clock=clock)
    assert (app.heard, len(waits.seconds)) == (["a", "b"], 1)
    assert 0 < waits.seconds[0] <= 60


async def test_a_ban_and_a_reset_reach_messages_too(redis: RedisManager) -> None:
    guard = MessageLimit("1/hour", on_breach="drop", ban=Ban(after=0), statistics=True)
    admin, app = RateLimitAdmin(guard, redis), Chat()
    call = Call(GuardMiddleware(app, [guard], redis=redis, clock=lambda: NOW), websocket(), CONNECT).start()
    await call.sees("websocket.accept")
    for number in (1, 2):
        call.feed(says(f"{number}"))
        await call.sees("websocket.send", number)
        await admin.ban("203.0.113.9", seconds=60)
        call.feed(says("banned"))
        await considered(call)
        for forgive in (admin.unban, admin.reset):
            await forgive("203.0.113.9")
    call.feed(LEAVES)
    await call.task
    assert app.heard == ["1", "2"]
