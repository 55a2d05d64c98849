"""`MessageLimit`: what becomes of messages that are too many, or too long."""

import asyncio
from typing import Any

import pytest
from starlette.websockets import WebSocket, WebSocketDisconnect

from asgi_redis_guard import (
    ConfigurationError,
    GuardMiddleware,
    JWTAuth,
    MessageLimit,
    MessageLimitMiddleware,
    RateLimit,
    RateLimitAdmin,
    RedisManager,
)
from asgi_redis_guard.middleware import receiving
from asgi_redis_guard.testing import ManualClock
from tests.drive import App
from tests.jwt.tokens import NOW, SECRET, bearer, sign
from tests.middleware.calls import CONNECT, Call, TestRedis, http, websocket
from tests.ratelimit.chats import LEAVES, Chat, Waits, chat, closes, says
from tests.redis.tools import within


async def test_a_socket_that_says_too_much_is_closed_for_both_sides(redis: RedisManager) -> None:
    call, app = await chat(redis, MessageLimit("2/hour"), "a", "b", "c", "d")
    assert (app.heard, app.end) == (["a", "b"], 1008)
    assert closes(call) == [(1008, "rate limited")]
    call, app = await chat(redis, MessageLimit("2/hour"), "e")
    assert (app.heard, app.end) == ([], 1008), "another socket of the same client"


async def test_what_is_too_much_is_dropped(redis: RedisManager) -> None:
    call, app = await chat(redis, MessageLimit("2/hour", on_breach="drop"), "a", "b", "c", "d")
    assert (app.heard, app.end, closes(call)) == (["a", "b"], 1001, [])


async def test_bytes_are_those_of_the_payload_and_one_for_an_empty_message(redis: RedisManager) -> None:
    guard = MessageLimit("12/hour", unit="bytes", on_breach="drop")
    _, app = await chat(redis, guard, "éé", b"\x00\xff\x01", "", "12345", "€", b"")
    assert app.heard == ["éé", b"\x00\xff\x01", "", "€", b""]
    call, app = await chat(redis, MessageLimit("10/hour", unit="bytes"), "1")
    assert closes(call) == [(1008, "rate limited")]


async def test_what_comes_too_early_waits_for_its_turn_in_its_order(
    redis: RedisManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = Waits(redis, monkeypatch)
    clock = ManualClock(NOW)
    said = [str(number) for number in range(7)]
    guard = MessageLimit("2/minute", on_breach="delay", algorithm="fixed", deny_cache=0)
    call, app = await chat(redis, guard, *said, clock=clock)
    assert (app.heard, app.end, closes(call)) == (said, 1001, [])
    assert len(waits.seconds) == 3
    assert all(0 < seconds <= 60 for seconds in waits.seconds)


async def test_what_would_wait_for_longer_than_a_minute_closes_the_socket(redis: RedisManager) -> None:
    """Nobody hears meanwhile that the client has left."""
    call, app = await chat(redis, MessageLimit("2/hour", on_breach="delay"), "a", "b", "c")
    assert (app.heard, closes(call)) == (["a", "b"], [(1008, "rate limited")])


async def test_in_a_leaky_bucket_messages_come_evenly(redis: RedisManager, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(redis, monkeypatch, forget=False)
    guard = MessageLimit("24/day", algorithm="leaky", burst=3)
    call, app = await chat(redis, guard, "a", "b", "c", "d")
    assert (app.heard, closes(call)) == (["a", "b", "c"], [(1008, "rate limited")])
    assert [round(seconds / 3600) for seconds in waits.seconds] == [1, 2]


@pytest.mark.parametrize(
    ("on_breach", "heard", "closed"), [("close", ["12"], 1), ("drop", ["12", "3"], 0), ("delay", ["12"], 1)]
)
async def test_a_message_that_never_fits_is_not_waited_for(
    redis: RedisManager, monkeypatch: pytest.MonkeyPatch, on_breach: Any, heard: list[str], closed: int
) -> None:
    waits = Waits(redis, monkeypatch)
    guard = MessageLimit("100/hour", burst=5, unit="bytes", on_breach=on_breach)
    call, app = await chat(redis, guard, "12", "123456", "3")
    assert (app.heard, len(closes(call)), waits.seconds) == (heard, closed, [])


async def test_an_app_that_gives_up_waiting_gets_the_message_later_and_it_is_counted_once(
    memory: TestRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, goes_on, got = asyncio.Event(), asyncio.Event(), []

    async def wait_for(step: Any) -> None:
        waiting.set()
        await goes_on.wait()

    async def impatient(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        got.append(await receive())
        for _ in range(2):
            turn = asyncio.ensure_future(receive())
            await waiting.wait()
            turn.cancel()
            with pytest.raises(asyncio.CancelledError):
                await turn
        goes_on.set()
        got.extend([await receive(), await receive()])

    monkeypatch.setattr(receiving, "wait_for", wait_for)
    guard = MessageLimit("24/day", algorithm="leaky", burst=9)
    stack = GuardMiddleware(impatient, [guard], redis=memory)
    await Call(stack, websocket(), CONNECT, says("a"), says("b"), LEAVES).run()
    assert got == [says("a"), says("b"), LEAVES]
    assert len(memory.rounds) == 2


async def test_a_cancelled_app_waits_no_more(memory: TestRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, given_up = asyncio.Event(), asyncio.Event()

    async def wait_for(step: Any) -> None:
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    monkeypatch.setattr(receiving, "wait_for", wait_for)
    stack = MessageLimitMiddleware(Chat(), "1/minute", on_breach="delay", redis=memory)
    call = Call(stack, websocket(), CONNECT, says("a"), says("b")).start()
    await waiting.wait()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    await within(given_up.wait())


async def test_one_user_s_sockets_share_a_limit_behind_a_token_and_a_limit_of_handshakes(memory: TestRedis) -> None:
    guards = [RateLimit("3/hour"), JWTAuth(SECRET), MessageLimit("2/hour", key="user")]

    async def session(user: str, *said: str) -> tuple[Call, Chat]:
        app = Chat()
        stack = GuardMiddleware(app, guards, redis=memory, clock=lambda: NOW)
        scope = websocket(headers=[(b"host", b"test"), *((k.encode(), v) for k, v in bearer(sign(sub=user)).items())])
        return await Call(stack, scope, CONNECT, *map(says, said), LEAVES).run(), app

    assert [(await session(user, "a"))[1].heard for user in ("alice", "alice", "bob")] == [["a"]] * 3
    looks = ["jwt.mark", "jwt.not_after"]  # each socket's own, in the background: whether its token is still good
    own = [round_ for round_ in memory.rounds if "ratelimit.changes" not in round_ and round_ != looks]
    assert [len(round_) for round_ in own] == [3, 1] * 3
    call, app = await session("alice")
    assert (call.status, app.received) == (429, []), "by the limit of handshakes"
    await memory.execute("DEL", *[key for key in await memory.execute("KEYS", "*") if b"messages" not in key])
    call, app = await session("alice", "b")
    assert (app.heard, closes(call)) == ([], [(1008, "rate limited")])


async def test_a_handshake_that_does_not_tell_whose_it_is_is_refused_or_not_limited(memory: TestRedis) -> None:
    call, app = await chat(memory, MessageLimit("1/hour", key="header:x-key"), "a", "b")
    assert (call.status, app.received) == (400, [])
    _, app = await chat(memory, MessageLimit("1/hour", key="header:x-key", unidentified="allow"), "a", "b")
    assert app.heard == ["a", "b"]
    call, app = await chat(memory, MessageLimit("1/hour", deny=["203.0.113.0/24"]), "a")
    assert (call.status, app.received) == (403, [])
    assert memory.rounds == []


async def test_requests_and_exempt_paths_are_none_of_its_business(memory: TestRedis) -> None:
    stack = GuardMiddleware(Chat(), [MessageLimit("1/hour", key="header:x-key")], redis=memory)
    for _ in range(3):
        assert (await Call(stack, http()).run()).head == {"type": "http.response.start", "status": 200, "headers": []}
    assert memory.rounds == []
    app = Chat()
    stack = GuardMiddleware(app, [MessageLimit("1/hour", exempt=["/free"])], redis=memory)
    await Call(stack, websocket(path="/free"), CONNECT, says("a"), says("b"), LEAVES).run()
    assert (app.heard, memory.rounds) == (["a", "b"], [])


async def test_starlette_s_sockets_see_it_as_a_disconnect(redis: RedisManager) -> None:
    heard, codes = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        socket = WebSocket(scope, receive, send)
        await socket.accept()
        try:
            while True:
                heard.append(await socket.receive_text())
        except WebSocketDisconnect as error:
            codes.append((error.code, error.reason))

    stack = MessageLimitMiddleware(app, "2/hour", redis=redis)
    call = await Call(stack, websocket(), CONNECT, *[says(str(number)) for number in range(5)]).run()
    assert (heard, codes) == (["0", "1"], [(1008, "rate limited")])
    assert closes(call) == [(1008, "rate limited")]


async def test_limits_that_are_changed_reach_an_open_socket(redis: RedisManager) -> None:
    guard = MessageLimit("1/hour", on_breach="drop", algorithm="fixed", changeable=True, deny_cache=0)
    app = Chat()
    call = Call(GuardMiddleware(app, [guard], redis=redis), websocket(), CONNECT, says("a")).start()
    await call.sees("websocket.send")
    await RateLimitAdmin(guard, redis).change("3/hour")
    for said in "bcd":
        call.feed(says(said))
    call.feed(LEAVES)
    await call.task
    assert app.heard == ["a", "b", "c"]


def test_options_beside_a_guard_are_refused() -> None:
    guard = MessageLimit("1/hour")
    for options in ({"unit": "bytes"}, {"on_breach": "drop"}, {"name": "x"}):
        with pytest.raises(ConfigurationError, match=f"given together with {next(iter(options))}"):
            MessageLimitMiddleware(App(), guard=guard, **options)  # type: ignore[arg-type]
    assert MessageLimitMiddleware(App(), guard=guard).guards == (guard,)


@pytest.mark.parametrize(
    "options", [{"unit": "words"}, {"on_breach": "cry"}, {"cost": 2}, {"settle": True}, {"count_if": [401]}]
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        MessageLimit("1/hour", **options)
