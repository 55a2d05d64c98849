"""`middleware/listening.py`: a client that leaves while a guard waits is noticed, and the app gets all that it sent."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard.core.asgi import Message
from asgi_redis_guard.core.steps import Wait
from asgi_redis_guard.errors import WaitTimeout
from asgi_redis_guard.middleware.body import ClientGone
from asgi_redis_guard.middleware.listening import Listening
from tests.middleware.calls import GONE
from tests.redis.tools import PATIENCE


class Opens:
    """What is waited for: it comes when it is told to."""

    def __init__(self) -> None:
        self.event, self.cancelled = asyncio.Event(), False

    async def wait(self) -> str:
        try:
            await self.event.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return "come"


def step(what: Opens, deadline: float = PATIENCE) -> Wait:
    return Wait(what, deadline, heeds_client=True)


def client(*messages: Message) -> "asyncio.Queue[Message]":
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    for message in messages:
        inbox.put_nowait(message)
    return inbox


def part(body: bytes, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(
    "messages",
    [
        [GONE],
        [part(b"", False), GONE],
        [part(b"1"), part(b"2"), GONE],
        [{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1006}],
    ],
)
async def test_a_client_that_leaves_ends_the_wait(messages: list[Message]) -> None:
    what, listening = Opens(), Listening(client(*messages).get)
    with pytest.raises(ClientGone):
        await listening.during(step(what))
    assert what.cancelled
    with pytest.raises(ClientGone):
        await listening.during(step(what))
    assert [await listening() for _ in messages] == messages


async def test_what_comes_in_time_and_what_does_not_is_told_as_without() -> None:
    what, listening = Opens(), Listening(client(part(b"", False)).get)
    with pytest.raises(WaitTimeout):
        await listening.during(step(what, 0.01))
    what.event.set()
    assert await listening.during(step(what)) == "come"


async def test_behind_a_long_body_it_is_not_heard_and_no_more_is_read_ahead() -> None:
    inbox = client(*[part(b"x" * 40_000)] * 4, GONE)
    listening = Listening(inbox.get)
    with pytest.raises(WaitTimeout):
        await listening.during(step(Opens(), 0.05))
    assert inbox.qsize() == 3


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=4), max_size=6), st.data())
async def test_an_app_that_reads_meanwhile_gets_every_message_once(pieces: list[bytes], data: Any) -> None:
    messages = [*[part(piece) for piece in pieces], part(b"", False)]
    inbox, what = client(), Opens()
    listening = Listening(inbox.get)
    waits = asyncio.ensure_future(listening.during(step(what)))
    reads = asyncio.ensure_future(_read(listening, len(messages)))
    stop = data.draw(st.integers(0, len(messages)))
    for number, message in enumerate(messages):
        if number == stop:
            what.event.set()
            await waits
        inbox.put_nowait(message)
        for _ in range(data.draw(st.integers(0, 4))):
            await asyncio.sleep(0)
    what.event.set()
    assert await waits == "come"
    assert await reads == messages


async def _read(receive: Any, number: int) -> list[Message]:
    return [await receive() for _ in range(number)]


async def test_a_server_that_fails_is_the_app_s_to_hear_of() -> None:
    async def receive() -> Message:
        raise OSError("broken")

    what, listening = Opens(), Listening(receive)
    waits = asyncio.ensure_future(listening.during(step(what)))
    await asyncio.sleep(0)
    what.event.set()
    assert await waits == "come"
    with pytest.raises(OSError, match="broken"):
        await listening()
