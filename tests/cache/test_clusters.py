"""Values with tags on a cluster, where a value and its tags lie in several slots."""

from asgi_redis_guard import Cache, RedisManager
from tests.redis.conftest import cluster, nothing_is_left_running, on_cluster, shared_cluster

__all__ = ["cluster", "nothing_is_left_running", "on_cluster", "shared_cluster"]


async def test_values_are_kept_read_and_invalidated_by_tags(on_cluster: RedisManager) -> None:
    cache = Cache(on_cluster, ttl=60)
    names = [f"key-{number}" for number in range(40)]
    for number, name in enumerate(names):
        await cache.set(name, number, tags=["all", f"odd:{number % 2}"])
    assert await cache.get_many(names) == {name: number for number, name in enumerate(names)}
    await cache.invalidate(["odd:1"])
    assert await cache.get_many(names) == {name: number for number, name in enumerate(names) if number % 2 == 0}
    await cache.invalidate(["all"])
    assert await cache.get_many(names) == {}
