"""A bound on a user's sessions holds whoever races for it, and whoever had to go can be told."""

import asyncio
from typing import Literal

import pytest

from asgi_redis_guard import Answer, ConfigurationError, RedisManager, Sessions, SessionStore, TooManySessions, problem
from tests.drive import handshake
from tests.redis.tools import PATIENCE
from tests.sessions.accounts import Accounts, Visitor

Policy = Literal["evict_oldest", "evict_lru", "deny"]
POLICIES: list[Policy] = ["evict_oldest", "evict_lru", "deny"]
HOUR = 3_600_000


async def records(site: Accounts) -> set[bytes]:
    """The keys of the sessions that are alive."""
    keys = [key for key in await site.keys() if key.startswith(b"guard:s:")]
    return {key for key in keys if await site.redis.execute("HEXISTS", key, "m")}


@pytest.mark.parametrize("policy", POLICIES)
async def test_300_logins_at_once_leave_exactly_3_sessions(redis: RedisManager, policy: Policy) -> None:
    site = Accounts(redis, max_sessions=3, on_excess=policy)
    visitors = await asyncio.gather(*[site.login() for _ in range(300)])
    statuses = [visitor.response.status for visitor in visitors]
    assert statuses.count(200) == (3 if policy == "deny" else 300)
    assert statuses.count(409) == (297 if policy == "deny" else 0)
    alive = [visitor for visitor in visitors if visitor.cookie is not None and await visitor.user() == "alice"]
    assert len(alive) == 3
    assert await site.ids() == {visitor.handle for visitor in alive}
    assert await records(site) == {visitor.id.record for visitor in alive}


@pytest.mark.parametrize("policy", POLICIES)
async def test_300_logins_out_of_anonymous_sessions_leave_exactly_3(redis: RedisManager, policy: Policy) -> None:
    """The way of an app that keeps a cart before the login: the session is rotated, not made."""
    site = Accounts(redis, max_sessions=3, on_excess=policy)
    visitors = [Visitor(site) for _ in range(300)]
    await asyncio.gather(*[one.visit(lambda session: session.update(cart=1)) for one in visitors])
    await asyncio.gather(*[one.visit(lambda session: session.update(user_id="alice")) for one in visitors])
    users = [await visitor.user() for visitor in visitors]
    assert users.count("alice") == len(await site.ids()) == 3
    if policy == "deny":  # who was refused goes on without a user
        assert [one.session["cart"] for one in visitors] == [1] * 300
    else:
        assert [one.session.ended for one in visitors].count("evicted") == 297


@pytest.mark.parametrize("policy", POLICIES)
async def test_300_logins_through_the_store_leave_exactly_3(redis: RedisManager, policy: Policy) -> None:
    store = SessionStore(redis, max_sessions=3, on_excess=policy)
    made = await asyncio.gather(*[store.create("alice") for _ in range(300)], return_exceptions=True)
    denied = [one for one in made if isinstance(one, BaseException)]
    assert {type(one) for one in denied} <= {TooManySessions}
    assert len(denied) == (297 if policy == "deny" else 0)
    assert len(await store.list("alice")) == 3


async def test_logins_of_several_processes_keep_the_bound(redis_url: str) -> None:
    managers = [RedisManager(redis_url, timeout=PATIENCE) for _ in range(4)]
    sites = [Accounts(manager, max_sessions=3) for manager in managers]
    await asyncio.gather(*[sites[number % 4].login() for number in range(200)])
    assert len(await sites[0].store.list("alice")) == 3
    for manager in managers:
        await manager.aclose()


@pytest.mark.parametrize(("policy", "goes"), [("evict_oldest", 0), ("evict_lru", 1)])
@pytest.mark.parametrize("by", ["login", "made", "rotation"])
async def test_the_session_goes_that_the_policy_names(redis: RedisManager, policy: Policy, goes: int, by: str) -> None:
    site = Accounts(redis, max_sessions=3, on_excess=policy)
    visitors = [await site.login() for _ in range(3)]
    await site.shift(visitors[0], created=-9000)
    await site.shift(visitors[1], created=-5000, touched=-8000)
    await site.shift(visitors[2], created=-7000, touched=-1000)
    if by == "rotation":
        late = Visitor(site)
        await late.visit(lambda session: session.update(cart=1))
        await late.visit(lambda session: session.update(user_id="alice"))
    else:
        late = await (site.login() if by == "login" else site.made())
    stay = [one.handle for number, one in enumerate(visitors) if number != goes]
    assert await site.ids() == await site.noted() == {*stay, late.handle}
    evicted = await visitors[goes].visit()
    assert (evicted, evicted.ended) == ({}, "evicted")


async def test_a_login_that_is_one_too_many_is_told_so(redis: RedisManager) -> None:
    site = Accounts(redis, max_sessions=1, on_excess="deny")
    first = await site.login()
    late = await site.login()
    assert late.response.status == 409
    assert late.response["content-type"] == "application/problem+json"
    assert late.response["cache-control"] == "no-store"
    assert late.response.json()["max_sessions"] == 1
    assert late.cookie is None
    await site.store.revoke("alice", first.handle)
    await late.visit(lambda session: session.update(user_id="alice"))
    assert late.response.status == 200
    assert await late.user() == "alice"


async def test_the_app_may_answer_a_denied_login_itself(redis: RedisManager) -> None:
    def answer(_: object, refused: Answer) -> Answer:
        assert refused.reason == "too_many_sessions"
        return problem(403, "full", "No more devices.")

    site = Accounts(redis, max_sessions=1, on_excess="deny", on_refused=answer)
    await site.login()
    assert (await site.login()).response.status == 403


async def test_a_websocket_that_logs_in_is_denied_too(redis: RedisManager) -> None:
    site = Accounts(redis, max_sessions=1, on_excess="deny")
    await site.login()
    seen: list[object] = []

    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        scope["session"]["user_id"] = "alice"  # type: ignore[index]
        seen.append(await receive())  # type: ignore[operator]
        await send({"type": "websocket.accept", "headers": []})  # type: ignore[operator]

    site.stack.app = app  # type: ignore[assignment]
    response = await handshake(site.stack)
    assert seen
    assert response.status == 409


@pytest.mark.parametrize("policy", POLICIES)
async def test_who_logs_in_anew_in_one_request_takes_its_own_place(redis: RedisManager, policy: Policy) -> None:
    """A session that is cleared and filled again ends with the same script that makes the next one."""
    site = Accounts(redis, max_sessions=1, on_excess=policy)
    visitor = await site.login()
    first = visitor.handle
    await visitor.visit(lambda session: (session.clear(), session.update(user_id="alice")))
    assert visitor.response.status == 200
    assert await site.ids() == {visitor.handle} != {first}
    assert await records(site) == {visitor.id.record}


async def test_a_change_of_users_that_is_denied_leaves_nobody_logged_in(redis: RedisManager) -> None:
    site = Accounts(redis, max_sessions=1, on_excess="deny")
    await site.login("bob")
    visitor = await site.login("alice")
    await visitor.visit(lambda session: (session.clear(), session.update(user_id="bob")))
    assert visitor.response.status == 409
    assert visitor.cookie is None
    assert await site.ids("alice") == set()
    assert len(await site.ids("bob")) == 1


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_new_id_is_no_new_session(redis: RedisManager, policy: Policy) -> None:
    site = Accounts(redis, max_sessions=2, on_excess=policy)
    other, visitor = await site.login(), await site.login()
    for _ in range(3):
        await visitor.visit(lambda session: session.rotate())
        assert visitor.response.status == 200
    assert await site.ids() == {other.handle, visitor.handle}


async def test_the_dead_take_no_place(redis: RedisManager) -> None:
    site = Accounts(redis, max_sessions=2, on_excess="deny")
    await site.lapse(await site.login())
    await site.lapse(await site.login(), record_only=True)
    assert [(await site.login()).response.status for _ in range(3)] == [200, 200, 409]


async def test_a_lower_bound_holds_from_the_next_login_on(redis: RedisManager) -> None:
    for _ in range(40):
        await Accounts(redis).login()
    site = Accounts(redis, max_sessions=2, statistics=True)
    late = await site.login()
    assert late.handle in await site.ids()
    assert len(await site.ids()) == 2


async def test_users_do_not_share_their_places(redis: RedisManager) -> None:
    site = Accounts(redis, max_sessions=1, on_excess="deny")
    assert [(await site.login(user)).response.status for user in ("alice", "bob", "alice")] == [200, 200, 409]


@pytest.mark.parametrize("reason", ["evicted", "revoked"])
async def test_the_mark_of_an_end_is_told_until_the_next_login_and_lives_an_hour(
    redis: RedisManager, reason: str
) -> None:
    site = Accounts(redis, max_sessions=1)
    visitor = await site.login()
    mark = visitor.id.record
    await (site.store.revoke_all("alice") if reason == "revoked" else site.login())
    assert HOUR - 60_000 < await redis.execute("PTTL", mark) <= HOUR
    for _ in range(2):
        session = await visitor.visit()
        assert (session, session.ended, session.is_new) == ({}, reason, True)
    await visitor.visit(lambda session: session.update(user_id="alice"))
    assert (await visitor.visit()).ended is None


async def test_a_session_that_ended_otherwise_has_no_reason(redis: RedisManager) -> None:
    site = Accounts(redis)
    visitor = await site.login()
    assert (await visitor.visit()).ended is None
    await site.lapse(visitor)
    assert (await visitor.visit()).ended is None


async def test_a_save_a_counter_and_a_rotation_do_not_write_over_the_mark(redis: RedisManager) -> None:
    site = Accounts(redis)
    for act in ("save", "rotate", "touch"):
        visitor = await site.login()
        mark = visitor.id.record
        await site.shift(visitor, touched=-HOUR * 24 * 7)

        async def late(session: dict[str, object], act: str = act) -> None:
            await site.store.revoke_all("alice")
            if act == "save":
                session["n"] = 1
            elif act == "rotate":
                session.rotate()  # type: ignore[attr-defined]

        await visitor.visit(late)
        assert await redis.execute("HGETALL", mark) in ([b"e", b"revoked"], {b"e": b"revoked"})
        assert await site.ids() == set()


def test_a_bound_that_cannot_work_is_refused() -> None:
    with pytest.raises(ConfigurationError) as failed:
        Sessions(max_sessions=0, on_excess="evict")  # type: ignore[arg-type]
    assert [fault.partition(":")[0] for fault in failed.value.faults] == ["max_sessions", "on_excess"]
