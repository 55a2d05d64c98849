"""Statistics of sessions: exact whatever ends them, bounded, and nothing of them stays for ever."""

import asyncio
from typing import Literal

import pytest

from asgi_redis_guard import ConfigurationError, RedisManager, Session, SessionStore
from tests.sessions.accounts import Accounts, Visitor
from tests.sessions.site import CountingManager
from tests.sessions.tally import HOURS, ONLINE, SESSIONS, counts, entry, over, this_hour


@pytest.fixture
def site(redis: RedisManager) -> Accounts:
    """Sessions that are counted."""
    return Accounts(redis, statistics=True)


async def test_nothing_is_counted_to_begin_with(site: Accounts) -> None:
    assert await site.store.stats() == {"active": 0, "users": 0, "created": {}, "ended": {}}


async def test_sessions_of_users_and_of_nobody_are_counted(site: Accounts, redis: RedisManager) -> None:
    before = await this_hour(redis)
    await site.login("alice")
    await site.made("alice")
    await site.login("bob")
    await Visitor(site).visit(lambda session: session.update(cart=1))
    stats = await site.store.stats()
    assert (stats["active"], stats["users"], sum(stats["created"].values())) == (4, 2, 4)
    assert set(stats["created"]) <= {before, before + 1}
    assert stats["ended"] == {}


async def test_use_and_new_ids_count_no_session_twice(site: Accounts) -> None:
    visitor = Visitor(site)
    await visitor.visit(lambda session: session.update(cart=1))
    assert await counts(site) == (1, 0, 1, 0)
    await visitor.visit(lambda session: session.update(user_id="alice"))
    assert await counts(site) == (1, 1, 1, 0)
    for act in (
        lambda session: session.rotate(),
        lambda session: session.update(n=1),
        lambda session: session.incr("n"),
    ):
        await visitor.visit(act)
        assert await counts(site) == (1, 1, 1, 0)


@pytest.mark.parametrize("logout", ["clear", "pop"])
async def test_a_logout_takes_the_session_off_and_the_user_with_the_last(site: Accounts, logout: str) -> None:
    first, second = await site.login(), await site.login()
    left = 0 if logout == "clear" else 1  # a session that only forgets its user goes on as nobody's
    act = (lambda session: session.clear()) if logout == "clear" else (lambda session: session.pop("user_id"))
    await first.visit(act)
    assert await counts(site) == (1 + left, 1, 2, 1 - left)
    await second.visit(act)
    assert await counts(site) == (0 + 2 * left, 0, 2, 2 - 2 * left)


@pytest.mark.parametrize("way", ["one", "others", "all", "device"])
async def test_revoked_sessions_are_taken_off(site: Accounts, way: str) -> None:
    await site.login("bob")
    visitors = [await site.login(device="phone") for _ in range(3)]
    store = site.store
    if way == "one":
        await store.revoke("alice", visitors[0].handle)
    elif way == "others":
        await store.revoke_others("alice", visitors[0].handle)
    else:
        await (store.revoke_all("alice") if way == "all" else store.revoke_device("alice", "phone"))
    ended = {"one": 1, "others": 2, "all": 3, "device": 3}[way]
    assert await counts(site) == (4 - ended, 2 if ended < 3 else 1, 4, ended)


@pytest.mark.parametrize("by", ["login", "made", "rotation"])
@pytest.mark.parametrize("policy", ["evict_oldest", "deny"])
async def test_a_bound_keeps_the_counts(redis: RedisManager, by: str, policy: Literal["evict_oldest", "deny"]) -> None:
    site = Accounts(redis, statistics=True, max_sessions=3, on_excess=policy)

    async def come() -> None:
        if by == "made":
            await asyncio.gather(site.made(), return_exceptions=True)
        elif by == "login":
            await site.login()
        else:
            visitor = Visitor(site)
            await visitor.visit(lambda session: session.update(cart=1))
            await visitor.visit(lambda session: session.update(user_id="alice"))

    await asyncio.gather(*[come() for _ in range(40)])
    active, users, created, ended = await counts(site)
    refused = 37 if policy == "deny" else 0
    anonymous = refused if by == "rotation" else 0
    assert (active, users) == (3 + anonymous, 1)
    assert created == (3 + anonymous if policy == "deny" else 40)
    assert ended == created - active


async def test_who_logs_in_anew_in_one_request_ends_one_and_begins_one(site: Accounts) -> None:
    visitor = await site.login()
    await visitor.visit(lambda session: (session.clear(), session.update(user_id="alice")))
    assert await counts(site) == (1, 1, 2, 1)


async def test_sessions_that_end_by_themselves_are_counted_where_they_did(site: Accounts, redis: RedisManager) -> None:
    visitors = [await site.login() for _ in range(5)]
    hour = await this_hour(redis)
    await over(redis, *[one.id.handle for one in visitors[:3]], at=(hour - 2) * 3_600_000)
    stats = await site.store.stats()
    assert (stats["active"], stats["ended"]) == (2, {hour - 2: 3})
    assert await site.store.stats() == stats
    assert await redis.execute("ZCARD", SESSIONS) == 2


async def test_logins_clean_up_after_those_that_have_ended(site: Accounts, redis: RedisManager) -> None:
    """Nobody needs to ask for the statistics for them to stay small."""
    visitors = [await site.login(f"user {number}") for number in range(5)]
    await over(redis, *[one.id.handle for one in visitors])
    await site.login("late")
    assert await redis.execute("ZCARD", SESSIONS) == await redis.execute("HLEN", ONLINE) == 1


async def test_hours_of_more_than_a_week_ago_are_forgotten(site: Accounts, redis: RedisManager) -> None:
    hour = await this_hour(redis)
    for age in (167, 168, 169, 1000):
        await redis.execute("HSET", HOURS, f"b{hour - age}", 1)
    assert set((await site.store.stats())["created"]) <= {hour - 167}
    await site.login()
    kept = {int(name[1:]) for name in await redis.execute("HKEYS", HOURS)}
    assert min(kept) >= hour - 167


async def test_a_session_that_is_used_counts_as_long_as_it_lives(redis: RedisManager) -> None:
    site = Accounts(redis, statistics=True, idle=3600)
    visitor = await site.login()
    soon = int((await redis.execute("TIME"))[0]) * 1000 + 5000
    await over(redis, visitor.id.handle, at=soon)
    await redis.execute("PEXPIRE", SESSIONS, 5000)
    await visitor.visit(lambda session: session.update(n=1))
    assert int(await redis.execute("ZSCORE", SESSIONS, await entry(redis, visitor.id.handle))) > soon + 3_000_000
    assert await redis.execute("PTTL", SESSIONS) > 3_000_000


async def test_a_slow_request_does_not_count_a_revoked_session_again(site: Accounts) -> None:
    for change in (lambda session: session.update(n=1), lambda session: session.rotate()):
        visitor = await site.login()

        async def late(session: dict[str, object], change: object = change) -> None:
            await site.store.revoke_all("alice")
            change(session)  # type: ignore[operator]

        await visitor.visit(late)
        active, users, created, ended = await counts(site)
        assert (active, users) == (0, 0)
        assert created == ended


async def test_a_new_id_for_what_was_revoked_meanwhile_is_not_counted(site: Accounts, redis: RedisManager) -> None:
    """Whoever revokes takes the session off a moment later; the new id must not take its place in between."""
    visitor, store = await site.login(), SessionStore(redis)

    async def late(session: Session) -> None:
        assert await store.revoke_all("alice") == 1
        session.rotate()

    await visitor.visit(late)
    assert (await counts(site))[0] == 0


async def test_a_denied_login_leaves_its_anonymous_session_counted(redis: RedisManager) -> None:
    site = Accounts(redis, statistics=True, max_sessions=1, on_excess="deny")
    await site.login()
    visitor = Visitor(site)
    await visitor.visit(lambda session: session.update(cart=1))
    await visitor.visit(lambda session: session.update(user_id="alice"))
    assert visitor.response.status == 409
    assert await entry(redis, visitor.id.handle) == visitor.id.handle, "it is still nobody's"
    assert await counts(site) == (2, 1, 2, 0)


async def test_the_counts_are_exact_after_a_race_of_logins_and_revocations(site: Accounts) -> None:
    logins = [site.login() if number % 2 else site.made() for number in range(60)]
    await asyncio.gather(*logins, *[site.store.revoke_all("alice") for _ in range(5)])
    active, _, created, ended = await counts(site)
    assert active == len(await site.ids())
    assert (created, created - ended) == (60, active)
    await site.store.revoke_all("alice")
    assert (await counts(site))[0] == 0


async def test_every_key_of_the_statistics_has_an_end(site: Accounts, redis: RedisManager) -> None:
    await site.login()
    await (await site.login()).visit(lambda session: session.clear())
    for key in (SESSIONS, ONLINE, HOURS):
        assert 0 < await redis.execute("PTTL", key) <= 14 * 86_400_000


async def test_without_the_option_nothing_is_counted(redis: RedisManager) -> None:
    site = Accounts(redis)
    await site.login()
    assert not [key for key in await site.keys() if b"{stats}" in key]
    with pytest.raises(ConfigurationError, match="statistics"):
        await SessionStore(redis).stats()


async def test_statistics_travel_with_what_they_are_about_and_a_new_id_costs_one_round_trip_more() -> None:
    async with CountingManager("memory://") as redis:
        visitor = Visitor(Accounts(redis, statistics=True))
        for act, round_trips in (
            (lambda session: session.update(cart=1), 1),  # nothing to load
            (lambda session: session.update(cart=2), 2),
            (lambda session: session.update(user_id="alice"), 3),
            (lambda session: session.rotate(), 3),
            (lambda session: session.clear(), 2),
        ):
            redis.round_trips = 0
            await visitor.visit(act)
            assert redis.round_trips == round_trips
