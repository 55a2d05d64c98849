"""A session that goes to another slot of a cluster, and what others do, or what fails, between the steps of that.

The heir is made, then the old session is left: whatever happens in between, nobody loses a session, and none outlives
its logout. What users do meanwhile must come to what it would on one server, just before its one script.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from asgi_redis_guard.errors import OperationFailed, RedisTimeout, RedisUnavailable
from asgi_redis_guard.sessions.ids import SessionIds
from tests.cluster import Cluster
from tests.redis.conftest import cluster, shared_cluster
from tests.redis.tools import PATIENCE
from tests.servers import Server
from tests.sessions import tally
from tests.sessions.accounts import Act, Visitor
from tests.sessions.meanwhile import Meanwhile
from tests.sessions.test_ending import again, leave, logout, rotate
from tests.sessions.test_recording import Watched, login

__all__ = ["cluster", "shared_cluster"]


class Failing(Meanwhile):
    """Also fails before something is sent."""

    _failing: tuple[str, Exception] | None = None

    def before(self, text: str, error: Exception) -> None:
        """Let the next script with `text` not be sent."""
        self._failing = text, error

    def evaluate(self, program: Any, *rest: Any) -> Any:
        if self._failing is not None and self._failing[0] in program.source:
            (_, error), self._failing = self._failing, None
            raise error
        return super().evaluate(program, *rest)


@pytest.fixture
async def redis(cluster: Cluster) -> AsyncIterator[Failing]:
    """A manager on a cluster, where something can happen between two steps."""
    async with Failing(cluster.url, timeout=PATIENCE) as manager:
        yield manager


@pytest.fixture
def site(redis: Failing) -> Watched:
    """Sessions that are counted, and whose events are."""
    return Watched(redis, statistics=True)


def put(**values: Any) -> Act:
    return lambda session: session.update(values)


#: Where a session comes from, and what its user does that leads to another slot.
WAYS: dict[str, tuple[dict[str, Any], Act]] = {
    "a login": ({"basket": 1}, login()),
    "a new id for nobody": ({"basket": 1}, rotate),
    "a logout": ({"user_id": "alice", "basket": 1}, leave),
    "another user": ({"user_id": "alice", "basket": 1}, login("bob")),
}
way = pytest.mark.parametrize("way", WAYS)


async def begun(site: Watched, way: str) -> Visitor:
    """A browser with the session that a way begins with."""
    visitor = Visitor(site)
    await visitor.visit(put(**WAYS[way][0]))
    return visitor


Deed = Callable[[Watched, Visitor], Awaitable[Any]]

#: What others do meanwhile: another tab of the browser, or whoever looks after the site.
DEEDS: dict[str, Deed] = {
    "written": lambda site, tab: tab.visit(put(theirs=2)),
    "incremented": lambda site, tab: tab.visit(lambda session: session.incr("n")),
    "ended": lambda site, tab: tab.visit(logout),
    "ended and begun again": lambda site, tab: tab.visit(again),
    "logged in": lambda site, tab: tab.visit(login("carol")),
    "rotated": lambda site, tab: tab.visit(rotate),
    "revoked": lambda site, tab: site.store.revoke_all("alice"),
    "revoked, the new user": lambda site, tab: site.store.revoke_all("bob"),
    "lost": lambda site, tab: site.redis.execute("DEL", tab.id.record),
}


async def outcome(site: Watched, visitor: Visitor, old: Visitor, tab: Visitor) -> dict[str, Any]:
    """What all of them see in the end."""
    status, told = visitor.response.status, len(visitor.response.all("set-cookie"))
    same = visitor.cookie == old.cookie
    seen = [dict(await one.visit()) for one in (visitor, tab, old)]
    lists = {user: len(await site.ids(user)) for user in ("alice", "bob", "carol")}
    events = {user: await site.kinds(user) for user in ("alice", "carol")}
    return {"status": (status, told, same), "seen": seen, "lists": lists, "events": events}


@way
@pytest.mark.parametrize("deed", DEEDS)
async def test_what_others_do_meanwhile_comes_to_what_it_would_on_one_server(
    redis: Failing, redis_url: str, way: str, deed: str
) -> None:
    async with Meanwhile(redis_url, timeout=PATIENCE) as single:
        outcomes = []
        for manager, step in ((redis, "sessions.heir"), (single, "sessions.load")):
            site = Watched(manager, statistics=True)
            visitor = await begun(site, way)
            old, tab = Visitor(site, visitor.cookie), Visitor(site, visitor.cookie)
            manager.after(step, lambda site=site, tab=tab: DEEDS[deed](site, tab))  # type: ignore[misc]
            await visitor.visit(WAYS[way][1])
            assert manager.done
            outcomes.append(await outcome(site, visitor, old, tab))
            active, users, created, ended = await tally.counts(site)
            assert active == created - ended
            assert users == sum(map(bool, outcomes[-1]["lists"].values()))
        if (way, deed) in (("another user", "revoked, the new user"), ("a login", "revoked")):
            assert outcomes[0]["seen"][0] == {}  # what was just made was there to be revoked
        else:
            assert outcomes[0] == outcomes[1]


async def lost() -> None:
    """The reply was lost, after what was asked was done."""
    raise RedisUnavailable("the link broke", maybe_executed=True)


async def alive(site: Watched) -> list[dict[bytes, bytes]]:
    """The sessions that are there, whoever knows of them."""
    records = [key for key in await site.keys() if key.startswith(b"guard:s:") and b":replaced" not in key]
    fields = [dict(zip(*[iter(await site.redis.execute("HGETALL", key))] * 2, strict=True)) for key in records]
    return [one for one in fields if b"m" in one and b"o" not in one]


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
