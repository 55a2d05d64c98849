"""`manager.tagged(tag)`: the same connections with the keys of one tag, for services of one tenant.

Law: it owns nothing. Its manager opens and closes the connections, and is told of forks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from .health import Health
from .links import Links
from .manager import RedisManager

if TYPE_CHECKING:
    from ..pubsub.hub import Hub


class TaggedManager(RedisManager):
    """A view of `root`, to be given to services as `redis=`: `TokenService`, `SessionStore`, `Limiter`, `Cache`, …

    What is done to its connections is done to those of `root`. Commands of the app's own go through unchanged: their
    keys are the app's.
    """

    def __init__(self, root: RedisManager, tag: str) -> None:
        self._root = root
        self.settings = root.settings
        self.address = root.address
        self.keys = root.keys.tagged(tag)

    @property
    def root(self) -> RedisManager:
        return self._root

    @property
    def links(self) -> Links:
        return self._root.links

    @property
    def client(self) -> Redis:
        return self._root.client

    @property
    def pubsub(self) -> Hub:
        return self._root.pubsub

    def tagged(self, tag: str) -> RedisManager:
        return self._root.tagged(tag)

    async def connect(self) -> None:
        await self._root.connect()

    async def aclose(self) -> None:
        await self._root.aclose()

    async def __aenter__(self) -> TaggedManager:
        await self._root.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._root.__aexit__(*error)

    async def health(self) -> Health:
        return await self._root.health()

    async def rotate_credentials(self) -> None:
        await self._root.rotate_credentials()

    def start_afresh(self) -> list[Any]:
        return []

    def __repr__(self) -> str:
        return f"<TaggedManager of {self._root!r}>"
