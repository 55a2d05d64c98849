"""`middleware/body.py`: guards that read the request body, and the app that gets all of it again."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard import PASS, Answer, Ask, Body, BodyTooLarge, Exchange, GuardMiddleware
from asgi_redis_guard.core.asgi import Message, Receive, Scope, Send
from asgi_redis_guard.core.steps import Admission
from asgi_redis_guard.middleware.body import ClientGone, RequestBody
from tests.guards import Does, Ends, Lock, asking, count, passing
from tests.middleware.calls import GONE, Call, TestRedis, responding, settled, websocket


def chunk(body: bytes, more: bool = True) -> Message:
    """A piece of a request's body."""
    return {"type": "http.request", "body": body, "more_body": more}


class Reads(Does):
    """Reads up to `limit` bytes; what is longer it lets pass unread, or refuses."""

    def __init__(self, limit: int, *, refuses: bool = False) -> None:
        super().__init__(self._admit, name="reads")
        self.limit, self.refuses = limit, refuses
        self.got: list[bytes | None] = []

    def _admit(self, exchange: Exchange) -> Admission:
        try:
            body = yield Body(self.limit)
        except BodyTooLarge:
            self.got.append(None)
            return Answer(413, []) if self.refuses else PASS
        self.got.append(body)
        return PASS


class Echo:
    """Reads the whole body and answers with it."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            self.messages.append(await receive())
            if not self.messages[-1].get("more_body", False):
                break
        body = b"".join(message.get("body", b"") for message in self.messages)
        await responding(body)(scope, receive, send)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=6), min_size=1, max_size=6), st.integers(0, 20))
async def test_the_guard_gets_the_whole_body_up_to_its_limit_and_the_app_gets_every_message(
    pieces: list[bytes], limit: int
) -> None:
    redis = TestRedis()
    reads, again, echo = Reads(limit), Reads(100), Echo()
    messages = [chunk(piece, number < len(pieces)) for number, piece in enumerate(pieces, start=1)]
    stack = GuardMiddleware(echo, [reads, again], redis=redis)
    await Call(stack, None, *messages).run()
    whole = b"".join(pieces)
    assert reads.got == [whole if len(whole) <= limit else None]
    assert again.got == [whole]
    assert echo.messages == messages
    await redis.aclose()


async def test_a_body_over_the_limit_is_read_no_further_than_that_shows(redis: TestRedis) -> None:
    call = Call(GuardMiddleware(Echo(), [Reads(3, refuses=True)], redis=redis), None, chunk(b"12"), chunk(b"34"))
    assert (await call.run()).status == 413


async def test_messages_without_body_or_more_body_are_understood(redis: TestRedis) -> None:
    reads = Reads(3)
    await Call(GuardMiddleware(Echo(), [reads], redis=redis), None, {"type": "http.request"}).run()
    assert reads.got == [b""]


async def test_the_app_still_hears_of_a_disconnect_after_the_body(redis: TestRedis) -> None:
    got: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        got.extend([await receive(), await receive()])

    await Call(GuardMiddleware(app, [Reads(3)], redis=redis), None, chunk(b"1", False), GONE).run()
    assert got == [chunk(b"1", False), GONE]


async def test_the_body_is_read_after_the_guards_before_have_passed_and_before_those_behind_ask(
    redis: TestRedis,
) -> None:
    call = Call(
        GuardMiddleware(responding(), [asking(count("a")), Reads(3), asking(count("b"))], redis=redis),
        None,
        chunk(b"1"),
    ).start()
    await redis.asked.wait()
    assert [await redis.value(key) for key in "ab"] == [b"1", None]
    call.feed(chunk(b"2", False))
    await call.task
    assert redis.rounds == [["test.count"], ["test.count"]]


async def test_a_refusal_before_it_leaves_the_body_unread(redis: TestRedis) -> None:
    reads = Reads(3)
    stack = GuardMiddleware(responding(), [asking(count("a", stopping=True)), reads], redis=redis)
    assert (await Call(stack, None, chunk(b"1")).run()).status == 429
    assert reads.got == []


async def test_a_client_that_disconnects_in_the_middle_ends_the_request_and_responders_hear_of_it(
    redis: TestRedis,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        pytest.fail("it ran")

    ends = Ends()
    stack = GuardMiddleware(app, [passing(ends), Lock("lock"), Reads(9)], redis=redis)
    call = await Call(stack, None, chunk(b"1"), GONE).run()
    assert (call.sent, ends.kinds) == ([], ["disconnect"])
    await settled(redis)
    assert await redis.value("lock") is None


async def test_what_guards_behind_hold_already_is_given_back_when_the_client_disconnects(redis: TestRedis) -> None:
    def asks_and_reads(exchange: Exchange) -> Admission:
        yield Ask([count("a")])
        yield Body(9)
        return PASS

    stack = GuardMiddleware(responding(), [Does(asks_and_reads), Lock("lock")], redis=redis)
    await Call(stack, None, chunk(b"1"), GONE).run()
    await settled(redis)
    assert redis.rounds == [["test.count", "test.acquire"], ["test.release"]]
    assert await redis.value("lock") is None


async def test_a_body_that_a_guard_does_not_expect_to_be_too_large_is_an_error_and_not_a_pass(redis: TestRedis) -> None:
    def trusting(exchange: Exchange) -> Admission:
        yield Body(1)
        return PASS

    call = Call(GuardMiddleware(responding(), [Does(trusting)], redis=redis), None, chunk(b"12", False))
    with pytest.raises(BodyTooLarge):
        await call.run()
    assert call.sent == []


async def test_a_handshake_has_an_empty_body_and_nothing_of_it_is_taken(redis: TestRedis) -> None:
    got: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        got.append(await receive())

    reads = Reads(3)
    await Call(GuardMiddleware(app, [reads], redis=redis), websocket()).run()
    assert (reads.got, got) == ([b""], [{"type": "websocket.connect"}])


async def test_a_body_read_by_itself_tells_a_disconnect_apart() -> None:
    async def receive() -> Message:
        return GONE

    with pytest.raises(ClientGone):
        await RequestBody(receive).read(10)
