"""Followers of a topic: they have every word, and look for themselves where one may have been missed."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, OperationFailed, RedisManager, RedisUnavailable
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.core.steps import PASS, Admission, Answer, Ask, Asking
from asgi_redis_guard.pubsub import feed as feeds
from asgi_redis_guard.pubsub.feed import Watch
from asgi_redis_guard.pubsub.hub import Hub
from asgi_redis_guard.pubsub.messages import Gap
from tests.guards import Does, count
from tests.middleware.calls import Call
from tests.pubsub.conftest import quiet_manager, within
from tests.servers import Server


class Follows:
    """A follower that notes what it hears, and when it looks; fails as it is told to."""

    def __init__(self, *looks: Exception | None, fails: bool = False, asks: bool = False) -> None:
        self.words: list[bytes] = []
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.looked: asyncio.Queue[int] = asyncio.Queue()
        self.times = 0
        self._looks, self._fails, self._asks = list(looks), fails, asks

    def told(self, word: bytes) -> bool:
        self.words.append(word)
        self.heard.put_nowait(word)
        if self._fails:
            raise LookupError
        return self._asks

    async def missed(self) -> None:
        self.times += 1
        self.looked.put_nowait(self.times)
        if self._looks and (error := self._looks.pop(0)) is not None:
            raise error

    async def hears(self, *words: bytes) -> None:
        """Wait for these words, and no others."""
        assert [await within(self.heard.get()) for _ in words] == list(words)

    async def looks(self, times: int) -> None:
        """Wait until it looks for the so manieth time."""
        assert await within(self.looked.get()) == times


async def following(hub: Hub, *followers: Follows, topic: str = "t") -> None:
    """Let them follow, and wait until the server has confirmed."""
    for follower in followers:
        hub.feed.follow(topic, follower, lambda it=follower: it)  # type: ignore[misc]
    for follower in followers:
        await follower.looks(1)


async def test_a_follower_has_every_word_of_its_topic_in_order_and_looks_once_at_first(hub: Hub) -> None:
    first, second, elsewhere = Follows(), Follows(), Follows()
    await following(hub, first, second)
    await following(hub, elsewhere, topic="u")
    await hub.feed.tell("t", [b"a", b"b"])
    await hub.feed.tell("u", [b"x"])
    await hub.feed.tell("t", [b"a"])
    for follower in (first, second):
        await follower.hears(b"a", b"b", b"a")
    await elsewhere.hears(b"x")
    assert [follower.times for follower in (first, second, elsewhere)] == [1, 1, 1]


async def test_whose_follower_is_known_gets_no_second_one(hub: Hub) -> None:
    made: list[Follows] = []

    def make() -> Follows:
        made.append(Follows())
        return made[-1]

    for _ in range(3):
        hub.feed.follow("t", "mine", make)
    hub.feed.follow("t", "yours", make)
    hub.feed.follow("u", "mine", make)
    assert len(made) == 3
    for follower in made:
        await follower.looks(1)
    await hub.feed.tell("t", [b"a"])
    for follower in made[:2]:
        await follower.hears(b"a")
    assert [follower.words for follower in made] == [[b"a"], [b"a"], []]


async def test_after_a_gap_all_followers_of_the_topic_look_again(hub: Hub) -> None:
    one, other, elsewhere = Follows(), Follows(), Follows()
    await following(hub, one, other)
    await following(hub, elsewhere, topic="u")
    hub.feed._hear("t", Gap("reconnected"))
    for follower in (one, other):
        await follower.looks(2)
    assert elsewhere.times == 1


async def test_a_follower_that_wants_to_look_does_so_once_for_all_words_of_a_message(hub: Hub) -> None:
    follower = Follows(asks=True)
    await following(hub, follower)
    await hub.feed.tell("t", [b"a", b"b", b"c"])
    await follower.hears(b"a", b"b", b"c")
    await follower.looks(2)
    await hub.feed.tell("t", [b"d"])
    await follower.looks(3)


async def test_a_follower_that_fails_hurts_nobody_and_looks_for_itself(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    failing, blind, other = Follows(fails=True), Follows(LookupError("a"), LookupError("b")), Follows()
    ended = asyncio.Event()

    async def lives(key: bytes) -> float:
        return 1000

    await following(hub, failing, blind, other)
    hub.feed.watch(Watch("t", b"b", ended.set, lives))
    await hub.feed.tell("t", [b"a", b"b"])
    await other.hears(b"a", b"b")
    await within(ended.wait())
    await failing.looks(2)
    hub.feed._hear("t", Gap("reconnected"))
    await blind.looks(2)
    await other.looks(2)
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    assert len(caplog.records) == 4, "two words, and two looks"


async def test_who_finds_redis_away_looks_again_until_it_is_there(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_AGAIN", 0.001)
    follower = Follows(RedisUnavailable(), RedisUnavailable(), None)
    hub.feed.follow("t", follower, lambda: follower)
    for times in (1, 2, 3):
        await follower.looks(times)
    await hub.feed.tell("t", [b"a"])
    await follower.hears(b"a")
    assert (follower.times, hub.feed._waiting) == (3, {})


async def test_a_look_for_another_reason_takes_the_place_of_the_one_that_was_to_come(hub: Hub) -> None:
    follower = Follows(RedisUnavailable())
    await following(hub, follower)
    await asyncio.sleep(0)
    (timer,) = hub.feed._waiting.values()
    hub.feed._hear("t", Gap("reconnected"))
    await follower.looks(2)
    assert (timer.cancelled(), hub.feed._waiting) == (True, {})


async def test_a_closed_hub_lets_nobody_look(manager: RedisManager) -> None:
    follower, feed = Follows(RedisUnavailable()), manager.pubsub.feed
    await following(manager.pubsub, follower)
    await asyncio.sleep(0)
    (timer,) = feed._waiting.values()
    await manager.aclose()
    assert (timer.cancelled(), feed._waiting) == (True, {})


async def test_who_follows_before_the_server_is_there_looks_when_it_is(fresh_server: Server) -> None:
    fresh_server.stop()
    manager = quiet_manager(fresh_server.url, timeout=0.1)
    try:
        follower = Follows()
        manager.pubsub.feed.follow("t", follower, lambda: follower)
        await follower.looks(1)
        fresh_server.start()
        await follower.looks(2)
        fresh_server.command("PUBLISH", "guard:t", "a")
        await follower.hears(b"a")
    finally:
        await manager.aclose()


class Listens(Does):
    """A guard with a topic; each look is one more in Redis."""

    topic = "t"

    def __init__(self, admit: Callable[[Any], Any], **attributes: Any) -> None:
        super().__init__(admit, **attributes)
        self.words: asyncio.Queue[bytes] = asyncio.Queue()
        self.looks: asyncio.Queue[Any] = asyncio.Queue()

    def told(self, word: bytes) -> bool:
        self.words.put_nowait(word)
        return word == b"look"

    def missed(self, keys: Keys) -> Asking:
        try:
            (reply,) = yield Ask([count(f"{keys.prefix}looks")])
        except RedisUnavailable as error:
            self.looks.put_nowait(error)
        else:
            self.looks.put_nowait(reply.values[0])


def passes(exchange: Any) -> Admission:
    return PASS
    yield


def answers(exchange: Any) -> Admission:
    return Answer(204, [])
    yield


async def ok(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    ("admit", "eager", "hears"), [(passes, True, True), (answers, False, True), (passes, False, False)]
)
async def test_a_guard_listens_from_its_first_exchange_or_from_its_first_answer_on(
    manager: RedisManager, admit: Any, eager: bool, hears: bool
) -> None:
    guard = Listens(admit, eager=eager)
    app = GuardMiddleware(ok, [guard], redis=manager)
    assert repr(manager.pubsub.feed) == "<Feed of nothing, 0 keys watched>"
    for _ in range(3):
        await Call(app).run()
    assert (repr(manager.pubsub.feed) == "<Feed of t, 0 keys watched>") == hears
    if hears:
        assert await within(guard.looks.get()) == 1
        await manager.pubsub.feed.tell("t", [b"one", b"look"])
        assert [await within(guard.words.get()) for _ in range(2)] == [b"one", b"look"]
        assert await within(guard.looks.get()) == 2
        assert await manager.execute("GET", "guard:looks") == b"2"


async def test_a_guard_whose_key_is_of_another_type_is_told_and_not_asked_again(manager: RedisManager) -> None:
    await manager.execute("RPUSH", "guard:looks", "no number")
    guard = Listens(passes, eager=True)
    await Call(GuardMiddleware(ok, [guard], redis=manager)).run()
    assert isinstance(await within(guard.looks.get()), OperationFailed)
    await manager.pubsub.feed.tell("t", [b"one"])
    assert await within(guard.words.get()) == b"one"
    assert manager.pubsub.feed._waiting == {}
