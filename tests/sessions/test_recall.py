"""What a process remembers of sessions: no more than Redis confirms, and nothing that one request can do to another."""

import gc
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, RedisManager, SessionCipher, Sessions
from asgi_redis_guard.sessions.recall import AS_SEEN
from tests.middleware.calls import TestRedis
from tests.sessions.visits import Browser, Site, put


class Spy:
    """Notes what the load operation of each visit brought."""

    def __init__(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        self.brought: list[Any] = []
        decide = site.guard.decide

        def spy(exchange: Any, replies: Any) -> Any:
            self.brought.append(replies.flat[1])
            return decide(exchange, replies)

        monkeypatch.setattr(site.guard, "decide", spy)


async def there(redis: RedisManager, **options: Any) -> tuple[Browser, Browser]:
    """A browser with a session that its process knows, and the same browser at another process."""
    browser = await Site(redis, **options).signed_in(user_id="alice", n=1, log=["a"])
    await browser.visit()
    return browser, Browser(Site(redis, **options), browser.cookie)


async def test_what_is_unchanged_is_not_sent_again(redis: RedisManager, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, _ = await there(redis)
    spy = Spy(browser.site, monkeypatch)
    for _ in range(3):
        assert await browser.visit() == {"user_id": "alice", "n": 1, "log": ["a"]}
    assert spy.brought == [AS_SEEN] * 3


async def test_what_another_process_writes_is_seen_at_once(redis: RedisManager) -> None:
    browser, elsewhere = await there(redis)
    await elsewhere.visit(put(n=2, more=True))
    assert await browser.visit() == {"user_id": "alice", "n": 2, "log": ["a"], "more": True}
    assert await elsewhere.visit(lambda session: session.incr("n")) == 3
    assert (await browser.visit())["n"] == 3
    assert await elsewhere.visit(lambda session: session.append("log", "b")) == ["a", "b"]
    assert (await browser.visit())["log"] == ["a", "b"]
    await elsewhere.visit(lambda session: session.pop("more"))
    assert await browser.visit() == {"user_id": "alice", "n": 3, "log": ["a", "b"]}


async def test_an_end_or_a_new_id_elsewhere_is_seen_at_once(redis: RedisManager) -> None:
    browser, elsewhere = await there(redis)
    await elsewhere.visit(lambda session: session.rotate())
    assert (await browser.visit(lambda session: session.record.read_only), browser.told) == (True, [])
    browser.cookie = elsewhere.cookie
    await browser.visit()
    await elsewhere.visit(lambda session: session.clear())
    assert await browser.visit() == {}


async def test_a_restart_without_the_data_is_seen_at_once(redis: RedisManager) -> None:
    browser, _ = await there(redis)
    await redis.execute("FLUSHDB")
    assert await browser.visit(lambda session: (dict(session), session.is_new)) == ({}, True)


async def test_requests_share_no_value_that_can_change(memory: TestRedis) -> None:
    browser, _ = await there(memory)

    def spoil(session: Any) -> None:
        session["log"].append("not saved")
        session["n"] = 99
        dict.pop(session, "user_id")

    await browser.visit(spoil, status=200)
    restored = {"user_id": "alice", "n": 1, "log": ["a"]}
    browser, _ = await there(memory)
    for failing in (500, 500):
        with pytest.raises(RuntimeError):
            await browser.visit(lambda session: (spoil(session), fail()), status=failing)
        assert await browser.visit() == restored


def fail() -> None:
    """Fail as a handler may."""
    raise RuntimeError("a handler that failed")


async def test_the_shared_user_cannot_be_changed(memory: TestRedis) -> None:
    users: list[Any] = []
    browser, _ = await there(memory)

    async def note(scope: Any, receive: Any, send: Any) -> None:
        users.append(scope["user"])
        scope["auth"].scopes.append("admin")
        assert scope["auth"].scopes == ["authenticated"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    browser.site.stack.app = note
    await browser.visit()
    await browser.visit()
    assert users[0] is users[1]
    for change in (lambda: setattr(users[0], "identity", "eve"), lambda: delattr(users[0], "identity")):
        with pytest.raises(AttributeError, match="immutable"):
            change()


async def test_what_is_written_by_hand_is_seen_with_the_next_version_or_without_memory(redis: RedisManager) -> None:
    remembers, elsewhere = await there(redis)
    forgets = Browser(Site(redis, remembered=0), remembers.cookie)
    await forgets.visit()
    await redis.execute("HSET", remembers.id.record, ".n", "5")
    assert (await forgets.visit())["n"] == 5
    await elsewhere.visit(put(other=1))
    assert (await remembers.visit())["n"] == 5


async def test_memory_is_bounded_and_holds_no_cookie(memory: TestRedis) -> None:
    site = Site(memory, remembered=3)
    browsers = [await site.signed_in(n=n) for n in range(5)]
    for browser in browsers:
        await browser.visit()
    place = site.guard._place_for(memory.keys)
    kept = place.memory._asks
    assert list(kept) == [place.ids.name(browser.token) for browser in browsers[2:]]
    words = list(words_of([*kept.items()]))
    assert len(words) > 3 * 6
    assert not [word for word in words for browser in browsers if browser.token[8:] in word]


def words_of(held: Any, seen: set[int] | None = None) -> Iterator[bytes]:
    """All text below an object, as bytes."""
    seen = set() if seen is None else seen
    if id(held) in seen:
        return
    seen.add(id(held))
    if isinstance(held, str | bytes):
        yield held.encode() if isinstance(held, str) else held
    elif not isinstance(held, type | ModuleType):
        for one in gc.get_referents(held):
            yield from words_of(one, seen)


async def test_large_ones_are_not_remembered(memory: TestRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = await Site(memory).signed_in(text="x" * 9_000)
    spy = Spy(browser.site, monkeypatch)
    await browser.visit()
    await browser.visit()
    assert AS_SEEN not in spy.brought


async def test_one_that_has_ended_is_forgotten(memory: TestRedis) -> None:
    browser, elsewhere = await there(memory)
    place = browser.site.guard._place_for(memory.keys)
    assert place.memory.get(place.ids.name(browser.token)) is not None
    await elsewhere.visit(lambda session: session.clear())
    await browser.visit()
    assert not place.memory._asks


async def test_values_are_decrypted_once(memory: TestRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    browser, _ = await there(memory, encryption=SessionCipher(b"1" * 32))
    opened: list[bytes] = []
    unseal = SessionCipher.unseal

    def note(self: SessionCipher, record: bytes, stored: Any) -> Any:
        opened.append(record)
        return unseal(self, record, stored)

    monkeypatch.setattr(SessionCipher, "unseal", note)
    for _ in range(3):
        assert (await browser.visit())["n"] == 1
    assert opened == []


async def test_another_store_is_another_memory(memory: TestRedis) -> None:
    browser, _ = await there(memory)
    other = TestRedis()
    try:
        browser.site.redis = other
        browser.site.stack = type(browser.site.stack)(browser.site.stack.app, [browser.site.guard], redis=other)
        assert await browser.visit() == {}
    finally:
        await other.aclose()


async def test_a_session_beyond_its_exchange_says_where_to_go(memory: TestRedis) -> None:
    browser = await Site(memory).signed_in(n=1)
    kept: list[Any] = []
    await browser.visit(kept.append)
    gc.collect()  # the server in memory raises an error on the way of a first script, which holds its callers' frames
    with pytest.raises(RuntimeError, match="use SessionStore"):
        await kept[0].incr("n")


def alive() -> int:
    """Count what stands for requests, of other tests as well."""
    return sum(type(one).__name__ in ("Session", "KeptSession", "Exchange") for one in gc.get_objects())


async def test_no_reference_cycles_are_left_behind(memory: TestRedis) -> None:
    browser, _ = await there(memory)
    gc.collect()
    gc.disable()
    try:
        before = alive()
        for _ in range(20):
            await browser.visit(lambda session: None)
        left = alive() - before
    finally:
        gc.enable()
    assert left <= 3


@pytest.mark.parametrize("remembered", [-1, 1_000_001])
def test_bounds(remembered: int) -> None:
    with pytest.raises(ConfigurationError, match=r"remembered: .* allowed are 0 to 1000000 sessions"):
        Sessions(remembered=remembered)
