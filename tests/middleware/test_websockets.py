"""WebSockets: handshakes that are refused, and messages that responders let through, change, drop or end."""

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from asgi_redis_guard import Answer, Ask, Close, GuardMiddleware, RedisUnavailable, Responder, Wait, WaitTimeout
from asgi_redis_guard.core.asgi import Message, Receive, Scope, Send
from tests.guards import Ends, Watches, answering, asking, count, passing
from tests.middleware.calls import CONNECT, Call, TestRedis, responding, websocket

LEAVES: Message = {"type": "websocket.disconnect", "code": 1001}


def says(text: str) -> Message:
    """A message from the client."""
    return {"type": "websocket.receive", "text": text}


class Chat:
    """Accepts, keeps what it receives, and echoes."""

    def __init__(self) -> None:
        self.received: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == CONNECT
        await send({"type": "websocket.accept"})
        while True:
            self.received.append(await receive())
            if self.received[-1]["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": self.received[-1]["text"]})


class Censors(Ends):
    """Upper-cases, drops `spam`, closes on `bomb`."""

    def receive(self, message: Message) -> Message | Close | None:
        text = message["text"]
        if text == "bomb":
            return Close(4008, "policy")
        return None if text == "spam" else {**message, "text": text.upper()}


class Asks(Responder):
    """Counts messages in Redis; closes when that is not to be had."""

    def receive(self, message: Message) -> Generator[Ask, Any, Message | Close]:
        try:
            (reply,) = yield Ask([count("messages")])
        except RedisUnavailable:
            return Close(1013)
        return {**message, "text": f"{message['text']} {reply.values[0]}"}


async def chat(redis: TestRedis, *said: str, responders: list[Responder]) -> tuple[Call, Chat]:
    """Say something and leave."""
    app = Chat()
    stack = GuardMiddleware(app, [passing(responder) for responder in responders], redis=redis)
    messages = [CONNECT, *map(says, said), LEAVES]
    return await Call(stack, websocket(), *messages).run(), app


async def test_messages_are_changed_and_dropped_and_everything_else_passes(redis: TestRedis) -> None:
    censors = Censors()
    _, app = await chat(redis, "one", "spam", "two", responders=[censors])
    assert app.received == [says("ONE"), says("TWO"), LEAVES]
    assert [(outcome.kind, outcome.status) for outcome in censors.outcomes] == [("disconnect", 101)]


async def test_a_close_ends_it_for_the_client_and_for_the_app(redis: TestRedis) -> None:
    censors = Censors()
    call, app = await chat(redis, "one", "bomb", "two", responders=[censors])
    assert app.received[-1] == {"type": "websocket.disconnect", "code": 4008, "reason": "policy"}
    assert call.sent[-1] == {"type": "websocket.close", "code": 4008, "reason": "policy"}
    assert call.kinds.count("websocket.close") == 1
    assert censors.kinds == ["complete"]


async def test_what_the_app_says_after_such_a_close_goes_nowhere(redis: TestRedis) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.disconnect"
        await send({"type": "websocket.send", "text": "bye"})
        await send({"type": "websocket.close", "code": 1000})

    call = await Call(GuardMiddleware(app, [passing(Censors())], redis=redis), websocket(), CONNECT, says("bomb")).run()
    assert call.kinds == ["websocket.accept", "websocket.close"]
    assert call.sent[-1]["code"] == 4008


async def test_a_responder_may_ask_redis_about_a_message(redis: TestRedis) -> None:
    _, app = await chat(redis, "one", "two", responders=[Asks()])
    assert [message["text"] for message in app.received[:-1]] == ["one 1", "two 2"]
    assert redis.rounds == [["test.count"], ["test.count"]]


async def test_without_redis_that_responder_decides(redis: TestRedis) -> None:
    redis.away = RedisUnavailable()
    call, _ = await chat(redis, "one", responders=[Asks()])
    assert call.sent[-1] == {"type": "websocket.close", "code": 1013, "reason": ""}


async def test_a_responder_may_wait_before_it_lets_a_message_through(redis: TestRedis) -> None:
    class Thing:
        def __init__(self, seconds: float) -> None:
            self.came = asyncio.get_running_loop().create_future()
            if not seconds:
                self.came.set_result("came")

        async def wait(self) -> Any:
            return await self.came

    class Waits(Responder):
        def receive(self, message: Message) -> Generator[Wait, Any, Message]:
            try:
                came = yield Wait(Thing(float(message["text"])), 0.001)
            except WaitTimeout:
                came = "late"
            return {**message, "text": came}

    _, app = await chat(redis, "0", "1", responders=[Waits()])
    assert [message["text"] for message in app.received[:-1]] == ["came", "late"]


async def test_messages_travel_from_the_outside_in_and_one_that_is_dropped_is_seen_by_nobody_behind(
    redis: TestRedis,
) -> None:
    _, app = await chat(redis, "one", "spam", responders=[Censors(), Asks()])
    assert [message["text"] for message in app.received[:-1]] == ["ONE 1"]
    _, app = await chat(redis, "one", responders=[Asks(), Censors()])
    assert [message["text"] for message in app.received[:-1]] == ["ONE 2"]


async def test_a_responder_that_fails_on_a_message_is_an_error_and_everyone_hears_of_it(redis: TestRedis) -> None:
    class Fails(Ends):
        def receive(self, message: Message) -> None:
            raise LookupError

    fails = Fails()
    with pytest.raises(LookupError):
        await chat(redis, "one", responders=[fails])
    assert fails.kinds == ["error"]


@pytest.mark.parametrize(
    "guard", [answering(Answer(401, [(b"x-own", b"1")], b"who?")), asking(count("a", stopping=True))]
)
async def test_a_refused_handshake_gets_a_real_response_where_the_server_offers_it(
    redis: TestRedis, guard: Any
) -> None:
    outer = Watches()
    call = await Call(GuardMiddleware(Chat(), [passing(outer), guard], redis=redis), websocket()).run()
    assert call.kinds == ["websocket.http.response.start", "websocket.http.response.body"]
    assert call.status in (401, 429)
    assert call.body in (b"who?", b"stopped")
    assert (b"x-seen-by", b"watches") in call.headers
    assert [(outcome.kind, outcome.status) for outcome in outer.outcomes] == [("refused", call.status)]


@pytest.mark.parametrize("changes", [{"extensions": {}}, {"denial": False}])
async def test_elsewhere_it_is_closed_before_it_is_accepted(redis: TestRedis, changes: dict[str, Any]) -> None:
    outer = Watches()
    stack = GuardMiddleware(Chat(), [passing(outer), answering(Answer(401, []))], redis=redis)
    call = await Call(stack, websocket(**changes)).run()
    assert call.sent == [{"type": "websocket.close", "code": 1008, "reason": ""}]
    assert [(outcome.kind, outcome.status) for outcome in outer.outcomes] == [("refused", 401)]


async def test_a_server_that_names_no_extensions_at_all_is_one_of_those(redis: TestRedis) -> None:
    scope = websocket()
    del scope["extensions"]
    call = await Call(GuardMiddleware(Chat(), [answering(Answer(401, []))], redis=redis), scope).run()
    assert call.kinds == ["websocket.close"]


async def test_the_refusal_comes_after_the_server_s_connect_message(redis: TestRedis) -> None:
    call = Call(GuardMiddleware(Chat(), [answering(Answer(401, []))], redis=redis), websocket(), {"type": "none"})
    await call.run()
    assert call._inbox.empty()


async def test_a_cancellation_while_the_connect_message_is_awaited_leaves_nobody_without_an_end(
    redis: TestRedis,
) -> None:
    ends, reading = Ends(), asyncio.Event()
    call = Call(GuardMiddleware(Chat(), [passing(ends), answering(Answer(401, []))], redis=redis), websocket())

    async def receive() -> Message:
        reading.set()
        return await asyncio.get_running_loop().create_future()

    call.receive = receive  # type: ignore[method-assign]
    call.start()
    await reading.wait()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    assert ends.kinds == ["cancelled"]


async def test_a_denial_by_the_app_itself_is_a_head_like_any_other(redis: TestRedis) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    watches = Watches()
    call = await Call(GuardMiddleware(app, [passing(watches)], redis=redis), websocket()).run()
    assert (call.status, call.headers, watches.chunks) == (404, [(b"x-seen-by", b"watches")], [(b"no", False)])
    assert watches.kinds == ["complete"]


async def test_handshakes_that_pass_without_responders_are_the_app_s_alone(redis: TestRedis) -> None:
    call = await Call(GuardMiddleware(Chat(), [asking(count("a"))], redis=redis), websocket(), CONNECT, LEAVES).run()
    assert call.kinds == ["websocket.accept"]
    assert (await Call(GuardMiddleware(responding(), [asking(count("a"))], redis=redis)).run()).status == 200
