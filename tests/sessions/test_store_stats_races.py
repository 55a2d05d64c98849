"""Statistics against races: whoever is online is counted, nobody else is, whatever falls between two round trips."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asgi_redis_guard import RedisManager, RedisUnavailable, Session
from tests.conftest import MakeServer
from tests.redis.tools import PATIENCE
from tests.sessions import tally
from tests.sessions.accounts import Accounts, Visitor
from tests.sessions.crowd import Crowd, become
from tests.sessions.meanwhile import Meanwhile

#: In the source of the script that revokes.
REVOKE = "'revoked'"


@pytest.fixture
async def redis(backend: str) -> AsyncIterator[Meanwhile]:
    """A manager on each kind of server in turn."""
    async with Meanwhile(backend, timeout=PATIENCE) as manager:
        yield manager


@pytest.fixture
def site(redis: Meanwhile) -> Accounts:
    """Sessions that are counted."""
    return Accounts(redis, statistics=True)


async def counts(site: Accounts) -> tuple[int, int]:
    """Active sessions, users online; the hours must agree with them."""
    active, users, created, ended = await tally.counts(site)
    assert created - ended == active
    return active, users


async def truth(site: Accounts, *users: str) -> tuple[int, int]:
    """The same by the records and the indexes."""
    records = [key for key in await site.keys() if key.startswith(b"guard:s:")]
    fields = [await site.redis.execute("HMGET", key, "m", "o") for key in records]
    return sum(bool(m and not o) for m, o in fields), sum([bool(await site.ids(user)) for user in users])


def forget(session: Session) -> None:
    """Log out, and stay as nobody."""
    del session["user_id"]


async def test_a_login_beside_the_logout_of_the_last_session_leaves_the_user_online(
    site: Accounts, redis: Meanwhile
) -> None:
    visitor = await site.login()
    redis.after("sessions.destroy", site.login)
    await visitor.visit(lambda session: session.clear())
    assert redis.done
    assert await counts(site) == await truth(site, "alice") == (1, 1)


async def test_a_login_beside_a_logout_that_keeps_the_session_leaves_the_user_online(
    site: Accounts, redis: Meanwhile
) -> None:
    visitor = await site.login()
    redis.after("sessions.rotate", site.login)
    await visitor.visit(forget)
    assert redis.done
    assert await counts(site) == await truth(site, "alice") == (2, 1)


@pytest.mark.parametrize("by", ["login", "made"])
async def test_a_login_beside_a_revocation_leaves_the_user_online(site: Accounts, redis: Meanwhile, by: str) -> None:
    await site.login()
    redis.after(REVOKE, site.login if by == "login" else site.made)
    assert await site.store.revoke_all("alice") == 1
    assert redis.done
    assert await counts(site) == await truth(site, "alice") == (1, 1)


async def test_a_revocation_beside_a_login_leaves_the_user_offline(site: Accounts, redis: Meanwhile) -> None:
    for text, come in (("sessions.create", site.login), ("sessions.count", site.made), ("sessions.create", site.made)):
        redis.after(text, lambda: site.store.revoke_all("alice"))
        await come()
        assert redis.done
        await site.store.revoke_all("alice")
        assert await counts(site) == await truth(site, "alice") == (0, 0)


async def test_a_revocation_beside_a_new_id_leaves_the_user_offline(site: Accounts, redis: Meanwhile) -> None:
    visitor = await site.login()
    redis.after("sessions.rotate", lambda: site.store.revoke_all("alice"))
    await visitor.visit(lambda session: session.rotate())
    assert redis.done
    assert await counts(site) == await truth(site, "alice") == (0, 0)


async def test_a_new_id_beside_a_revocation_leaves_the_user_offline(site: Accounts, redis: Meanwhile) -> None:
    visitor, loaded, go = await site.login(), asyncio.Event(), asyncio.Event()

    async def slow(session: Session) -> None:
        loaded.set()
        await go.wait()
        session.rotate()

    visit = asyncio.ensure_future(visitor.visit(slow))
    await loaded.wait()

    async def finish() -> None:
        go.set()
        await visit

    redis.after(REVOKE, finish)
    assert await site.store.revoke_all("alice") == 1
    assert redis.done
    assert await counts(site) == await truth(site, "alice") == (0, 0)


@pytest.mark.parametrize("other", [lambda session: session.rotate(), forget], ids=["rotation", "logout"])
async def test_two_new_ids_at_once_of_a_session_that_was_saved_meanwhile_count_one(
    site: Accounts, redis: Meanwhile, other: Any
) -> None:
    """The first to try finds another version; until it tries again, the second one gets through."""
    visitor = await site.login()

    async def rotate(session: Session) -> None:
        await Visitor(site, visitor.cookie).visit(lambda session: session.update(n=1))
        redis.after("sessions.rotate", lambda: second.visit(other))
        session.rotate()

    second = Visitor(site, visitor.cookie)
    await Visitor(site, visitor.cookie).visit(rotate)
    assert redis.done
    assert await counts(site) == await truth(site, "alice")
    await second.visit(lambda session: session.clear())
    assert await counts(site) == (0, 0)


async def test_a_logout_beside_the_login_that_evicts_leaves_the_user_online(redis: Meanwhile) -> None:
    """What was evicted is taken off a moment later, when its user may be somewhere else already."""
    site = Accounts(redis, statistics=True, max_sessions=1)
    first = await site.login()
    redis.after("sessions.create", lambda: first.visit(lambda session: session.update(user_id="alice")))
    await site.login()
    assert redis.done
    assert await counts(site) == await truth(site, "alice") == (1, 1)
    await site.store.revoke_all("alice")
    assert await counts(site) == (0, 0)


async def test_who_becomes_another_user_in_one_request_is_online_as_that_one_alone(site: Accounts) -> None:
    visitor = await site.login("alice")
    await visitor.visit(become("bob"))
    assert await counts(site) == await truth(site, "alice", "bob") == (1, 1)
    await visitor.visit(lambda session: session.update(user_id="carol"))
    assert await counts(site) == await truth(site, "alice", "bob", "carol") == (1, 1)


async def test_a_user_is_online_until_the_last_session_ends_by_itself_and_no_longer(redis: Meanwhile) -> None:
    """The ends of sessions that were longer, or that never began, do not count."""
    long, short = Accounts(redis, statistics=True), Accounts(redis, statistics=True, max_age=3600)
    denied = Accounts(redis, statistics=True, max_sessions=1, on_excess="deny")
    keeps, leaves = await short.login(), await long.login()
    await leaves.visit(lambda session: session.clear())
    assert (await denied.login()).response.status == 409
    assert await counts(long) == (1, 1)
    await tally.over(redis, keeps.id.handle)
    assert (await tally.counts(long))[:2] == (0, 0)


@pytest.mark.parametrize("meanwhile", ["revoked", "nothing"])
async def test_a_denied_change_of_users_leaves_what_it_found(redis: Meanwhile, meanwhile: str) -> None:
    site = Accounts(redis, statistics=True, max_sessions=1, on_excess="deny")
    await site.login("bob")
    visitor = await site.login("alice")
    if meanwhile == "revoked":
        asked = "sessions.heir" if redis.is_cluster else "sessions.rotate"
        redis.after(asked, lambda: site.store.revoke_all("alice"))
    await visitor.visit(lambda session: session.update(user_id="bob"))
    assert visitor.response.status == 409
    both = (1, 1) if meanwhile == "revoked" else (2, 2)
    assert await counts(site) == await truth(site, "alice", "bob") == both
    await visitor.visit(lambda session: session.clear())
    assert await counts(site) == (1, 1)


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_what_a_full_server_does_not_keep_is_not_counted(make_server: MakeServer, kind: str) -> None:
    server = make_server(kind)
    async with RedisManager(server.url, timeout=PATIENCE) as redis:
        site = Accounts(redis, statistics=True)
        visitor = await site.login()
        server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        server.command("CONFIG", "SET", "maxmemory", 1)
        for act in (lambda session: session.rotate(), forget, lambda session: session.update(user_id="bob")):
            tab = Visitor(site, visitor.cookie)
            await tab.visit(act)
            assert tab.response.status == 503
            assert await counts(site) == await truth(site, "alice", "bob") == (1, 1)
        assert (await site.login("carol")).response.status == 503
        with pytest.raises(RedisUnavailable):
            await site.made("carol")
        assert await counts(site) == await truth(site, "alice", "carol") == (1, 1)
        await visitor.visit(become("bob"))
        assert visitor.response.status == 503
        server.command("CONFIG", "SET", "maxmemory", 0)
        assert await counts(site) == await truth(site, "alice", "bob", "carol") == (0, 0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("options", [{}, {"max_sessions": 2}, {"max_sessions": 2, "on_excess": "deny"}], ids=str)
async def test_whatever_happens_at_once_the_counts_are_those_of_the_records(
    redis: Meanwhile, options: dict[str, Any], seed: int
) -> None:
    crowd = Crowd(Accounts(redis, statistics=True, **options), seed)
    for _ in range(6):
        await asyncio.gather(*[crowd.act() for _ in range(12)])
        assert await counts(crowd.site) == await truth(crowd.site, *crowd.users)
