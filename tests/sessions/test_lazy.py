"""`Sessions(lazy=True)`: nothing is asked before the app says so, and until then not knowing is told as just that."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import (
    GuardMiddleware,
    RedisManager,
    RedisUnavailable,
    Session,
    SessionNotLoaded,
    Sessions,
    SessionUnreadable,
)
from asgi_redis_guard.testing import RoundTripCounter
from tests.drive import App, get
from tests.middleware.calls import TestRedis
from tests.redis.tools import PATIENCE
from tests.sessions.visits import Browser, Site, Slow, loaded, put


@pytest.fixture
def lazy(memory: TestRedis) -> Site:
    """Lazy sessions in this process, and a note of every round."""
    return Site(memory, lazy=True)


async def test_a_cookie_costs_nothing_until_the_session_is_loaded(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url, timeout=PATIENCE) as redis:
        site = Site(redis, lazy=True)
        browser = await site.signed_in(user_id="alice")
        await browser.visit(loaded)
        counter.reset()
        await browser.visit(repr)
        assert (counter.commands, "vary" in dict(browser.response.headers)) == ([], False)
        await browser.visit(loaded)
        assert counter.commands == [b"EVALSHA"]
        assert browser.response["vary"] == "Cookie"


async def test_once_it_is_loaded_it_is_a_session_as_always(redis: RedisManager) -> None:
    site = Site(redis, lazy=True, overlap=0)
    browser = await site.signed_in(user_id="alice", cart=[1])

    async def use(session: Session) -> Any:
        await session.load()
        session["cart"].append(2)
        return type(session), session.id, session.is_new, await session.incr("n")

    assert await browser.visit(use) == (Session, browser.id.handle.decode(), False, 1)
    assert await browser.visit(loaded) == {"user_id": "alice", "cart": [1, 2], "n": 1}

    async def change(session: Session) -> None:
        await session.load()
        session["user_id"] = "bob"

    before = browser.cookie
    await browser.visit(change)
    assert browser.cookie != before
    assert await browser.visit(loaded) == {"user_id": "bob", "cart": [1, 2], "n": 1}

    async def leave(session: Session) -> None:
        await session.load()
        session.clear()

    await browser.visit(leave)
    assert (browser.cookie, await site.keys()) == (None, [])


async def test_loading_counts_as_a_use_and_not_loading_does_not(redis: RedisManager) -> None:
    site = Site(redis, lazy=True, idle=1000, max_age=5000)
    browser = await site.signed_in(a=1)
    key = browser.id.record
    await site.age(key, 500)
    await browser.visit(repr)
    touched = (await site.times(key))[3]
    await browser.visit(loaded)
    later, version = (await site.times(key))[3:]
    assert later >= touched + 400_000
    await browser.visit(loaded)
    assert (await site.times(key))[3:] == (later, version), "once is enough"


async def test_without_a_cookie_there_is_nothing_to_load_and_the_session_is_new_at_once(lazy: Site) -> None:
    async def use(session: Session) -> Any:
        assert (session, session.is_new) == ({}, True)
        await session.load()
        session["a"] = 1

    browser = lazy.browser()
    await browser.visit(use)
    assert lazy.redis.rounds == [["sessions.create"]]  # type: ignore[attr-defined]
    assert await browser.visit(loaded) == {"a": 1}


async def test_an_id_that_names_no_session_is_known_to_only_when_it_is_loaded(lazy: Site) -> None:
    browser = lazy.browser("A" * 51)

    async def use(session: Session) -> Any:
        with pytest.raises(SessionNotLoaded):
            session.get("a")
        await session.load()
        assert (type(session), session, session.is_new) == (Session, {}, True)
        session["a"] = 1

    await browser.visit(use)
    assert browser.cookie != "A" * 51
    assert await browser.visit(loaded) == {"a": 1}


async def test_an_app_that_forgets_to_load_makes_no_second_session(lazy: Site) -> None:
    browser = await lazy.signed_in(user_id="alice")
    keys = await lazy.keys()
    with pytest.raises(SessionNotLoaded):
        await browser.visit(put(user_id="bob"))
    assert await lazy.keys() == keys
    assert await browser.visit(loaded) == {"user_id": "alice"}


async def test_what_a_framework_puts_in_the_place_of_a_session_that_was_not_loaded_is_not_written(lazy: Site) -> None:
    browser = await lazy.signed_in(user_id="alice")

    class Replacing(App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            scope["session"] = {"user_id": "bob"}
            await super().__call__(scope, receive, send)

    stack = GuardMiddleware(Replacing(), [lazy.guard], redis=lazy.redis)
    assert (await get(stack, headers={"cookie": f"__Host-session={browser.cookie}"})).status == 500
    assert await browser.visit(loaded) == {"user_id": "alice"}


async def test_two_tasks_may_load_at_once_and_neither_undoes_what_was_changed_since(memory: TestRedis) -> None:
    site = Site(memory, lazy=True)
    browser = await site.signed_in(a=1)

    async def use(session: Session) -> Any:
        memory.withhold()
        first = asyncio.ensure_future(session.load())
        await memory.asked.wait()
        memory.asked.clear()
        second = asyncio.ensure_future(session.load())
        await memory.asked.wait()
        memory.give()
        await first
        session["mine"] = 1
        await second
        return dict(session)

    assert await browser.visit(use) == {"a": 1, "mine": 1}
    assert await browser.visit(loaded) == {"a": 1, "mine": 1}


async def test_why_a_session_has_ended_is_told_once_it_is_loaded(memory: TestRedis) -> None:
    site = Site(memory, lazy=True, max_sessions=1)
    browser = await site.signed_in(user_id="alice")
    await site.signed_in(user_id="alice")

    async def ended(session: Session) -> Any:
        await session.load()
        return session.ended

    assert await browser.visit(ended) == "evicted"


@pytest.mark.parametrize("on_outage", ["closed", "anonymous"])
async def test_an_outage_is_met_where_the_session_is_loaded(memory: TestRedis, on_outage: str) -> None:
    site = Site(memory, lazy=True, on_outage=on_outage)
    browser = await site.signed_in(user_id="alice")

    async def act(session: Session) -> Any:
        memory.away = RedisUnavailable("away")
        try:
            return await loaded(session)
        except RedisUnavailable:
            with pytest.raises(SessionNotLoaded):
                session.get("user_id")
            return "away"
        finally:
            memory.away = None

    assert await browser.visit(act) == ("away" if on_outage == "closed" else {})
    assert await browser.visit(loaded) == {"user_id": "alice"}


@pytest.mark.parametrize("on_outage", ["closed", "anonymous"])
async def test_what_cannot_be_read_is_reported_and_kept(
    memory: TestRedis, on_outage: str, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(memory, lazy=True, on_outage=on_outage)
    browser = await site.signed_in(user_id="alice")
    await memory.execute("HSET", browser.id.record, ".user_id", "{", "m", "1:2:3:4:5")

    async def act(session: Session) -> Any:
        try:
            return await loaded(session)
        except SessionUnreadable:
            return "unreadable"

    assert await browser.visit(act) == ("unreadable" if on_outage == "closed" else {})
    assert "cannot be read and is kept" in caplog.text
    assert (await site.fields(browser.id.record))[b".user_id"] == b"{"


async def test_a_session_that_is_used_late_is_of_no_use_any_more(lazy: Site) -> None:
    browser = await lazy.signed_in(a=1)
    kept: list[Session] = []
    await browser.visit(kept.append)
    with pytest.raises(RuntimeError, match="is over"):
        await kept[0].load()


async def test_an_end_between_the_request_and_its_load_is_seen(lazy: Site) -> None:
    browser = await lazy.signed_in(user_id="alice")
    slow = await Slow(loaded).start(browser)

    async def leave(session: Session) -> None:
        await session.load()
        session.clear()

    await Browser(lazy, browser.cookie).visit(leave)
    assert await slow.finish() == {}


def test_a_lazy_guard_says_so() -> None:
    assert repr(Sessions(lazy=True)) == "<Sessions sessions: __Host-session, lazy>"
    assert Sessions(lazy=True).provides == {"session", "session_id"}
    assert Sessions().provides == Sessions.provides == {"session", "session_id", "user", "auth"}
