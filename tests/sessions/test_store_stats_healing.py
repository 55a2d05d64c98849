"""Statistics of sessions after what nobody saw: ends by themselves, lost keys, a time before they were kept."""

import pytest

from asgi_redis_guard import RedisManager, Session
from tests.sessions.accounts import Accounts
from tests.sessions.tally import ONLINE, SESSIONS, counts, over, this_hour


@pytest.fixture
def site(redis: RedisManager) -> Accounts:
    """Sessions that are counted."""
    return Accounts(redis, statistics=True)


async def test_users_are_counted_exactly_however_many_sessions_have_ended_unseen(
    site: Accounts, redis: RedisManager
) -> None:
    """More than one call takes off at a time."""
    await site.login()
    hour = await this_hour(redis)
    for start in range(0, 11_000, 1000):
        names = [f"{number}:user {number % 50}" for number in range(start, start + 1000)]
        await redis.execute("ZADD", SESSIONS, *[word for name in names for word in (hour * 3_600_000 - 1, name)])
    await redis.execute("HSET", ONLINE, *[word for number in range(50) for word in (f"user {number}", 220)])
    stats = await site.store.stats()
    assert (stats["active"], stats["users"], stats["ended"]) == (1, 1, {hour - 1: 11_000})


async def test_a_user_is_seen_again_with_the_next_use_after_the_server_has_dropped_a_key(
    site: Accounts, redis: RedisManager
) -> None:
    first, second = await site.login(), await site.login()
    await redis.execute("DEL", ONLINE)
    for visitor in (first, second):
        await visitor.visit(lambda session: session.update(n=1))
        assert (await counts(site))[:2] == (2, 1)
    await first.visit(lambda session: session.clear())
    await second.visit(lambda session: session.update(n=2))
    assert (await counts(site))[:2] == (1, 1)
    await redis.execute("DEL", SESSIONS)
    assert (await counts(site))[:2] == (0, 0)
    await second.visit(lambda session: session.rotate())
    assert (await counts(site))[:2] == (1, 1), "and a session with its next new id"


async def test_sessions_of_before_they_were_counted_count_from_their_next_new_id_on(redis: RedisManager) -> None:
    visitor, site = await Accounts(redis).login(), Accounts(redis, statistics=True)
    visitor.site = site
    await visitor.visit(lambda session: session.update(n=1))
    assert await counts(site) == (0, 0, 0, 0)
    await visitor.visit(lambda session: session.rotate())
    assert await counts(site) == (1, 1, 1, 0)
    await visitor.visit(lambda session: session.clear())
    assert await counts(site) == (0, 0, 1, 1)


async def test_a_session_that_is_over_is_not_brought_back_by_a_slow_request(
    site: Accounts, redis: RedisManager
) -> None:
    """So many have ended that this one has not been taken off yet."""
    visitor = await site.login()
    many = [word for number in range(150) for word in (1, f"other {number}")]
    await redis.execute("ZADD", SESSIONS, *many)

    async def late(session: Session) -> None:
        await over(redis, visitor.id.handle, at=2)
        await redis.execute("DEL", visitor.id.record)
        session["n"] = 1

    await visitor.visit(late)
    assert (await counts(site))[:2] == (0, 0)
