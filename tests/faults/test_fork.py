"""A process that forks: the child begins afresh, the parent never notices. Each in an interpreter of its own."""

import pytest

from tests.faults.stories import ends_well

BEGIN = """
import asyncio, gc, os, sys
from asgi_redis_guard.redis.manager import RedisManager

manager = RedisManager(sys.argv[1], timeout=20)

async def ask(word):
    return await asyncio.gather(
        manager.execute("ECHO", word), manager.links.lane1.submit(("ECHO", word)), manager.client.echo(word)
    )

def child_of_fork():
    pid = os.fork()
    if pid:
        assert os.waitpid(pid, 0)[1] == 0, "the child failed"
    return not pid
"""

FORKED_WHILE_RUNNING = """
async def main():
    assert await ask("parent") == [b"parent"] * 3
    links = manager.links
    waiting = manager.execute("BLPOP", "queue", 1)  # its reply comes after the fork
    await asyncio.sleep(0.05)
    if child_of_fork():
        os._exit(0 if in_child() else 1)
    assert await waiting is None
    for n in range(50):
        assert await ask(f"parent {n}") == [b"parent %d" % n] * 3
    assert manager.links is links and links.lane1.link is not None
    await manager.aclose()

def in_child():
    asyncio._set_running_loop(None)  # as a server's worker: the parent's loop is not its own
    for n in range(3):
        assert asyncio.run(ask(f"child {n}")) == [b"child %d" % n] * 3
    gc.collect()
    return True

asyncio.run(main())
print("well")
"""

FORKED_BETWEEN_LOOPS = """
asyncio.run(ask("before"))
loop = asyncio.new_event_loop()
assert loop.run_until_complete(ask("parent")) == [b"parent"] * 3
if child_of_fork():
    assert asyncio.run(ask("child")) == [b"child"] * 3
    sys.exit(0)  # an interpreter that ends in order, and finalises all it has
assert loop.run_until_complete(ask("parent")) == [b"parent"] * 3
loop.run_until_complete(manager.aclose())
loop.close()
print("well")
"""

FORKED_WITH_A_HUB = """
async def main():
    async with manager.pubsub.subscribe("news") as subscription:
        if child_of_fork():
            asyncio._set_running_loop(None)
            asyncio.run(manager_publishes("child"))
            os._exit(0)
        await manager_publishes("parent")
        events = [await anext(subscription), await anext(subscription)]
        assert [event.data for event in events] == [b"child", b"parent"], events
    await manager.aclose()

async def manager_publishes(word):
    assert await manager.pubsub.publish("news", word) == 1

asyncio.run(main())
print("well")
"""


@pytest.mark.parametrize(
    "story", [FORKED_WHILE_RUNNING, FORKED_BETWEEN_LOOPS, FORKED_WITH_A_HUB], ids=["running", "between", "hub"]
)
def test_a_forked_child_has_connections_of_its_own(redis_url: str, story: str) -> None:
    ends_well(BEGIN + story, redis_url)
