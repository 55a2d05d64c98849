"""A session that goes to another slot of a cluster, and what fails between the steps of that.

The heir is made, then the old session is left: nobody loses a session, and none outlives its logout.
"""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import Session
from asgi_redis_guard.errors import OperationFailed, RedisTimeout
from asgi_redis_guard.sessions.ids import SessionIds
from tests.cluster import Cluster
from tests.redis.tools import PATIENCE
from tests.servers import Server
from tests.sessions import tally
from tests.sessions.accounts import Visitor
from tests.sessions.another_slot.steps import WAYS, Failing, alive, begun, lost, put, way
from tests.sessions.meanwhile import Meanwhile
from tests.sessions.test_ending import logout
from tests.sessions.test_recording import Watched, login


async def stands(site: Watched, way: str, old: Visitor) -> None:
    """See that a session is what it was, and can do all that it could."""
    before = WAYS[way][0]
    assert dict(await old.visit(put(more=1))) == before | {"more": 1}
    assert old.response.status == 200
    assert len(await site.ids()) == ("user_id" in before)
    act = WAYS[way][1]
    await old.visit(act)
    assert old.response.status == 200
    assert len(old.response.all("set-cookie")) == 1


@way
@pytest.mark.parametrize(
    "error", [RedisTimeout("no answer"), OperationFailed("OOM no memory")], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize("step", ["sessions.heir", "sessions.leave"])
async def test_what_was_not_done_leaves_the_session_as_it_was_and_nothing_else(
    redis: Failing, site: Watched, way: str, step: str, error: Exception
) -> None:
    visitor = await begun(site, way)
    redis.before(step, error)
    await visitor.visit(WAYS[way][1])
    assert (visitor.response.status, visitor.response.all("set-cookie")) == (503, [])
    assert len(await alive(site)) == 1
    assert await site.ids("bob") == set()
    active, users, created, ended = await tally.counts(site)
    assert (active, users, created, ended) == (1, "user_id" in WAYS[way][0], 1, 0)
    if step == "sessions.leave" and way in ("a login", "another user"):
        new = "alice" if way == "a login" else "bob"
        assert await site.kinds(new) == ["login", "logout"]
    await stands(site, way, visitor)


@way
async def test_where_there_is_no_room_for_what_both_have_written_nothing_is_left_over(redis: Failing, way: str) -> None:
    site = Watched(redis, statistics=True, max_size=256)
    visitor = await begun(site, way)
    other = Visitor(site, visitor.cookie)

    def act(session: Session) -> None:
        WAYS[way][1](session)
        session["mine"] = "x" * 150

    redis.after("sessions.heir", lambda: other.visit(put(theirs="x" * 150)))
    await visitor.visit(act)
    assert (redis.done, visitor.response.status) == (True, 500)
    assert len(await alive(site)) == 1
    assert (await tally.counts(site))[0] == 1
    assert dict(await other.visit()) == WAYS[way][0] | {"theirs": "x" * 150}


@way
async def test_an_heir_of_which_nobody_has_heard_leaves_the_session_as_it_was(
    redis: Failing, site: Watched, way: str
) -> None:
    visitor = await begun(site, way)
    redis.after("sessions.heir", lost)
    await visitor.visit(WAYS[way][1])
    assert (redis.done, visitor.response.status, visitor.response.all("set-cookie")) == (False, 503, [])
    assert dict(await visitor.visit(put(more=1))) == WAYS[way][0] | {"more": 1}
    await visitor.visit(logout)
    assert await visitor.visit() == {}


@way
async def test_where_nobody_knows_whether_it_was_left_it_can_be_read_and_ended(
    redis: Failing, site: Watched, way: str
) -> None:
    visitor = await begun(site, way)
    redis.after("sessions.leave", lost)
    await visitor.visit(WAYS[way][1])
    assert (visitor.response.status, visitor.response.all("set-cookie")) == (503, [])
    goes_on = way in ("a login", "a new id for nobody")
    assert await visitor.visit() == ({"basket": 1} if goes_on else {})
    if way == "a login":
        again = Visitor(site, visitor.cookie)
        await again.visit(login())
        assert await again.user() == "alice"
        await again.visit(logout)
    await visitor.visit(logout)
    assert await alive(site) == [], "the logout has ended the heir"
    assert await site.ids() == await site.ids("bob") == set()


@way
@pytest.mark.parametrize("step", ["sessions.heir", "sessions.leave"])
async def test_a_crash_between_the_steps_costs_nobody_a_session(
    redis: Failing, site: Watched, way: str, step: str
) -> None:
    visitor = await begun(site, way)
    crashed = asyncio.Event()

    async def crash() -> None:
        crashed.set()
        await asyncio.Event().wait()

    redis.after(step, crash)
    visit = asyncio.ensure_future(Visitor(site, visitor.cookie).visit(WAYS[way][1]))
    await crashed.wait()
    visit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await visit
    goes_on = way in ("a login", "a new id for nobody")
    if step == "sessions.heir":
        assert dict(await visitor.visit(put(more=1))) == WAYS[way][0] | {"more": 1}
    else:
        assert await visitor.visit() == ({"basket": 1} if goes_on else {})
    await visitor.visit(logout)
    assert await visitor.visit() == {}


@way
async def test_a_step_that_is_repeated_for_its_lost_reply_is_done_once(redis: Failing, site: Watched, way: str) -> None:
    visitor = await begun(site, way)
    old, sent = Visitor(site, visitor.cookie), []

    def twice(program: Any, batches: Any, *rest: Any) -> Any:
        if "sessions.heir" in program.source or "sessions.leave" in program.source:
            sent.append(program)
            return asyncio.ensure_future(_second(program, batches))
        return Meanwhile.evaluate(redis, program, batches, *rest)

    async def _second(program: Any, batches: Any) -> Any:
        first = await Meanwhile.evaluate(redis, program, batches)
        second = await Meanwhile.evaluate(redis, program, batches)
        state = 3 if "sessions.heir" in program.source else 1
        assert [first[0], first[state]] == [second[0], second[state]] == [1, 1]
        return first

    redis.evaluate = twice  # type: ignore[method-assign]
    await visitor.visit(WAYS[way][1])
    assert (len(sent), visitor.response.status) == (2, 200)
    user = await visitor.user()
    assert await visitor.visit() == ({"basket": 1, "user_id": user} if user else {"basket": 1})
    owned = [len(await site.ids(user)) for user in ("alice", "bob")]
    assert owned == {"a login": [1, 0], "another user": [0, 1]}.get(way, [0, 0])
    kinds = {"a login": ["login"], "a new id for nobody": []}.get(way, ["login", "logout"])
    assert await site.kinds() == kinds
    assert len(await alive(site)) == 1
    await old.visit(logout)
    assert await alive(site) == []


def is_full(server: Server, most: int) -> None:
    """Let a server hold no more than so much."""
    server.command("CONFIG", "SET", "maxmemory", most)


@way
async def test_where_there_is_no_place_for_a_mark_the_session_stays_as_it_was(way: str) -> None:
    with Cluster(3) as cluster:
        async with Failing(cluster.url, timeout=PATIENCE) as redis:
            site = Watched(redis)
            visitor = await begun(site, way)
            full, index = cluster.owner_of(visitor.id.record), SessionIds(b"", redis.keys).keys_of("alice")[0]
            while way == "a login" and cluster.owner_of(index) is full:  # there the heir would have no place either
                visitor = await begun(site, way)
                full = cluster.owner_of(visitor.id.record)
            before, keys = await redis.execute("HGETALL", visitor.id.record), await site.keys()
            is_full(full, 1)
            await visitor.visit(WAYS[way][1])
            assert (visitor.response.status, visitor.response.all("set-cookie")) == (503, [])
            is_full(full, 0)
            events = [key for key in await site.keys() if key.startswith(b"guard:e:")]
            assert await redis.execute("HGETALL", visitor.id.record) == before
            assert await site.keys() == sorted({*keys, *events})
            await stands(site, way, visitor)


async def planted(site: Watched) -> Visitor:
    """A browser that has the id which somebody's session had before its login; the overlap is over."""
    visitor = await begun(site, "a login")
    old = Visitor(site, visitor.cookie)
    await visitor.visit(login())
    await site.redis.execute("DEL", old.id.record)
    return old


async def test_an_id_from_before_a_login_is_reported_once_however_often_it_comes(site: Watched) -> None:
    old = await planted(site)
    await asyncio.gather(*[Visitor(site, old.cookie).visit() for _ in range(20)])
    assert await site.kinds() == ["login", "reuse"]


@pytest.mark.parametrize("step", ["sessions.unmark", "sessions.record"])
async def test_a_report_of_which_nobody_knows_is_told_to_hooks_as_missed(
    redis: Failing, site: Watched, step: str
) -> None:
    old = await planted(site)
    redis.after(step, lost)
    await old.visit()
    assert old.response.status == 200
    assert [(event.kind, event.id) for event in site.heard][1:] == [("reuse", "")]
    await old.visit()
    assert len(site.heard) == 2
