"""Sessions that are read from a replica, which may not have heard yet of what was written to them."""

from collections.abc import AsyncIterator

import pytest

from asgi_redis_guard import GuardMiddleware, RateLimit, RedisManager, Session
from tests.conftest import MakeServer
from tests.redis.tools import PATIENCE
from tests.replicated import Replicated, replicated
from tests.sessions.visits import Site, app, put


@pytest.fixture(params=["valkey9", "redis62"])
async def pair(request: pytest.FixtureRequest, make_server: MakeServer) -> AsyncIterator[Replicated]:
    async with replicated(make_server, request.param) as pair:
        yield pair


def site(redis: RedisManager, **options: object) -> Site:
    return Site(redis, read_from_replicas=True, **options)


@pytest.mark.parametrize("remembered", [0, 100])
async def test_a_session_that_is_only_read_is_read_from_the_replica(pair: Replicated, remembered: int) -> None:
    async with pair.manager() as redis, RedisManager(pair.primary.url, timeout=PATIENCE) as elsewhere:
        mine, other = site(redis, remembered=remembered), Site(elsewhere)
        browser = await other.signed_in(user_id="alice")
        await pair.agreed()
        here = mine.browser(browser.cookie)
        before = pair.runs()
        for _ in range(3):
            assert await here.visit() == {"user_id": "alice"}
        assert pair.runs() == before + 3


async def test_a_session_that_the_replica_lacks_is_read_from_the_primary(pair: Replicated) -> None:
    async with pair.manager() as redis, RedisManager(pair.primary.url, timeout=PATIENCE) as elsewhere:
        pair.lag()
        browser = await Site(elsewhere).signed_in(user_id="alice")
        assert await site(redis).browser(browser.cookie).visit() == {"user_id": "alice"}


async def test_what_was_written_here_is_read_here_though_the_replica_lags(pair: Replicated) -> None:
    async with pair.manager() as redis:
        mine = site(redis)
        browser = await mine.signed_in(user_id="alice")
        await pair.agreed()
        await browser.visit()
        pair.lag()
        await browser.visit(put(cart=[1]))
        assert await browser.visit() == {"user_id": "alice", "cart": [1]}
        await browser.visit(lambda session: session.rotate())
        assert await browser.visit() == {"user_id": "alice", "cart": [1]}


@pytest.mark.parametrize("remembered", [0, 100])
async def test_who_has_logged_out_here_is_out_though_the_replica_lags(pair: Replicated, remembered: int) -> None:
    async with pair.manager() as redis:
        mine = site(redis, remembered=remembered)
        browser = await mine.signed_in(user_id="alice")
        await pair.agreed()
        thief = mine.browser(browser.cookie)
        assert await thief.visit() == {"user_id": "alice"}
        pair.lag()
        await browser.visit(lambda session: session.clear())
        for _ in range(2):
            assert await thief.visit() == {}


async def test_what_a_long_request_has_ended_is_over_though_the_replica_lags(pair: Replicated) -> None:
    """It counts when it was written, not when the request began."""
    async with pair.manager() as redis:
        mine, now = site(redis), [1_000_000.0]
        mine.stack = GuardMiddleware(app, [mine.guard], redis=redis, clock=lambda: now[0])
        browser = await mine.signed_in(user_id="alice")
        await pair.agreed()
        thief = mine.browser(browser.cookie)
        now[0] += 100
        assert await thief.visit() == {"user_id": "alice"}
        pair.lag()

        def leave(session: Session) -> None:
            now[0] += 100
            session.clear()

        await browser.visit(leave)
        assert await thief.visit() == {}


async def test_a_write_upon_an_old_state_is_checked_on_the_primary(pair: Replicated) -> None:
    async with pair.manager() as redis, RedisManager(pair.primary.url, timeout=PATIENCE) as elsewhere:
        other = Site(elsewhere)
        browser = await other.signed_in(user_id="alice", a=1)
        await pair.agreed()
        pair.lag()
        await browser.visit(put(b=2))
        mine = site(redis)
        late = mine.browser(browser.cookie)
        await late.visit(put(c=3))
        assert await browser.visit() == {"user_id": "alice", "a": 1, "b": 2, "c": 3}
        old = browser.twin()
        await browser.visit(lambda session: session.clear())
        another = site(redis).browser(old.cookie)  # of a process that has written nothing, and reads what has ended
        assert await another.visit() == {"user_id": "alice", "a": 1}
        await another.visit(put(d=4))
        assert await old.visit() == {}


async def test_where_a_guard_behind_asks_too_the_primary_is_asked_for_both(pair: Replicated) -> None:
    async with pair.manager() as redis:
        mine = site(redis)
        mine.stack = GuardMiddleware(app, [mine.guard, RateLimit("100/minute", key="path")], redis=redis)
        browser = await mine.signed_in(user_id="alice")
        await pair.agreed()
        mine.guard._place = None  # nothing is remembered, as in another process
        before = pair.runs()
        assert await browser.visit() == {"user_id": "alice"}
        assert pair.runs() == before
