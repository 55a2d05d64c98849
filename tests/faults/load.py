"""Callers who never stop, each of whom can tell its own reply from any other."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.redis.program import Script
from tests.redis.tools import PATIENCE, eventually, mark, run

ECHO = Script("return {KEYS[1], ARGV[1]}")


class Load:
    """What callers have seen so far. `wrong` must stay empty whatever happens to the server."""

    def __init__(self, manager: RedisManager) -> None:
        self.manager = manager
        self.right = 0
        self.wrong: list[Any] = []
        self.failures: Counter[str] = Counter()
        self.turns: Counter[int] = Counter()
        self.stopped = False

    async def more(self, count: int = 300) -> None:
        """Wait until so many more were served."""
        goal = self.right + count
        await eventually(lambda: self.right >= goal or self.wrong)

    async def fails(self) -> None:
        """Wait until one more was not served."""
        seen = self.failures.total()
        await eventually(lambda: self.failures.total() > seen)

    async def everyone(self) -> None:
        """Wait until nobody waits any more for what was asked before: each has been served, or told that it is not."""
        waiting = dict(self.turns)
        await eventually(lambda: all(self.turns[who] > turn for who, turn in waiting.items()))

    async def caller(self, who: int) -> None:
        for n in itertools.count():
            self.turns[who] = n
            if self.stopped:
                return
            await self._once(f"{who}:{n}".encode(), [self._echo, self._script, self._round, self._client][n % 4])
            await asyncio.sleep(0)

    async def _once(self, word: bytes, ask: Callable[[bytes], Awaitable[Any]]) -> None:
        try:
            reply = await ask(word)
        except RedisUnavailable as error:
            self.failures[type(error).__name__] += 1
            await asyncio.sleep(0.005)
        else:
            if reply == word:
                self.right += 1
            else:
                self.wrong.append((word, reply))

    async def _echo(self, word: bytes) -> Any:
        return await self.manager.execute("ECHO", word)

    async def _script(self, word: bytes) -> Any:
        key, reply = await self.manager.run_script(ECHO, (b"key " + word,), (word,), repeatable=True)
        return reply if key == b"key " + word else key

    async def _round(self, word: bytes) -> Any:
        return word if await run(self.manager, [mark(b"list", word.decode())]) == [1] else None

    async def _client(self, word: bytes) -> Any:
        from redis.exceptions import ConnectionError, TimeoutError

        try:
            return await self.manager.client.echo(word)  # type: ignore[arg-type]
        except (ConnectionError, TimeoutError) as error:
            raise RedisUnavailable(str(error)) from error


@asynccontextmanager
async def load_on(manager: RedisManager, callers: int = 40) -> AsyncIterator[Load]:
    """Keep callers busy; at the end nobody may have got a reply that was not its own."""
    load = Load(manager)
    tasks = [asyncio.create_task(load.caller(who)) for who in range(callers)]
    try:
        await load.more()
        yield load
    finally:
        load.stopped = True
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*tasks)
    assert load.wrong == []
