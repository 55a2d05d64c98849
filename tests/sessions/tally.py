"""What the statistics of sessions say, and how they are kept, for tests that make time pass or lose a key."""

from asgi_redis_guard import RedisManager
from tests.sessions.accounts import Accounts

SESSIONS, ONLINE, HOURS = b"guard:{stats}sessions", b"guard:{stats}online", b"guard:{stats}hours"


async def counts(site: Accounts) -> tuple[int, int, int, int]:
    """Active sessions, users online, sessions that began, sessions that ended."""
    stats = await site.store.stats()
    return stats["active"], stats["users"], sum(stats["created"].values()), sum(stats["ended"].values())


async def entry(redis: RedisManager, handle: bytes) -> bytes:
    """What stands for a session in the statistics; there must be one."""
    (found,) = [one for one in await redis.execute("ZRANGE", SESSIONS, 0, -1) if one.startswith(handle)]
    return bytes(found)


async def over(redis: RedisManager, *handles: bytes, at: int = 1) -> None:
    """Let sessions be over for the statistics, since `at` ms."""
    for handle in handles:
        await redis.execute("ZADD", SESSIONS, "XX", at, await entry(redis, handle))


async def this_hour(redis: RedisManager) -> int:
    return int((await redis.execute("TIME"))[0]) // 3600
