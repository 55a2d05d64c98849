"""A logout with an id that was replaced, where what has replaced it lies with another user, or with nobody."""

import asyncio
from collections.abc import Sequence

import pytest

from asgi_redis_guard import RedisManager, Session
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.core.script import place_of
from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.redis.program import program_of
from asgi_redis_guard.sessions.ending import DESTROY, end
from asgi_redis_guard.sessions.ids import SessionIds
from tests.middleware.calls import TestRedis
from tests.sessions.accounts import Accounts, Visitor
from tests.sessions.visits import Act, Site, Slow, put


def rotate(session: Session) -> None:
    """A visit that gets a new id."""
    session.rotate()


def logout(session: Session) -> None:
    """A visit that ends its session."""
    session.clear()


def leave(session: Session) -> None:
    """A visit after which the session is nobody's."""
    del session["user_id"]


def again(session: Session) -> None:
    """A visit that ends its session and makes another."""
    session.clear()
    session["user_id"] = "alice"


ALICE, BOB = put(user_id="alice"), put(user_id="bob")
WAYS = {
    "a login": [ALICE],
    "a new id for nobody": [rotate],
    "a new id, a login and another": [rotate, ALICE, rotate],
    "a login and a logout": [ALICE, leave],
    "another user": [ALICE, rotate, BOB],
    "there and back": [ALICE, BOB, ALICE, leave, ALICE],
}


async def alive(site: Site) -> list[bytes]:
    """What there is but ids that lead to those who have replaced them, and are no sessions any more."""
    left = []
    for key in await site.keys():
        if not key.startswith(b"guard:s:") or not set(await site.fields(key)) <= {b"o", b"w"}:
            left.append(key)
        else:
            assert 0 < await site.redis.execute("PTTL", key) <= site.guard.policy.overlap
    return left


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_a_logout_ends_what_has_replaced_its_session_wherever_that_lies(site: Site, way: Sequence[Act]) -> None:
    browser = await site.signed_in(basket=1)
    old = browser.twin()
    for act in way:
        await browser.visit(act)
    await old.visit(logout)
    assert (old.cookie, await browser.visit(), await alive(site)) == (None, {}, [])
    assert await old.visit() == {}


async def test_a_logout_that_began_before_a_login_ends_it(site: Site) -> None:
    browser = await site.signed_in(basket=1)
    slow = await Slow(logout).start(old := browser.twin())
    await browser.visit(ALICE)
    await slow.finish()
    assert (old.cookie, await browser.visit(), await alive(site)) == (None, {}, [])


async def test_a_logout_costs_one_round_trip_and_one_more_for_each_change_of_user(memory: TestRedis) -> None:
    site = Site(memory)
    for way, trips in (([rotate], 1), ([ALICE], 2), ([ALICE, rotate], 2), ([ALICE, BOB], 3)):
        browser = await site.signed_in(**({"user_id": "ann"} if way == [rotate] else {"basket": 1}))
        old = browser.twin()
        for act in way:
            await browser.visit(act)
        memory.rounds.clear()
        await old.visit(logout)
        assert memory.rounds == [["sessions.load"], *[["sessions.destroy"]] * trips]


async def test_a_logout_that_did_not_reach_the_session_that_replaced_its_own_is_none(memory: TestRedis) -> None:
    site = Site(memory)
    browser = await site.signed_in(basket=1)
    slow = await Slow(logout).start(old := browser.twin())
    await browser.visit(ALICE)
    memory.withhold()
    finished = asyncio.ensure_future(slow.finish())
    await memory.asked.wait()
    memory.away = RedisUnavailable("away")
    memory.give()
    await finished
    memory.away = None
    assert (old.response.status, old.told) == (503, [])
    assert await browser.visit() == {"basket": 1, "user_id": "alice"}


async def test_a_logout_that_is_repeated_for_its_lost_reply_still_leads_to_what_is_to_be_ended(site: Site) -> None:
    browser = await site.signed_in(basket=1)
    first = browser.id
    for act in (rotate, ALICE):
        await browser.visit(act)
    (operation,) = end(site.guard.policy, Keys(), first)
    script = program_of((place_of(True, (DESTROY,)),))
    once, twice = [await site.redis.run_script(script, operation.keys, operation.args) for _ in range(2)]
    assert once[:-1] == twice[:-1]
    heir = SessionIds(b"", Keys()).at(once[3], once[2])
    assert await site.redis.execute("EXISTS", heir.record) == 1


async def counts(site: Accounts) -> tuple[int, int, int, int]:
    """Active sessions, users online, sessions that began, sessions that ended."""
    stats = await site.store.stats()
    return stats["active"], stats["users"], sum(stats["created"].values()), sum(stats["ended"].values())


@pytest.mark.parametrize("way", [[rotate], [rotate, rotate], [BOB], [leave], [rotate, BOB, leave]])
@pytest.mark.parametrize("other", [False, True])
async def test_what_ends_with_a_logout_is_counted_once(redis: RedisManager, way: Sequence[Act], other: bool) -> None:
    site = Accounts(redis, statistics=True)
    visitor = await site.login("alice")
    if other:
        await site.login("alice")
    old = Visitor(site, visitor.cookie)
    for act in way:
        await visitor.visit(act)
    await old.visit(logout)
    assert await counts(site) == (other, other, 1 + other, 1)
    assert len(await site.ids()) == len(await site.noted()) == other


async def test_the_ends_of_all_that_a_logout_ends_are_published(redis: RedisManager) -> None:
    site = Accounts(redis)
    visitor = await site.login("alice")
    old = Visitor(site, visitor.cookie)
    handles = {visitor.id.handle}
    for act in (rotate, rotate, BOB):
        await visitor.visit(act)
        handles.add(visitor.id.handle)
    async with redis.pubsub.subscribe("guard:sessions") as heard:
        await old.visit(logout)
        told = set[bytes]()
        while len(told) < len(handles):
            word = (await anext(aiter(heard))).data
            if b">" not in word:  # what was told of the changes before; in a cluster that may come late
                told.add(word)
        assert told == handles


@pytest.mark.parametrize("excess", ["deny", "evict_oldest"])
async def test_whoever_logs_out_and_in_again_has_one_session_in_the_end(redis: RedisManager, excess: str) -> None:
    site = Accounts(redis, statistics=True, max_sessions=1, on_excess=excess)
    visitor = await site.login("alice")
    old = Visitor(site, visitor.cookie)
    for _ in range(2):
        await visitor.visit(rotate)
    await old.visit(again)
    assert (old.response.status, await site.ids()) == (200, {old.handle})
    assert (await visitor.visit(), visitor.session.ended) == ({}, None)
    assert await counts(site) == (1, 1, 2, 1)


async def test_another_user_after_a_logout_is_the_only_one_online(redis: RedisManager) -> None:
    site = Accounts(redis, statistics=True)
    visitor = await site.login("bob")
    await visitor.visit(again)
    assert (await visitor.user(), await counts(site)) == ("alice", (1, 1, 2, 1))
