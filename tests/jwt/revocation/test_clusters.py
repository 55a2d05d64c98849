"""The blacklist, mirrors and the token service on a cluster, where their keys lie in many slots."""

from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, RedisManager, Revocation, RevocationList
from asgi_redis_guard.errors import RefreshRefused, TokenRevoked
from asgi_redis_guard.jwt.service.pair import TokenPair
from asgi_redis_guard.jwt.service.token_service import TokenService
from tests.cluster import Cluster
from tests.drive import App, get
from tests.jwt.revocation.test_mirror import knows, mirror_of
from tests.jwt.services import service
from tests.jwt.tokens import bearer
from tests.redis.conftest import cluster, nothing_is_left_running, on_cluster, shared_cluster
from tests.redis.tools import eventually, within

__all__ = ["cluster", "nothing_is_left_running", "on_cluster", "shared_cluster"]

MANY = [f"token-{number}" for number in range(300)]


async def refused(tokens: TokenService, pair: TokenPair) -> list[bool]:
    """Whether a token is refused by the service, and by its guard."""
    app = GuardMiddleware(App(), [tokens.guard()], redis=tokens.redis)
    found = (await get(app, headers=bearer(pair.access_token.encode()))).status == 401
    try:
        await tokens.verify(pair.access_token)
    except TokenRevoked:
        return [True, found]
    return [False, found]


@pytest.mark.parametrize("mirrored", [False, True])
async def test_many_are_revoked_in_all_slots_and_counted_once(on_cluster: RedisManager, mirrored: bool) -> None:
    revocations = RevocationList(on_cluster, mode="mirror" if mirrored else "remote")
    if mirrored:
        await within(revocations.mirrored())
    assert await revocations.revoke_many([Revocation(jti, ttl=60) for jti in MANY]) == len(MANY)
    assert await revocations.revoke_many([Revocation(jti, ttl=60) for jti in (*MANY, "one more")]) == 1
    assert all([await revocations.is_revoked(jti) for jti in MANY])
    assert (await revocations.stats())["revoked"] == len(MANY) + 1
    assert await revocations.unrevoke(MANY[0])
    assert not await revocations.unrevoke(MANY[0])
    assert not await revocations.is_revoked(MANY[0])
    assert (await revocations.stats())["revoked"] == len(MANY)
    cutoff = await revocations.revoke_user("alice")
    assert await revocations.revoke_user("alice", before=cutoff - 60) == cutoff
    if mirrored:
        await knows(revocations, MANY[-1])


async def test_a_mirror_indexes_what_lies_in_all_slots_and_hears_of_all(on_cluster: RedisManager) -> None:
    await RevocationList(on_cluster).revoke_many([Revocation(jti, ttl=60) for jti in MANY])
    await RevocationList(on_cluster).revoke_user("alice")
    revocations = RevocationList(on_cluster, mode="mirror")
    assert (await within(revocations.mirrored()))["entries"] == len(MANY) + 1
    async with RedisManager(on_cluster.settings.redis_url, timeout=10) as elsewhere:
        await RevocationList(elsewhere).revoke("later", ttl=60)
        await knows(revocations, "later")


async def test_what_mirrors_know_is_written_back_to_all_slots(on_cluster: RedisManager, cluster: Cluster) -> None:
    revocations = RevocationList(on_cluster, mode="mirror", max_stale=0.4)
    await within(revocations.mirrored())
    await revocations.revoke_many([Revocation(jti, ttl=6000) for jti in MANY[:30]])
    await revocations.revoke_user("alice")
    await eventually(lambda: mirror_of(revocations).fresh)
    cluster.flush()
    await eventually(lambda: mirror_of(revocations).status()["written_back"] >= 31)
    assert all([await RevocationList(on_cluster).is_revoked(jti) for jti in MANY[:30]])


@pytest.mark.parametrize("mode", ["remote", "mirror"])
async def test_the_token_service_does_all_it_does_on_one_server(on_cluster: RedisManager, mode: Any) -> None:
    revocation = RevocationList(on_cluster, mode=mode)
    if mode == "mirror":
        await within(revocation.mirrored())
    tokens = service(on_cluster, revocation=revocation, grace=0.0)
    alice = [await tokens.issue("alice", device=f"d{n}", session="s") for n in range(5)]
    bob = await tokens.issue("bob")
    again = await tokens.refresh(alice[0].refresh_token)
    assert await refused(tokens, again) == [False, False]
    with pytest.raises(RefreshRefused, match="used before"):
        await tokens.refresh(alice[0].refresh_token)
    assert await refused(tokens, again) == [True, True]
    await tokens.revoke_device("alice", "d1")
    await tokens.revoke_family(alice[2].family)
    await tokens.revoke(alice[3].access_token)
    assert [await refused(tokens, pair) for pair in alice[1:]] == [[True, True]] * 3 + [[False, False]]
    await tokens.revoke_user("alice")
    assert [await refused(tokens, pair) for pair in (alice[4], bob)] == [[True, True], [False, False]]
    assert await refused(tokens, await tokens.issue("alice")) == [False, False]
    await tokens.revoke_all_before()
    assert await refused(tokens, bob) == [True, True]
    assert (await tokens.statistics())["families"]["alive"] >= 1
