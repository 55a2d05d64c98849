"""Revocations that count only when replicas have them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, RedisManager, Revocation, RevocationList
from asgi_redis_guard.errors import TokenRevoked, TooFewReplicas
from asgi_redis_guard.jwt.service.token_service import TokenService
from tests.cluster import Cluster
from tests.conftest import MakeServer
from tests.jwt.services import service
from tests.redis.tools import PATIENCE
from tests.servers import Server

MANY = [Revocation(f"token-{number}", ttl=600) for number in range(200)]


@pytest.fixture(params=["valkey9", "redis62"])
def pair(request: pytest.FixtureRequest, make_server: MakeServer) -> tuple[Server, Server]:
    """A server, and a replica that follows it."""
    primary = make_server(request.param, tcp=True, repl_diskless_sync_delay=0)
    replica = make_server(request.param, tcp=True, replicaof=["127.0.0.1", str(primary.port)])
    while replica.command("INFO", "replication")["master_link_status"] != "up":
        pass
    return primary, replica


@pytest.fixture(scope="module")
def pairs() -> Iterator[Cluster]:
    """Three primaries with a replica each."""
    with Cluster(3, 1) as cluster:
        yield cluster


@asynccontextmanager
async def behind(primary: Server, replica: Server) -> AsyncIterator[RedisManager]:
    """A manager, while the replica hears of nothing."""
    replica.pause()
    try:
        async with RedisManager(primary.url, timeout=0.4) as redis:
            yield redis
    finally:
        replica.resume()


def keys_of(server: Server) -> set[bytes]:
    return set(server.command("KEYS", "*"))


async def test_what_is_revoked_is_on_the_replica_when_the_call_returns(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    async with RedisManager(primary.url, timeout=PATIENCE) as redis:
        revocations = RevocationList(redis, wait_replicas=1)
        assert await revocations.revoke_many(MANY) == len(MANY)
        assert keys_of(replica) >= {redis.keys.token("", one.jti) for one in MANY}
        await revocations.revoke_user("ann")
        assert redis.keys.user("", "ann") in keys_of(replica)
        assert await revocations.revoke_many(MANY) == 0


async def test_what_too_few_replicas_have_is_told_and_revoked_all_the_same(pair: tuple[Server, Server]) -> None:
    async with behind(*pair) as redis:
        revocations = RevocationList(redis, wait_replicas=1)
        for _ in range(2):  # the second time nothing is new, and the replica still has nothing
            with pytest.raises(TooFewReplicas, match="it is revoked, but 0 of 1 replicas have that") as caught:
                await revocations.revoke("one", ttl=600)
            assert (caught.value.reached, caught.value.wanted, caught.value.maybe_executed) == (0, 1, True)
        with pytest.raises(TooFewReplicas, match="the cutoff is set, but 0 of 1"):
            await revocations.revoke_user("ann")
        assert await revocations.is_revoked("one")
        assert await redis.execute("EXISTS", redis.keys.user("", "ann")) == 1


async def test_a_token_that_ended_long_ago_is_nothing_to_wait_for(pair: tuple[Server, Server]) -> None:
    async with RedisManager(pair[0].url, timeout=PATIENCE) as redis:
        assert not await RevocationList(redis, wait_replicas=1).revoke("old", expires_at=1_500_000_000)


async def test_a_server_that_took_over_without_a_mark_is_found_out(
    pair: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RedisManager(pair[0].url, timeout=PATIENCE) as redis:
        revocations = RevocationList(redis, wait_replicas=1)
        run = redis.run_script

        async def run_and_lose(*args: Any, **options: Any) -> Any:
            reply = await run(*args, **options)
            await redis.execute("FLUSHALL")
            return reply

        monkeypatch.setattr(redis, "run_script", run_and_lose)
        with pytest.raises(TooFewReplicas):
            await revocations.revoke("one", ttl=600)


async def test_all_that_a_token_service_ends_is_waited_for(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    async with RedisManager(primary.url, timeout=PATIENCE) as redis:
        tokens = service(redis, wait_replicas=1)
        pairs = [await tokens.issue("ann", device="phone", session="s") for _ in range(5)]
        await tokens.revoke_family(pairs[0].family)
        assert redis.keys.family_mark("", pairs[0].family) in keys_of(replica)
        assert await tokens.revoke_others("ann", pairs[1].family) == 3
        assert redis.keys.family_mark("", pairs[4].family) in keys_of(replica)
        assert await tokens.revoke_device("ann", "phone") == 1
        assert redis.keys.family_mark("", pairs[1].family) in keys_of(replica)
        await tokens.revoke_user("ann")
        assert redis.keys.generation_cutoff("", "ann") in keys_of(replica)
        await tokens.revoke_all_before()
        assert redis.keys.everybody("") in keys_of(replica)


async def test_each_end_of_a_token_service_tells_of_replicas_that_lack_it(pair: tuple[Server, Server]) -> None:
    async with behind(*pair) as redis:
        tokens = service(redis, wait_replicas=1)
        issued = await tokens.issue("ann", device="phone", session="s")
        for end in (
            lambda: tokens.revoke(issued.access_token),
            lambda: tokens.revoke(issued.refresh_token),
            lambda: tokens.revoke_session("ann", "s"),
            lambda: tokens.revoke_user("ann"),
            tokens.revoke_all_before,
        ):
            with pytest.raises(TooFewReplicas):
                await end()
        await ended(tokens, issued.access_token)


async def ended(tokens: TokenService, token: str) -> None:
    with pytest.raises(TokenRevoked):
        await tokens.verify(token)


async def test_on_a_cluster_every_node_that_has_some_of_it_is_waited_for(pairs: Cluster) -> None:
    async with RedisManager(pairs.url, timeout=PATIENCE) as redis:
        await RevocationList(redis, wait_replicas=1).revoke_many(MANY)
        kept = set[bytes]().union(*map(keys_of, pairs.replicas))
        assert kept >= {redis.keys.token("", one.jti) for one in MANY}


async def test_on_a_cluster_one_replica_that_is_behind_is_told(pairs: Cluster) -> None:
    tokens = [Revocation(f"other-{number}", ttl=600) for number in range(50)]
    async with RedisManager(pairs.url, timeout=1) as redis:
        revocations = RevocationList(redis, wait_replicas=1)
        pairs.replicas[1].pause()
        try:
            with pytest.raises(TooFewReplicas, match="0 of 1"):
                await revocations.revoke_many(tokens)
        finally:
            pairs.replicas[1].resume()
        assert all([await revocations.is_revoked(one.jti) for one in tokens])


async def test_a_service_and_its_list_wait_for_the_same_number(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=0.2) as redis:
        revocations = RevocationList(redis, wait_replicas=1)
        with pytest.raises(ConfigurationError, match="wait_replicas is 1; that of the service is 2"):
            service(redis, revocation=revocations, wait_replicas=2)
        tokens = service(redis, revocation=revocations)
        with pytest.raises(TooFewReplicas):
            await tokens.revoke_family((await tokens.issue("ann")).family)


async def test_in_memory_there_are_no_replicas() -> None:
    async with RedisManager("memory://") as redis:
        with pytest.raises(TooFewReplicas):
            await RevocationList(redis, wait_replicas=1).revoke("one", ttl=60)


@pytest.mark.parametrize("wrong", [-1, True, 1.5, "1"])
async def test_a_number_of_replicas_is_a_whole_one(redis_url: str, wrong: Any) -> None:
    allowed = "wait_replicas: .* given; allowed are whole numbers from 0 to 100"
    with pytest.raises(ConfigurationError, match=allowed):
        RevocationList(redis_url, wait_replicas=wrong)
    with pytest.raises(ConfigurationError, match=allowed):
        service(RedisManager(redis_url), wait_replicas=wrong)
