"""What a session does at once, while the app runs: numbers and lists against all others, saves after the head."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, RedisManager, Session, SessionDataError
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.errors import RedisUnavailable
from tests.drive import get
from tests.middleware.calls import TestRedis
from tests.sessions.visits import Site, Slow, put

MANY = 50


async def test_fifty_parallel_incr_are_fifty(site: Site) -> None:
    browser = await site.signed_in(user_id="alice")
    slow = [await Slow(lambda session: session.incr("n")).start(browser.twin()) for _ in range(MANY)]
    sums = await asyncio.gather(*(one.finish() for one in slow))
    assert sorted(sums) == list(range(1, MANY + 1))
    assert await browser.visit() == {"user_id": "alice", "n": MANY}


async def test_parallel_append_loses_nothing(site: Site) -> None:
    browser = await site.signed_in(log=["first"])

    def add(n: int) -> Slow:
        return Slow(lambda session: session.append("log", n))

    slow = [await add(n).start(browser.twin()) for n in range(MANY)]
    await asyncio.gather(*(one.finish() for one in slow))
    log = (await browser.visit())["log"]
    assert (log[0], sorted(log[1:])) == ("first", list(range(MANY)))


async def test_incr_and_a_save_of_other_keys_at_once_keep_both(site: Site) -> None:
    browser = await site.signed_in(n=5)
    slow = await Slow(put(other=1)).start(browser.twin())
    assert await browser.visit(lambda session: session.incr("n", -2)) == 3
    await slow.finish()
    assert await browser.visit() == {"n": 3, "other": 1}


async def test_incr_writes_at_once_and_the_response_nothing_more(memory: TestRedis) -> None:
    site = Site(memory)
    browser = await site.signed_in(n=1)
    memory.rounds.clear()
    assert await browser.visit(lambda session: session.incr("n")) == 2
    assert memory.rounds == [["sessions.load"], ["sessions.swap"]]


async def test_in_a_new_session_and_on_top_of_an_own_change_incr_is_written_with_the_rest(memory: TestRedis) -> None:
    site = Site(memory)
    browser = site.browser()

    async def twice(session: Session) -> Any:
        await session.append("log", "a")
        return await session.incr("n"), await session.incr("n")

    assert await browser.visit(twice) == (1, 2)
    assert await browser.visit() == {"log": ["a"], "n": 2}

    async def assign(session: Session) -> Any:
        session["n"] = 10
        del session["log"]
        return await session.incr("n"), await session.append("log", "b")

    assert await browser.visit(assign) == (11, ["b"])
    assert await browser.visit() == {"n": 11, "log": ["b"]}


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda session: session.incr("user_id"), "assign it"),
        (lambda session: session.append("log", "x" * 300), r"allowed are 256 \(max_size\)"),
        (lambda session: session.append("log", object()), r"session\['log'\] cannot be kept: object given"),
    ],
)
async def test_what_must_not_be_changed_at_once_is_an_error_and_changes_nothing(
    memory: TestRedis, act: Any, message: str
) -> None:
    site = Site(memory, max_size=256)
    browser = await site.signed_in(user_id=1, log=[])

    async def tries(session: Session) -> None:
        with pytest.raises(SessionDataError, match=message):
            await act(session)

    await browser.visit(tries)
    assert await browser.visit() == {"user_id": 1, "log": []}


async def test_a_value_of_another_type_is_the_error_that_python_gives(memory: TestRedis) -> None:
    site = Site(memory)
    browser = await site.signed_in(n="text")

    async def tries(session: Session) -> None:
        with pytest.raises(TypeError):
            await session.incr("n")

    await browser.visit(tries)
    assert await browser.visit() == {"n": "text"}


async def test_a_replaced_session_can_be_read_and_says_so(redis: RedisManager) -> None:
    site = Site(redis)
    browser = await site.signed_in(n=1)
    old = browser.twin()
    await browser.visit(put(user_id="alice"))

    async def tries(session: Session) -> None:
        with pytest.raises(SessionDataError, match="only be read"):
            await session.incr("n")
        session["n"] = 5
        with pytest.raises(SessionDataError, match="only be read"):
            await session.save()

    await old.visit(tries)
    assert await browser.visit() == {"n": 1, "user_id": "alice"}


async def test_what_changes_after_the_head_is_kept_by_save(site: Site) -> None:
    browser = await site.signed_in(a=1)

    async def streaming(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["session"]["a"] = 2
        await scope["session"].save()
        await send({"type": "http.response.body", "body": b"ok"})

    app = GuardMiddleware(streaming, [site.guard], redis=site.redis)
    await get(app, headers={"cookie": f"__Host-session={browser.cookie}"})
    assert await browser.visit() == {"a": 2}


@pytest.mark.parametrize("act", [put(user_id="bob"), lambda session: session.rotate(), lambda session: session.clear()])
async def test_save_refuses_what_needs_a_cookie_and_the_head_does_it(memory: TestRedis, act: Any) -> None:
    site = Site(memory)
    browser = await site.signed_in(a=1)
    before = browser.cookie

    async def tries(session: Session) -> None:
        act(session)
        with pytest.raises(SessionDataError, match="needs a cookie"):
            await session.save()

    await browser.visit(tries)
    assert browser.cookie != before


def start_again(session: Session) -> None:
    """End it, and begin another with the same in it."""
    session.clear()
    session["a"] = 2


@pytest.mark.parametrize(("act", "left"), [(Session.clear, {}), (Session.rotate, {"a": 2}), (start_again, {"a": 2})])
async def test_what_is_asked_for_while_a_save_is_on_its_way_is_done_with_the_head(
    memory: TestRedis, act: Any, left: Any
) -> None:
    site = Site(memory)
    browser = await site.signed_in(a=1)
    before = browser.cookie

    async def save_and_act(session: Session) -> None:
        session["a"] = 2
        memory.withhold()
        saving = asyncio.ensure_future(session.save())
        await memory.asked.wait()
        act(session)
        memory.give()
        await saving

    await browser.visit(save_and_act)
    assert browser.cookie != before
    assert await browser.visit() == left


async def test_save_of_nothing_asks_nothing(memory: TestRedis) -> None:
    site = Site(memory)
    await site.browser().visit(lambda session: session.save())
    browser = await site.signed_in(a=1)
    memory.rounds.clear()
    await browser.visit(lambda session: session.save())
    assert memory.rounds == [["sessions.load"]]


async def test_redis_away_is_an_error_of_save_and_incr(memory: TestRedis) -> None:
    site = Site(memory)
    browser = await site.signed_in(n=1)

    async def tries(session: Session) -> None:
        memory.away = RedisUnavailable("away")
        with pytest.raises(RedisUnavailable):
            await session.incr("n")
        session["n"] = 7
        with pytest.raises(RedisUnavailable):
            await session.save()
        memory.away = None

    await browser.visit(tries)
    assert await browser.visit() == {"n": 7}, "the change is still there to be written with the head"
