"""Apps that work under a lock until they are told to go on, and what a store holds of it.

Law: nothing here decides what is right; a test reads what happened.
"""

import asyncio
from typing import Any

from asgi_redis_guard import Guard, GuardMiddleware, RedisManager
from asgi_redis_guard.locks.held import HeldLock
from tests.middleware.calls import responding, settled
from tests.redis.tools import PATIENCE


class Work:
    """An app whose requests run until `open` is set; keeps the locks that they saw, and what ended them."""

    def __init__(self, then: Any = None) -> None:
        self.then = then or responding()
        self.locks: list[HeldLock | None] = []
        self.ended: list[type[BaseException] | None] = []
        self.running = self.most = 0
        self.changed = asyncio.Event()
        self.open = asyncio.Event()

    @property
    def lock(self) -> HeldLock:
        """The lock of the last request."""
        lock = self.locks[-1]
        assert lock is not None
        return lock

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.locks.append(scope.get("lock"))
        self.running += 1
        self.most = max(self.most, self.running)
        self.changed.set()
        ended: type[BaseException] | None = None
        try:
            await self.open.wait()
            await self.then(scope, receive, send)
        except BaseException as error:
            ended = type(error)
            raise
        finally:
            self.running -= 1
            self.ended.append(ended)
            self.changed.set()

    async def runs(self, number: int) -> None:
        """Wait until so many requests run."""
        async with asyncio.timeout(PATIENCE):
            while self.running != number:
                self.changed.clear()
                await self.changed.wait()


async def held(manager: RedisManager) -> int:
    """How many holders stand in Redis when what is on its way has arrived."""
    await settled(manager)
    semaphores = [await manager.execute("ZCARD", key) for key in await manager.execute("KEYS", "guard:ks:*")]
    return len(await manager.execute("KEYS", "guard:k:*")) + sum(semaphores)


async def seize(manager: RedisManager) -> None:
    """Let another have all locks that are held now, as after a failover."""
    for key in await manager.execute("KEYS", "guard:k:*"):
        await manager.execute("SET", key, "-" + "9" * 16 + "another", "PX", 60_000)


def stack(app: Any, manager: RedisManager, *guards: Guard) -> GuardMiddleware:
    """Put guards around an app, outermost first."""
    return GuardMiddleware(app, guards, redis=manager)
