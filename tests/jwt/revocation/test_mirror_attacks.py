"""Attacks on the mirror: what makes it forget, or believe too much. What was revoked stays refused."""

from asgi_redis_guard import RedisManager, Revocation, RevocationList
from asgi_redis_guard.jwt.revocation.questions import Questions
from tests.jwt.revocation.test_mirror import another, knows, mirror_of
from tests.redis.conftest import nothing_is_left_running
from tests.redis.tools import eventually, server_ms

__all__ = ["nothing_is_left_running"]

DAY = 86_400.0


def refuses(revocations: RevocationList, jti: str) -> bool:
    return mirror_of(revocations).is_revoked(Questions((revocations.redis.keys.token("", jti),), ()))


async def has_read_all(revocations: RevocationList) -> None:
    """Wait until its mirror has read the last entry that there is."""
    mirror, redis = mirror_of(revocations), revocations.redis
    last = await redis.execute("HGET", redis.keys.revoked_mirrors, "last")
    await eventually(lambda: mirror._known is not None and mirror._known.after == last)


def hours_pass(revocations: RevocationList, hours: int) -> None:
    """Have its mirror drop what it would have dropped by then."""
    mirror = mirror_of(revocations)
    known = mirror._known
    assert known is not None
    known.drop(mirror._snapshots.hour() + hours, 0)


async def test_a_revocation_is_known_to_its_end_however_often_it_is_repeated(redis_url: str) -> None:
    """Whoever holds a revoked token may have it revoked again."""
    async with another(redis_url) as (_, mine), another(redis_url) as (_, theirs):
        end = Revocation("t", ttl=9 * DAY)
        for _ in range(3):
            await mine.revoke_many([end])
            await knows(theirs, "t")
            await mine.revoke("the last")
            await knows(theirs, "the last")
            await mine.unrevoke("the last")
        for one in (mine, theirs):
            hours_pass(one, 24)
            assert refuses(one, "t")


async def test_a_server_whose_clock_is_set_back_makes_no_mirror_forget(redis_url: str) -> None:
    """The mirror began when the server's clock was hours ahead."""
    async with another(redis_url) as (_, mine), another(redis_url) as (other, theirs):
        at, since = mirror_of(theirs)._snapshots._server
        mirror_of(theirs)._snapshots._server = (at + 50 * 86_400_000, since)
        await mine.revoke("t", ttl=1800)
        cutoff = round(await mine.revoke_user("alice") * 1_000_000)
        await has_read_all(theirs)
        assert refuses(theirs, "t")
        assert mirror_of(theirs).is_revoked(Questions((), ((other.keys.user("", "alice"), cutoff),)))


async def test_what_a_failover_has_lost_is_given_back_although_more_was_revoked_since(redis_url: str) -> None:
    """The replica has not heard of `lost`; before any mirror is back, something else is revoked there."""
    async with another(redis_url) as (here, mine), RedisManager(redis_url, timeout=10) as plain:
        keys, mirror = here.keys, mirror_of(mine)
        await mine.revoke("before")
        await has_read_all(mine)
        old = {name: await plain.execute("DUMP", name) for name in (keys.revoked, keys.revoked_mirrors)}
        await mine.revoke("lost")
        await has_read_all(mine)
        mirror._stream.wanted = False  # it comes back late
        mirror._stream.wire._drop("the server fails over")
        last = await plain.execute("XREVRANGE", keys.revoked_stream, "+", "-", "COUNT", 1)
        await plain.execute("XDEL", keys.revoked_stream, last[0][0])
        await plain.execute("DEL", keys.token("", "lost"))
        for name, dump in old.items():
            await plain.execute("RESTORE", name, 3_600_000, dump, "REPLACE")
        for name in await plain.execute("KEYS", keys.revoked + b":[0-9]*"):
            await plain.execute("SREM", name, keys.token("", "lost")[-20:])
        while await server_ms(plain) < int(last[0][0].split(b"-")[0]) + 1:
            pass
        await RevocationList(plain).revoke("after")
        mirror._stream.wanted = True
        mirror._stream.wire.want()
        await knows(mine, "after")
        await eventually(lambda: mirror.fresh)
        assert refuses(mine, "lost")
        assert await mine.is_revoked("lost")
