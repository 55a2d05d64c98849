"""A node of a cluster that came back without its data; slots that move and replicas that take over are no loss."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from asgi_redis_guard import (
    GuardMiddleware,
    RedisManager,
    RedisUnavailable,
    Revocation,
    RevocationList,
    TokenPair,
    TokenService,
)
from asgi_redis_guard.redis import loss_watch
from asgi_redis_guard.redis.slots import slot_of
from tests.cluster import Cluster, until
from tests.jwt.revocation.test_losses import LOST, is_lost, learnt, process, quick, told
from tests.jwt.revocation.test_mirror import another, mirror_of, stack, status
from tests.jwt.services import service
from tests.redis.conftest import cluster, nothing_is_left_running, on_cluster, shared_cluster
from tests.redis.tools import PATIENCE, eventually, within
from tests.servers import Server

__all__ = ["cluster", "nothing_is_left_running", "on_cluster", "quick", "shared_cluster"]

MANY = [f"token-{number}" for number in range(60)]


@pytest.fixture
def own_cluster() -> Iterator[Cluster]:
    """One that a test may kill nodes of."""
    with Cluster(3, node_timeout=15_000) as cluster:
        yield cluster


def owner_of(cluster: Cluster, redis: RedisManager, jti: str) -> Server:
    return cluster.owner_of(redis.keys.token("", jti))


async def restart_empty(cluster: Cluster, server: Server) -> None:
    """Kill one node, as by a crash; it is back before the others have noticed, with its slots and nothing in them."""
    server.kill()
    server.start()
    until(lambda: server.command("DBSIZE") == 0, "it serves")


async def settled(app: GuardMiddleware, revoked: list[str]) -> set[int]:
    """Ask until all of those tokens are refused as revoked; return what else was answered by then, and that."""
    seen: set[int] = set()
    async with asyncio.timeout(PATIENCE):
        while (answers := set(await asyncio.gather(*(status(app, jti=jti) for jti in revoked)))) != {401}:
            seen |= answers
            await asyncio.sleep(0.01)
    return seen | answers


async def test_a_node_that_came_back_empty_lets_nobody_pass(
    own_cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(own_cluster.url) as (redis, app, revocations), process(own_cluster.url) as (other, its_app, _):
        await revocations.revoke_many([Revocation(jti, ttl=60) for jti in MANY])
        await learnt(other)
        lost = owner_of(own_cluster, redis, MANY[0])
        await restart_empty(own_cluster, lost)
        here = [jti for jti in MANY if owner_of(own_cluster, redis, jti) is lost]
        assert here
        async with asyncio.timeout(PATIENCE):
            while len(told(caplog)) < 2:  # it says for a while that the cluster is down
                answers = await asyncio.gather(*(status(each, jti=jti) for jti in here for each in (app, its_app)))
                assert set(answers) == {503}
                await asyncio.sleep(0.01)
        assert len(told(caplog)) == 2
        assert {await status(each, jti=here[0]) for each in (app, its_app)} == {503}
        assert f"{lost.port}" in told(caplog)[0]
        assert LOST in (await redis.health())["warnings"]["data_lost"]
        await redis.accept_loss()
        assert await status(app, jti=here[0]) == 200


@pytest.mark.parametrize("which", range(3))
async def test_a_node_that_is_emptied_is_noticed(cluster: Cluster, which: int) -> None:
    async with process(cluster.url) as (redis, app, revocations):
        await revocations.revoke("bad", ttl=60)
        cluster.primaries[which].command("FLUSHALL")
        await eventually(lambda: is_lost(redis))
        assert await status(app, jti="good") == 503
        async with RedisManager(cluster.url, timeout=PATIENCE) as late:
            its_app = stack(late, RevocationList(late))
            known_there = next(jti for jti in MANY if owner_of(cluster, redis, jti) is cluster.primaries[which])
            assert await status(its_app, jti=known_there) == 503, "its first request, of which that node has to tell"
            await eventually(lambda: is_lost(late))
            assert await status(its_app, jti="good") == 503


async def without_the_cutoff_for_all(redis: RedisManager, cluster: Cluster) -> tuple[TokenService, TokenPair]:
    """Issue tokens and revoke all, then have the node with that cutoff lose its data, and wait until that is known."""
    tokens = service(redis)
    pair = await tokens.issue("alice")
    await tokens.revoke_all_before()
    cluster.owner_of(redis.keys.everybody("")).command("FLUSHALL")
    await eventually(lambda: is_lost(redis))
    return tokens, pair


async def test_families_are_not_refreshed_while_the_cutoff_for_all_may_be_lost(cluster: Cluster) -> None:
    async with RedisManager(cluster.url, timeout=PATIENCE) as redis:
        tokens, pair = await without_the_cutoff_for_all(redis, cluster)
        with pytest.raises(RedisUnavailable, match="lost"):
            await tokens.refresh(pair.refresh_token)
        with pytest.raises(RedisUnavailable, match="lost"):
            await tokens.introspect(pair.refresh_token, refresh=True)


@pytest.mark.parametrize("what", ["refresh", "introspect"])
async def test_nor_by_a_process_that_has_just_begun(cluster: Cluster, what: str) -> None:
    async with RedisManager(cluster.url, timeout=PATIENCE) as redis:
        _, pair = await without_the_cutoff_for_all(redis, cluster)
        async with RedisManager(cluster.url, timeout=PATIENCE) as late:
            its = service(late)
            with pytest.raises(RedisUnavailable, match="lost"):
                await (
                    its.refresh(pair.refresh_token)
                    if what == "refresh"
                    else its.introspect(pair.refresh_token, refresh=True)
                )


async def test_slots_that_move_are_no_loss(cluster: Cluster) -> None:
    """Neither those of the records nor others, whoever begins anew meanwhile."""
    async with process(cluster.url) as (redis, app, revocations):
        await revocations.revoke_many([Revocation(jti, ttl=60) for jti in MANY])
        for number in range(8):
            slot = slot_of(redis.keys.incarnation(number))
            source = cluster.owner_of(slot)
            cluster.migrate(slot, source, cluster.primaries[(cluster.primaries.index(source) + 1) % 3])
            assert set(await asyncio.gather(*(status(app, jti=jti) for jti in MANY))) == {401}
            assert await status(app, jti="good") == 200
            assert not is_lost(redis)
        await within(redis.links.topology.refresh())  # type: ignore[union-attr]
        await within(redis.links.losses.look())
        assert not is_lost(redis)
        async with process(cluster.url) as (late, _, _):
            assert not is_lost(late)
        for server in cluster.primaries:
            names = [redis.keys.incarnation(number) for number in range(200)]
            mine = [name for name in names if cluster.owner_of(name) is server]
            await eventually(lambda mine=mine: _has_one(cluster, mine))


def _has_one(cluster: Cluster, names: list[bytes]) -> bool:
    """Whether a server has a record, so that its loss would be noticed."""
    return any(cluster.command("EXISTS", name, key=name) for name in names)


async def test_a_replica_that_takes_over_has_lost_nothing() -> None:
    with Cluster(3, 1) as cluster:
        async with process(cluster.url) as (redis, app, revocations):
            await revocations.revoke_many([Revocation(jti, ttl=60) for jti in MANY])
            gone = owner_of(cluster, redis, MANY[0])
            replica = cluster.replicas[cluster.primaries.index(gone)]
            until(lambda: replica.command("DBSIZE") == gone.command("DBSIZE"), "all is replicated")
            cluster.failover(replica)
            await settled(app, MANY)
            assert await status(app, jti="good") == 200
            await within(redis.links.losses.look())
            assert not is_lost(redis)


async def test_a_mirror_gives_a_node_back_what_it_has_lost_and_makes_it_whole(own_cluster: Cluster) -> None:
    """Where that is the node of the index, and where it is another, whose marks the index has still."""
    async with another(own_cluster.url) as (_, mine), process(own_cluster.url) as (redis, app, revocations):
        await revocations.revoke_many([Revocation(jti, ttl=6000) for jti in MANY])
        await revocations.revoke_user("carol")
        await eventually(lambda: mine.mirror_status()["entries"] == len(MANY) + 1)
        index = own_cluster.owner_of(redis.keys.revoked)
        for lost in (index, *own_cluster.others(index)):
            known, counted = mirror_of(mine)._known, (await revocations.stats())["revoked"]
            await restart_empty(own_cluster, lost)
            await eventually(lambda known=known: mirror_of(mine)._known is not known and mirror_of(mine).fresh)
            assert await settled(app, MANY) <= {401, 503}
            former = await status(app, jti="x", sub="carol", iat=time.time() - 60)
            assert [former, await status(app, jti="x")] == [401, 200]
            assert mine.mirror_status()["entries"] == len(MANY) + 1
            if lost is not index:
                assert (await revocations.stats())["revoked"] == counted, "none is counted twice"


async def test_a_mirror_that_began_after_a_loss_learns_what_others_give_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read what a node had no more; nothing is told of that, for the index, on another node, has it still."""
    async with RedisManager(cluster.url, timeout=PATIENCE) as redis:
        user = next(
            f"user-{number}"
            for number in range(100)
            if cluster.owner_of(redis.keys.user("", f"user-{number}")) is not cluster.owner_of(redis.keys.revoked)
        )
        cutoff = redis.keys.user("", user)
    async with another(cluster.url) as (redis, mine):
        await mine.revoke_user(user)
        wrote = redis.links.losses._records.wrote
        await eventually(lambda: mirror_of(mine)._upto > wrote)
        monkeypatch.setattr(loss_watch, "_BEAT", 3600.0)  # whoever begins now does not look again by himself
        await within(redis.links.losses.look())
        redis.links.losses._plan()
        cluster.owner_of(cutoff).command("FLUSHALL")
        async with another(cluster.url) as (late, its):
            assert not is_lost(late), "it cannot know that there was something to lose"
            await within(redis.links.losses.look())
            await eventually(lambda: not is_lost(redis) and mirror_of(mine).fresh)
            assert cluster.command("EXISTS", cutoff, key=cutoff)
            await within(late.links.losses.look())
            app = stack(late, its)
            async with asyncio.timeout(PATIENCE):
                while await status(app, jti="x", sub=user) != 401:  # noqa: ASYNC110  (nothing tells)
                    await asyncio.sleep(0.01)
            assert await status(app, jti="x") == 200
