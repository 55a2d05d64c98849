"""One subscriber's side, on a switchboard that only takes notes."""

import asyncio
from contextlib import nullcontext
from typing import Any, cast

import pytest

from asgi_redis_guard.errors import OperationFailed, RedisTimeout, RedisUnavailable
from asgi_redis_guard.pubsub.inbox import Inbox
from asgi_redis_guard.pubsub.messages import Gap, Message
from asgi_redis_guard.pubsub.subscription import Subscription
from asgi_redis_guard.pubsub.subscriptions import Subscriptions
from tests.pubsub.conftest import take, within


class Board:
    """A switchboard without a server; it is its own wire."""

    timeout = 0.05
    reason: str | None = "the server is away"
    closed = False

    def __init__(self) -> None:
        self.books: Subscriptions[Any] = Subscriptions()
        self.hurried = nullcontext
        self.said: list[str] = []

    def check(self, member: Any) -> None: ...

    def is_live(self, member: Any) -> bool:
        return self.books.is_live(member)

    def join(self, member: Any) -> None:
        self.said.append("join")

    def leave(self, member: Any) -> None:
        self.said.append("leave")


@pytest.fixture
def board() -> Board:
    return Board()


def subscription(board: Board, **options: Any) -> Subscription:
    return Subscription(cast(Any, board), [(False, b"a")], Inbox(2, "drop_oldest"), **options)


async def test_nothing_is_delivered_before_every_channel_is_confirmed(board: Board) -> None:
    subscriber = subscription(board)
    subscriber.start()
    subscriber.deliver(Message("a", b"early"))
    subscriber.became_live()
    subscriber.deliver(Message("a", b"in time"))
    subscriber.became_live()
    assert await take(subscriber, 2) == [Message("a", b"in time"), Gap("reconnected")]


async def test_every_reconnection_is_told_to_on_gap_also_where_the_iterator_gets_one_gap(board: Board) -> None:
    told: list[Gap] = []
    subscriber = subscription(board, on_gap=told.append)
    subscriber.start()
    for _ in range(4):
        subscriber.became_live()
    assert told == [Gap("reconnected")] * 3
    assert await take(subscriber, 1) == [Gap("reconnected")]
    subscriber.end()
    assert [event async for event in subscriber] == []


async def test_nothing_is_delivered_after_the_end(board: Board) -> None:
    subscriber = subscription(board)
    subscriber.start()
    subscriber.became_live()
    subscriber.leave()
    subscriber.deliver(Message("a", b"late"))
    subscriber.became_live()
    assert [event async for event in subscriber] == []


async def test_a_confirmation_read_in_the_pass_after_the_deadline_counts(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def one_pass(seconds: float) -> None:
        subscriber.became_live()

    subscriber = subscription(board)
    monkeypatch.setattr(asyncio, "sleep", one_pass)
    assert await within(subscriber.__aenter__()) is subscriber


async def test_an_error_ends_entering_and_iterating(board: Board) -> None:
    entering = asyncio.ensure_future((subscriber := subscription(board)).__aenter__())
    await asyncio.sleep(0)
    subscriber.end(OperationFailed("NOPERM no"))
    with pytest.raises(OperationFailed):
        await within(entering)
    with pytest.raises(OperationFailed):
        await within(anext(subscriber))
    assert board.said == ["join", "leave"]


async def test_no_confirmation_is_a_timeout_that_tells_why(board: Board) -> None:
    with pytest.raises(RedisTimeout, match="the server is away"):
        await subscription(board).__aenter__()
    board.reason = None
    with pytest.raises(RedisTimeout, match="no confirmation"):
        await subscription(board).__aenter__()
    board.closed = True
    subscriber = subscription(board)
    asyncio.get_running_loop().call_soon(subscriber.end)
    with pytest.raises(RedisUnavailable, match="closed"):
        await subscriber.__aenter__()
    assert board.said == ["join", "leave"] * 3
