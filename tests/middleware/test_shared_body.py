"""`middleware/shared_body.py`: a body that the app and a guard read, in whatever order they come."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard.core.asgi import Message
from asgi_redis_guard.errors import GuardProtocolError
from asgi_redis_guard.middleware.body import ClientGone
from asgi_redis_guard.middleware.shared_body import SharedBody
from tests.middleware.calls import GONE


class Server:
    """Gives messages, one at a time and when it is told to; two that wait at once are a fault."""

    def __init__(self, messages: Sequence[Message], *, held: bool = False) -> None:
        self.messages = [*messages]
        self.given = asyncio.Semaphore(0 if held else len(messages))
        self.waiting = 0

    async def __call__(self) -> Message:
        self.waiting += 1
        assert self.waiting == 1, "two wait for the server at once"
        try:
            await self.given.acquire()
            return self.messages.pop(0)
        finally:
            self.waiting -= 1


def messages(*chunks: bytes) -> list[Message]:
    """A body in these pieces, and the end of the connection."""
    return [
        *(
            {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
            for number, chunk in enumerate(chunks, start=1)
        ),
        GONE,
    ]


async def received(body: SharedBody, number: int) -> list[Message]:
    return [await body() for _ in range(number)]


@settings(deadline=None)
@given(st.lists(st.binary(max_size=4), min_size=1, max_size=6), st.data())
async def test_both_get_all_of_it_whoever_comes_first(chunks: list[bytes], data: st.DataObject) -> None:
    sent, whole = messages(*chunks), b"".join(chunks)
    before = data.draw(st.integers(0, len(chunks)), "what the app has read before")
    limits = data.draw(st.lists(st.integers(0, 24), min_size=1, max_size=3), "limits of guards")
    body = SharedBody(Server(sent), keep=24)
    got = await received(body, before)
    for limit in limits:
        assert await body.read(limit) == (whole if len(whole) <= limit else None)
    assert got + await received(body, len(sent) - before) == sent


@settings(deadline=None)
@given(st.lists(st.binary(max_size=2), min_size=1, max_size=5), st.data())
async def test_an_app_that_waits_in_a_task_of_its_own_and_a_guard_never_wait_for_the_server_at_once(
    chunks: list[bytes], data: st.DataObject
) -> None:
    sent, server = messages(*chunks), Server(messages(*chunks), held=True)
    body = SharedBody(server, keep=10)
    app = asyncio.ensure_future(received(body, len(sent)))
    guard: asyncio.Future[bytes | None] | None = None
    starts = data.draw(st.integers(0, len(chunks)), "messages before the guard starts")
    for number in range(len(sent)):
        if number == starts:
            guard = asyncio.ensure_future(body.read(10))
        for _ in range(data.draw(st.integers(0, 4), "steps of the loop")):
            await asyncio.sleep(0)
        server.given.release()
    assert guard is not None
    assert (await guard, await app) == (b"".join(chunks), sent)


async def test_an_app_that_gives_up_waiting_leaves_the_turn_to_the_guard() -> None:
    server = Server(messages(b"a"), held=True)
    body = SharedBody(server, keep=10)
    app = asyncio.ensure_future(body())
    await asyncio.sleep(0)
    guard = asyncio.ensure_future(body.read(10))
    app.cancel()
    server.given.release()
    assert await guard == b"a"
    assert await body() == messages(b"a")[0]


async def test_a_body_over_the_limit_is_read_no_further_than_that_shows() -> None:
    server = Server(messages(b"12", b"34", b"5"))
    assert await SharedBody(server).read(3) is None
    assert len(server.messages) == 2


async def test_what_the_app_reads_beyond_what_is_kept_is_dropped_and_no_guard_gets_half_of_it() -> None:
    body = SharedBody(Server(messages(b"12", b"34")), keep=3)
    await received(body, 2)
    assert body._chunks is None
    assert await body.read(3) is None
    with pytest.raises(GuardProtocolError):
        await body.read(10)


@pytest.mark.parametrize("before", [0, 1, 2])
async def test_a_client_that_leaves_in_the_middle_is_gone_whoever_was_told(before: int) -> None:
    sent = [*messages(b"1", b"2")[:1], GONE]
    body = SharedBody(Server(sent), keep=10)
    got = await received(body, before)
    for _ in range(2):
        with pytest.raises(ClientGone):
            await body.read(10)
    assert got + await received(body, 2 - before) == sent


async def test_a_client_that_leaves_after_the_body_has_sent_all_of_it() -> None:
    body = SharedBody(Server(messages(b"1")), keep=10)
    await received(body, 2)
    assert await body.read(10) == b"1"
