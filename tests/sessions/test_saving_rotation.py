"""A new id for the same session: by itself on a login, and by `rotate()`; the old one ends."""

import asyncio

import pytest

from asgi_redis_guard import RedisManager, Session, SessionDataError
from tests.middleware.calls import TestRedis
from tests.sessions.visits import Browser, Site, Slow, put


async def records(site: Site) -> list[bytes]:
    """The keys of all sessions."""
    return [key for key in await site.keys() if key.startswith(b"guard:s:")]


async def test_a_login_gives_a_new_id_and_keeps_what_was_there(site: Site) -> None:
    browser = await site.signed_in(basket=[1])
    before = browser.cookie
    await browser.visit(put(user_id="alice"))
    assert browser.cookie != before
    assert await browser.visit() == {"basket": [1], "user_id": "alice"}


async def test_for_a_while_the_old_id_reads_what_was_there_and_no_more(site: Site) -> None:
    browser = await site.signed_in(basket=[1])
    old = browser.twin()
    await browser.visit(put(user_id="alice"))
    assert await old.visit() == {"basket": [1]}
    assert 0 < await site.redis.execute("PTTL", old.id.record) <= 10_000


async def test_a_logout_by_taking_the_user_out_ends_what_has_replaced_the_session(site: Site) -> None:
    """It comes with the old id in its overlap, or has read the session before that was replaced."""
    browser = await site.signed_in(user_id="alice", basket=[1])
    late = browser.twin()
    await browser.visit(lambda session: session.rotate())
    await late.visit(lambda session: session.pop("user_id"))
    assert late.cookie is None
    assert await browser.twin().visit() == {}

    browser = await site.signed_in(user_id="alice", basket=[1])
    late, old = browser.twin(), browser.twin()

    async def leave_late(session: Session) -> None:
        await browser.visit(lambda session: session.rotate())
        session.pop("user_id")

    await late.visit(leave_late)
    assert late.cookie is None
    assert await browser.twin().visit() == {}
    assert await old.visit() == {}


async def test_the_old_id_cannot_write_rotate_or_extend(redis: RedisManager) -> None:
    site = Site(redis, principal=("user_id", "role"), idle=20)
    browser = await site.signed_in(user_id="alice", role="user")
    old = browser.twin()
    await browser.visit(lambda session: session.rotate())
    await site.age(old.id.record, 5)
    keys, fields = await site.keys(), await site.fields(old.id.record)
    for act in (put(a=1), put(role="admin"), lambda session: session.rotate()):
        cookie = old.cookie
        await old.visit(act)
        assert (old.told, old.cookie) == ([], cookie)
        assert (await site.keys(), await site.fields(old.id.record)) == (keys, fields)
        assert 0 < await redis.execute("PTTL", old.id.record) <= 5_000
    assert await browser.visit() == {"user_id": "alice", "role": "user"}


async def test_without_an_overlap_the_old_id_ends_at_once(redis: RedisManager) -> None:
    site = Site(redis, overlap=0)
    browser = await site.signed_in(basket=[1])
    old = browser.twin()
    await browser.visit(put(user_id="alice"))
    assert (await old.visit(), await records(site)) == ({}, [browser.id.record])


async def test_an_overlap_never_lengthens_the_old_session(redis: RedisManager) -> None:
    site = Site(redis, idle=60, overlap=300)
    browser = await site.signed_in(a=1)
    old = browser.twin()
    await browser.visit(put(user_id="alice"))
    assert await redis.execute("PTTL", old.id.record) <= 60_000


async def test_a_rotation_and_a_save_at_once_keep_both_changes(site: Site) -> None:
    browser = await site.signed_in(a=1, gone=1)
    slow = await Slow(put(user_id="alice", mine=1)).start(browser)
    other = browser.twin()
    await other.visit(put(theirs=2))
    await other.visit(lambda session: session.pop("gone"))
    await slow.finish()
    assert await browser.visit() == {"a": 1, "user_id": "alice", "mine": 1, "theirs": 2}


@pytest.mark.parametrize("first", ["incr", "save"])
async def test_a_rotation_after_a_change_of_its_own_keeps_what_others_have_written_before(
    site: Site, first: str
) -> None:
    browser = await site.signed_in(n=1)

    async def change_and_enter(session):  # type: ignore[no-untyped-def]
        if first == "incr":
            await session.incr("n")
        else:
            session["n"] = 2
            await session.save()
        session["user_id"] = "alice"

    slow = await Slow(change_and_enter).start(browser)
    await browser.twin().visit(put(theirs=2))
    await slow.finish()
    assert await browser.visit() == {"n": 2, "user_id": "alice", "theirs": 2}


async def test_of_many_rotations_at_once_one_wins_and_no_session_is_left_over(site: Site) -> None:
    browser = await site.signed_in(user_id="alice", a=1)
    tabs = [browser.twin() for _ in range(10)]
    slow = [await Slow(lambda session: session.rotate()).start(tab) for tab in tabs]
    await asyncio.gather(*(one.finish() for one in slow))
    (winner,) = [tab for tab in tabs if tab.cookie != browser.cookie]
    assert await records(site) == sorted([browser.id.record, winner.id.record])
    assert await winner.visit() == {"user_id": "alice", "a": 1}


async def test_two_logins_of_one_anonymous_session_at_once_are_two_sessions(site: Site) -> None:
    browser = await site.signed_in(basket=1)
    tabs = [browser.twin(), browser.twin()]
    slow = [await Slow(put(user_id=user)).start(tab) for user, tab in zip("ab", tabs, strict=True)]
    for one in slow:
        await one.finish()
    assert [await tab.visit() for tab in tabs] == [{"basket": 1, "user_id": user} for user in "ab"]


async def test_a_login_with_an_id_that_was_replaced_is_a_session_of_its_own(site: Site) -> None:
    browser = await site.signed_in(basket=1)
    old = browser.twin()
    await browser.visit(put(user_id="alice"))
    await old.visit(put(user_id="bob"))
    assert await old.visit() == {"basket": 1, "user_id": "bob"}
    assert await browser.visit() == {"basket": 1, "user_id": "alice"}


async def test_a_change_of_privilege_rotates_and_so_does_a_logout_by_removing_the_user(redis: RedisManager) -> None:
    site = Site(redis, principal=("user_id", "role"))
    browser = await site.signed_in(user_id="alice", role="user")
    seen = [browser.cookie]
    for act in (put(role="admin"), lambda session: session.pop("user_id"), put(user_id="alice")):
        await browser.visit(act)
        seen.append(browser.cookie)
    assert len(set(seen)) == 4
    await browser.visit(put(user_id="alice", role="admin", other=1))
    assert browser.told == [], "nothing of it has changed"


@pytest.mark.parametrize("act", [lambda session: session.rotate(), put(role="admin"), put(a=2)])
async def test_what_was_replaced_is_not_replaced_again_by_a_slow_request(redis: RedisManager, act: object) -> None:
    site = Site(redis, principal=("user_id", "role"))
    browser = await site.signed_in(user_id="alice", role="user")
    slow = await Slow(act).start(old := browser.twin())  # type: ignore[arg-type]
    await browser.visit(lambda session: session.rotate())
    keys, fields = await site.keys(), await site.fields(old.id.record)
    await slow.finish()
    assert (old.told, await site.keys(), await site.fields(old.id.record)) == ([], keys, fields)
    assert 0 < await redis.execute("PTTL", old.id.record) <= 10_000


async def test_a_slow_incr_into_what_was_replaced_is_an_error_and_extends_nothing(redis: RedisManager) -> None:
    site = Site(redis)
    browser = await site.signed_in(user_id="alice", n=1)

    async def incr(session: Session) -> None:
        with pytest.raises(SessionDataError, match="has ended"):
            await session.incr("n")

    slow = await Slow(incr).start(old := browser.twin())
    await browser.visit(lambda session: session.rotate())
    fields = await site.fields(old.id.record)
    await slow.finish()
    assert await site.fields(old.id.record) == fields
    assert 0 < await redis.execute("PTTL", old.id.record) <= 10_000


async def test_the_index_of_a_user_follows_the_ids(redis: RedisManager) -> None:
    site = Site(redis)
    browser = await site.signed_in(user_id="alice")

    async def members(one: Browser) -> list[bytes]:
        owner = (await site.redis.execute("KEYS", "guard:i:*"))[0]
        found: list[bytes] = await redis.execute("ZRANGE", owner, 0, -1)
        assert owner.startswith(b"guard:i:{" + one.id.tag + b"}")
        return found

    assert await members(browser) == [browser.id.handle]
    await browser.visit(lambda session: session.rotate())
    assert await members(browser) == [browser.id.handle]
    await browser.visit(lambda session: session.clear())
    assert await redis.execute("KEYS", "guard:i:*") == []


async def test_the_head_may_be_edited_again_and_the_id_is_made_once(memory: TestRedis) -> None:
    site = Site(memory)
    browser = await site.signed_in(a=1)
    await browser.visit(put(user_id="alice"))
    assert len(browser.told) == 1
    assert [round for round in memory.rounds if "sessions.rotate" in round] == [["sessions.rotate"]]


def end(session: Session) -> None:
    """A visit that logs out."""
    session.clear()


@pytest.mark.parametrize("rotations", [1, 2, 3])
async def test_a_logout_with_an_id_that_was_replaced_ends_what_has_replaced_it(site: Site, rotations: int) -> None:
    browser = await site.signed_in(user_id="alice")
    old = browser.twin()
    for _ in range(rotations):
        await browser.visit(lambda session: session.rotate())
    assert await old.visit() == ({"user_id": "alice"} if rotations == 1 else {})
    await old.visit(end)
    assert (old.cookie, await browser.visit(), await site.keys()) == (None, {}, [])


async def test_a_logout_that_began_before_a_rotation_ends_what_the_rotation_made(site: Site) -> None:
    browser = await site.signed_in(user_id="alice")
    slow = await Slow(end).start(old := browser.twin())
    await browser.visit(lambda session: session.rotate())
    await slow.finish()
    assert (old.cookie, await browser.visit(), await site.keys()) == (None, {}, [])


async def test_a_logout_in_the_middle_of_some_rotations_ends_all_before_and_after(site: Site) -> None:
    browser = await site.signed_in(user_id="alice")
    first = browser.twin()
    await browser.visit(lambda session: session.rotate())
    middle = browser.twin()
    await browser.visit(lambda session: session.rotate())
    await middle.visit(end)
    assert [await one.visit() for one in (first, middle, browser)] == [{}, {}, {}]
    assert await site.keys() == []


async def test_a_logout_with_an_id_that_was_replaced_leaves_the_user_s_other_sessions(site: Site) -> None:
    browser, other = await site.signed_in(user_id="alice"), await site.signed_in(user_id="alice")
    old = browser.twin()
    await browser.visit(lambda session: session.rotate())
    await old.visit(end)
    assert (await browser.visit(), await other.visit()) == ({}, {"user_id": "alice"})
    assert len(await site.keys()) == 3, "a record, the index and the notes"
