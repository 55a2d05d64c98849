"""`await session.load()`: what others have written, below changes of one's own, while a socket or a stream goes on."""

from typing import Any

import pytest

from asgi_redis_guard import RedisManager, Session, SessionCipher, SessionDataError, SessionStore, SessionUnreadable
from tests.middleware.calls import TestRedis
from tests.sessions.meanwhile import Meanwhile
from tests.sessions.test_keeping_websockets import Socket, open_socket
from tests.sessions.visits import Browser, Site, Slow, loaded, put


async def test_what_others_have_written_is_taken_over_below_one_s_own_changes(site: Site) -> None:
    browser = await site.signed_in(a=1, b=1, c=1, cart=[1])

    async def use(session: Session) -> Any:
        session["a"] = "mine"
        session["cart"].append(2)
        del session["b"]
        await browser.twin().visit(lambda other: other.update(a="theirs", b="theirs", c="theirs", d="theirs"))
        return await loaded(session)

    mine = {"a": "mine", "c": "theirs", "d": "theirs", "cart": [1, 2]}
    assert await browser.visit(use) == mine
    assert await browser.visit() == mine


async def test_a_socket_sees_what_others_write_and_its_own_changes_are_kept(site: Site) -> None:
    browser = await site.signed_in(a=1)

    async def listen(session: Session) -> None:
        for number in (2, 3):
            await browser.twin().visit(put(a=number))
            session[f"seen{number}"] = True
            assert (session["a"], (await loaded(session))["a"]) == (number - 1, number)
        await session.save()
        await session.load()

    await open_socket(site, Socket(after=listen), browser)
    assert await browser.visit() == {"a": 3, "seen2": True, "seen3": True}


@pytest.mark.parametrize("way", ["logout", "revoked"])
async def test_a_session_that_has_ended_is_a_clear_error_and_is_not_brought_back(site: Site, way: str) -> None:
    browser = await site.signed_in(user_id="alice")

    async def use(session: Session) -> Any:
        if way == "logout":
            await browser.twin().visit(Session.clear)
        else:
            await SessionStore(site.redis, guard=site.guard).revoke_all("alice")
        session["a"] = 1
        with pytest.raises(SessionDataError, match="has ended"):
            await session.load()
        return session.ended

    assert await browser.visit(use) == (None if way == "logout" else "revoked")
    assert await browser.visit() == {}


async def test_who_holds_a_former_id_does_not_see_what_came_after_it(redis: RedisManager) -> None:
    for overlap in (10, 0):
        site = Site(redis, overlap=overlap)
        browser = await site.signed_in(basket=1)

        async def use(session: Session, browser: Browser = browser, overlap: int = overlap) -> Any:
            await browser.twin().visit(put(user_id="alice", secret=1))
            if overlap:
                return await loaded(session)
            with pytest.raises(SessionDataError, match="has ended, or was replaced"):
                await session.load()
            return None

        assert await browser.visit(use) == ({"basket": 1} if overlap else None)


async def test_what_is_new_or_cleared_has_nothing_to_load(memory: TestRedis) -> None:
    site = Site(memory)

    async def begin(session: Session) -> Any:
        session["a"] = 1
        return await loaded(session)

    browser = site.browser()
    assert await browser.visit(begin) == {"a": 1}
    memory.rounds.clear()

    async def leave(session: Session) -> Any:
        session.clear()
        return await loaded(session)

    assert await browser.visit(leave) == {}
    assert memory.rounds == [["sessions.load"], ["sessions.destroy"]]
    assert (browser.cookie, await site.keys()) == (None, [])


async def test_an_end_that_comes_while_it_is_read_is_not_undone(backend: str) -> None:
    async with Meanwhile(backend, timeout=10) as redis:
        site = Site(redis)
        browser = await site.signed_in(user_id="alice")

        async def use(session: Session) -> Any:
            async def leave() -> None:
                session.clear()

            redis.after("sessions.load", leave)
            return await loaded(session)

        assert await browser.visit(use) == {}
        assert (browser.cookie, await site.keys()) == (None, [])


async def test_what_was_read_before_one_s_own_save_is_read_again(backend: str) -> None:
    async with Meanwhile(backend, timeout=10) as redis:
        site = Site(redis)
        browser = await site.signed_in(a=1)

        async def use(session: Session) -> Any:
            async def save() -> None:
                session["a"] = 2
                await session.save()

            redis.after("sessions.load", save)
            return await loaded(session)

        assert await browser.visit(use) == {"a": 2}
        assert await browser.visit() == {"a": 2}


async def test_a_damaged_record_changes_nothing(site: Site) -> None:
    browser = await site.signed_in(a=1, b=2)

    async def use(session: Session) -> Any:
        session["b"] = 3
        await site.redis.execute("HSET", browser.id.record, ".a", "{")
        with pytest.raises(SessionUnreadable):
            await session.load()
        return dict(session)

    assert await browser.visit(use) == {"a": 1, "b": 3}
    assert (await site.fields(browser.id.record))[b".a"] == b"{"


async def test_loading_lets_a_session_live_on(redis: RedisManager) -> None:
    site = Site(redis, idle=1000, max_age=5000)
    browser = await site.signed_in(a=1)
    key = browser.id.record
    slow = await Slow(loaded).start(browser)
    await site.age(key, 500)
    touched = (await site.times(key))[3]
    assert await slow.finish() == {"a": 1}
    assert (await site.times(key))[3] >= touched + 400_000
    assert await redis.execute("PTTL", key) > 900_000


async def test_a_rotation_that_was_asked_for_is_still_done(site: Site) -> None:
    browser = await site.signed_in(a=1)
    before = browser.cookie

    async def use(session: Session) -> Any:
        session.rotate()
        await browser.twin().visit(put(b=2))
        return await loaded(session)

    assert await browser.visit(use) == {"a": 1, "b": 2}
    assert browser.cookie != before
    assert await browser.visit() == {"a": 1, "b": 2}


async def test_encrypted_sessions_are_read_anew_too(redis: RedisManager) -> None:
    site = Site(redis, encryption=SessionCipher([b"k" * 32]))
    browser = await site.signed_in(a=1)

    async def use(session: Session) -> Any:
        await browser.twin().visit(put(b=2))
        return await loaded(session)

    assert await browser.visit(use) == {"a": 1, "b": 2}
