"""Sessions whose slots move from node to node: nothing is lost, and what cannot be seen is not taken for gone."""

import asyncio
import random
from collections.abc import Callable

import pytest

from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.redis.slots import slot_of
from asgi_redis_guard.sessions.ids import SessionIds
from tests.cluster import Cluster
from tests.sessions.accounts import Act, Visitor
from tests.sessions.another_slot.steps import Failing, alive, put
from tests.sessions.test_ending import leave, logout, rotate
from tests.sessions.test_recording import Watched, login


async def coming_and_going(site: Watched, user: str, is_over: Callable[[], bool]) -> int:
    """Do all that changes slots, again and again, and see that nothing is lost or left; return how often."""
    number = 0
    while not is_over():
        number += 1
        visitor = Visitor(site)
        for act, there in (
            (put(basket=number), {"basket": number}),
            (rotate, {"basket": number}),
            (login(user), {"basket": number, "user_id": user}),
            (rotate, {"basket": number, "user_id": user}),
            (leave, {"basket": number}),
            (login(user), {"basket": number, "user_id": user}),
        ):
            former = Visitor(site, visitor.cookie)
            await visitor.visit(act)
            assert visitor.response.status == 200, (act, visitor.response.body)
            assert await visitor.visit() == there
            assert visitor.response.status == 200
        assert len(await site.ids(user)) == 1
        await (former if number % 2 else visitor).visit(logout)
        assert await visitor.visit() == {}
        assert await site.ids(user) == set()
    return number


async def test_nobody_loses_a_session_and_none_is_left_while_slots_move_under_load(
    redis: Failing, cluster: Cluster
) -> None:
    site = Watched(redis)
    users = [f"user-{number}" for number in range(12)]
    ids, moved = SessionIds(b"", redis.keys), asyncio.Event()
    load = [asyncio.ensure_future(coming_and_going(site, user, moved.is_set)) for user in users]
    chance = random.Random(1)
    for _ in range(30):
        taken = [key for key in await site.keys() if key.startswith(b"guard:s:")]
        slot = slot_of(chance.choice([*taken, *(ids.keys_of(user)[0] for user in users)]))
        source = cluster.owner_of(slot)
        await asyncio.to_thread(cluster.migrate, slot, source, chance.choice(cluster.others(source)))
    moved.set()
    assert sum(await asyncio.gather(*load)) > 0
    assert await alive(site) == []


@pytest.mark.parametrize("act", [leave, logout], ids=["the user", "the session"])
@pytest.mark.parametrize("older", ["gone", "moved"])
async def test_what_ends_while_its_slot_moves_ends_whole_or_not_at_all(
    redis: Failing, cluster: Cluster, act: Act, older: str
) -> None:
    async with Failing(cluster.url, timeout=0.5) as impatient:
        await ends_whole_or_not_at_all(Watched(impatient, statistics=True), redis, cluster, act, older)


async def ends_whole_or_not_at_all(site: Watched, redis: Failing, cluster: Cluster, act: Act, older: str) -> None:
    visitor = Visitor(site)
    await visitor.visit(login())
    former = Visitor(site, visitor.cookie)
    await visitor.visit(rotate)
    slot = slot_of(visitor.id.record)
    source = cluster.owner_of(slot)
    target = cluster.others(source)[0]
    cluster.begin_migration(slot, source, target)
    if older == "gone":
        await redis.execute("DEL", former.id.record)
    else:
        source.command("MIGRATE", "127.0.0.1", target.port, former.id.record, 0, 5000)
    await visitor.visit(act)
    assert visitor.response.status == 503
    cluster.migrate(slot, source, target)
    assert await visitor.user() == "alice"
    assert len(await alive(site)) == 1
    await visitor.visit(act)
    assert visitor.response.status == 200
    assert [await one.user() for one in (visitor, former)] == [None, None]
    assert await site.ids() == set()
    assert len(await alive(site)) == (act is leave)


@pytest.mark.parametrize("act", [leave, logout], ids=["the user", "the session"])
async def test_what_ends_while_its_slot_moves_waits_for_that(
    redis: Failing, cluster: Cluster, site: Watched, act: Act
) -> None:
    visitor = await site.login()
    former = Visitor(site, visitor.cookie)
    await visitor.visit(rotate)
    slot = slot_of(visitor.id.record)
    source = cluster.owner_of(slot)
    target = cluster.others(source)[0]
    cluster.begin_migration(slot, source, target)
    source.command("MIGRATE", "127.0.0.1", target.port, former.id.record, 0, 5000)
    ending = asyncio.ensure_future(visitor.visit(act))
    await asyncio.sleep(0.05)  # for it to be met; that it is, the other tests see
    await asyncio.to_thread(cluster.migrate, slot, source, target)
    await ending
    assert visitor.response.status == 200
    assert [await one.user() for one in (visitor, former)] == [None, None]


async def test_while_a_slot_moves_a_users_sessions_are_all_ended_or_none(cluster: Cluster) -> None:
    """A script sees no more than one of two nodes: what it would miss, it must not take for gone."""
    async with Failing(cluster.url, timeout=0.5) as redis:
        site = Watched(redis)
        visitors = [await site.login() for _ in range(3)]
        slot = slot_of(visitors[0].id.record)
        source = cluster.owner_of(slot)
        target = cluster.others(source)[0]
        index = SessionIds(b"", redis.keys).keys_of("alice")[0]
        for moved in (None, visitors[0].id.record, index):
            cluster.begin_migration(slot, source, target)
            if moved is not None:
                source.command("MIGRATE", "127.0.0.1", target.port, moved, 0, 5000)
            for call in (site.store.list("alice"), site.store.revoke_others("alice", visitors[0].handle)):
                with pytest.raises(RedisUnavailable, match="TRYAGAIN"):
                    await call
            await asyncio.to_thread(cluster.migrate, slot, source, target)
            assert await site.ids() == {visitor.handle for visitor in visitors}
            source, target = target, source
        assert await site.store.revoke_others("alice", visitors[0].handle) == 2
        assert await site.ids() == {visitors[0].handle}
