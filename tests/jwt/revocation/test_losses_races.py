"""Losses at bad moments: while what was lost is given back, while somebody revokes, while another server takes over."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from asgi_redis_guard import RedisManager, Revocation, RevocationList
from asgi_redis_guard.jwt.revocation.snapshot import Snapshots
from tests.conftest import MakeServer
from tests.jwt.revocation.test_losses import is_lost, learnt, process, quick, restart_empty
from tests.jwt.revocation.test_mirror import another, knows, mirror_of, stack, status
from tests.redis.conftest import nothing_is_left_running
from tests.redis.said import Said, sentinels_that_say
from tests.redis.tools import PATIENCE, eventually, within
from tests.sentinels import Service, sentinel_service
from tests.servers import Server

__all__ = ["nothing_is_left_running", "quick"]


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with sentinel_service() as service:
        yield service


async def test_an_empty_server_that_takes_over_is_noticed_before_it_is_asked(make_server: MakeServer) -> None:
    old, new = make_server(tcp=True), make_server(tcp=True)
    said = Said(old)
    async with sentinels_that_say(said) as url, process(url) as (redis, app, revocations):
        await revocations.revoke("bad", ttl=60)
        said.port, said.epoch = new.port, 2
        old.kill()
        assert await status(app, jti="bad") == 503
        await eventually(lambda: is_lost(redis))
        assert not new.command("EXISTS", redis.keys.token("", "bad"))
        assert await status(app, jti="bad") == 503
        await redis.accept_loss()
        assert await status(app, jti="bad") == 200


async def test_a_replica_that_takes_over_has_lost_nothing(service: Service) -> None:
    await eventually(lambda: service.ready)
    async with process(service.url) as (redis, app, revocations):
        await revocations.revoke("bad", ttl=600)
        new = service.other
        await eventually(lambda: new.command("EXISTS", redis.keys.token("", "bad")))
        await eventually(service.failover)
        async with asyncio.timeout(PATIENCE * 2):
            while service.primary is not new or await status(app, jti="bad") == 503:  # noqa: ASYNC110  (nothing tells)
                await asyncio.sleep(0.02)
        assert (await status(app, jti="bad"), await status(app, jti="good")) == (401, 200)
        await within(redis.links.losses.look())
        assert not is_lost(redis)


async def test_a_server_that_loses_all_while_it_is_given_back_is_given_back_again(
    fresh_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_back, again = Snapshots.give_back, [3]

    async def interrupted(self: Snapshots, *args: object) -> int:
        count = await give_back(self, *args)  # type: ignore[arg-type]
        if again[0]:
            again[0] -= 1
            fresh_server.command("FLUSHALL")
        return count

    monkeypatch.setattr(Snapshots, "give_back", interrupted)
    url = fresh_server.url
    async with another(url) as (_, mine), process(url) as (redis, app, revocations):
        await revocations.revoke("bad", ttl=600)
        await knows(mine, "bad")
        await learnt(_)
        await restart_empty(fresh_server)
        assert await answers(app, "bad") <= {503, 401}
        assert again == [0]
        assert not is_lost(redis)


async def answers(app: object, jti: str) -> set[int]:
    """What is answered until a token is refused as revoked, and that."""
    seen = set()
    async with asyncio.timeout(PATIENCE):
        while 401 not in seen:
            seen.add(await status(app, jti=jti))  # type: ignore[arg-type]
            await asyncio.sleep(0.002)
    return seen


@pytest.mark.parametrize("seed", range(3))
async def test_what_was_revoked_is_never_accepted_while_a_mirror_lives(fresh_server: Server, seed: int) -> None:
    """Processes revoke and ask all the time; the server is killed, or emptied, again and again.

    Emptied with links that stand, it is asked for a beat until that is noticed: so it is only killed here.
    """
    dice, url, acknowledged = random.Random(seed), fresh_server.url, list[str]()
    async with another(url) as (_, mirrored), process(url) as (one, app, revocations), process(url) as (two, other, _):
        await revocations.revoke("first", ttl=600)
        acknowledged.append("first")
        await asyncio.gather(learnt(two), learnt(mirrored.redis), knows(mirrored, "first"))
        for turn in range(4):
            for number in range(dice.randrange(1, 8)):
                jti = f"{turn}-{number}"
                await dice.choice([revocations, mirrored]).revoke_many([Revocation(jti, ttl=600)])
                acknowledged.append(jti)
            await knows(mirrored, acknowledged[-1])
            await restart_empty(fresh_server)
            async with asyncio.timeout(PATIENCE):
                while await status(app, jti="good") != 200 or await status(other, jti="good") != 200:
                    seen = {await status(each, jti=dice.choice(acknowledged)) for each in (app, other)}
                    assert seen <= {401, 503}
                    await asyncio.sleep(0.001)
            assert {await status(each, jti=jti) for jti in acknowledged for each in (app, other)} <= {401, 503}
    assert one is not two


async def test_a_revocation_while_data_is_missing_counts_at_once_and_is_kept(fresh_server: Server) -> None:
    async with another(fresh_server.url) as (_, mine), process(fresh_server.url) as (redis, app, revocations):
        await revocations.revoke("bad", ttl=600)
        await knows(mine, "bad")
        fresh_server.command("FLUSHALL")
        assert await revocations.revoke("at that moment", ttl=600)
        await eventually(lambda: mine.mirror_status()["lost"] > 0)
        async with asyncio.timeout(PATIENCE):
            while is_lost(redis) or await status(app, jti="good") != 200:  # noqa: ASYNC110  (nothing tells)
                await asyncio.sleep(0.005)
        assert [await status(app, jti=jti) for jti in ("bad", "at that moment")] == [401, 401]


async def test_a_mirror_that_was_cut_off_for_long_makes_nothing_whole(fresh_server: Server) -> None:
    """The others went on meanwhile: it cannot know what they revoked, though it was current when it was cut off."""
    async with another(fresh_server.url) as (there, mine), process(fresh_server.url) as (redis, app, revocations):
        await revocations.revoke("early", ttl=600)
        await knows(mine, "early")
        mirror = mirror_of(mine)
        mirror._upto -= 60_000  # as after a minute
        mirror._knows_upto = lambda at: None  # type: ignore[method-assign]
        mirror._proven = float("-inf")
        await restart_empty(fresh_server)
        assert await status(app, jti="early") == 503
        await eventually(lambda: mine.mirror_status()["lost"] > 0)
        await within(there.links.losses.look())
        await within(redis.links.losses.look())
        assert is_lost(redis)
        assert is_lost(there)


async def test_two_stacks_of_one_process_look_once(fresh_server: Server) -> None:
    async with RedisManager(fresh_server.url, timeout=PATIENCE) as redis:
        first, second = (stack(redis, RevocationList(redis)) for _ in range(2))
        assert [await status(each, jti="good") for each in (first, second)] == [200, 200]
        assert redis.links.losses._number <= 3
