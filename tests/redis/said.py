"""Scripted sentinels: they say of the primary what the test wants.

Law: each answers for itself; nobody watches anything.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from asgi_redis_guard.redis.manager import RedisManager
from tests.redis.tools import PATIENCE, scripted, within
from tests.sentinels import SERVICE
from tests.servers import Server


class Said:
    """What scripted sentinels answer: where the primary is, since which epoch."""

    def __init__(self, server: Server | int, epoch: int = 1, flags: str = "master") -> None:
        self.port = server if isinstance(server, int) else server.port
        self.epoch, self.flags = epoch, flags

    def __call__(self, command: list[bytes]) -> bytes:
        if command[:2] == [b"SENTINEL", b"MASTER"]:
            if command[2] != SERVICE.encode():
                return b"-ERR No such master with that name\r\n"
            words = ["ip", "127.0.0.1", "port", str(self.port), "flags", self.flags, "config-epoch", str(self.epoch)]
            return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words)
        if command[0] == b"SUBSCRIBE":
            return b"*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n"
        return b"+OK\r\n"


@asynccontextmanager
async def sentinels_that_say(*answers: Callable[[list[bytes]], bytes]) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        urls = [await stack.enter_async_context(scripted(answer)) for answer in answers]
        yield f"redis+sentinel://{','.join(url.removeprefix('redis://') for url in urls)}/{SERVICE}"


async def written_to(server: Server, url: str, **options: Any) -> bool:
    server.command("DEL", "mine")
    async with RedisManager(url, timeout=PATIENCE, **options) as manager:
        await within(manager.execute("SET", "mine", "1"))
    return bool(server.command("EXISTS", "mine"))
