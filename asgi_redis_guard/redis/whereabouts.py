"""Where to connect now, asked before each connection: here the address that never changes.

It opens links and remembers them weakly, for whoever must reach all of one event loop; it never reconnects any.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from ..errors import RedisUnavailable
from .address import Address
from .link import Link, open_link


class Whereabouts:
    """The one place of `redis://`, `rediss://` and `unix://`."""

    def __init__(self, address: Address) -> None:
        self.address = address
        #: The links that were opened here and are still in use, with where each leads.
        self.links: weakref.WeakKeyDictionary[Link, Address] = weakref.WeakKeyDictionary()
        #: Looks at each node before its link is given away, where somebody is to; raises `RedisUnavailable`.
        self.inspect: Callable[[Link, Address], Awaitable[None]] | None = None

    async def find(self) -> Address:
        """Return the address to connect to; raises `RedisUnavailable`."""
        return self.address

    async def open(self, *, timeout: float, name: str, protocol: int = 3) -> Link:
        """Find, connect, greet and verify within `timeout` seconds; raises `RedisUnavailable`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        link = None
        try:
            async with asyncio.timeout_at(deadline):
                address = await self.find()
            link = await open_link(address, timeout=deadline - loop.time(), name=name, protocol=protocol)
            async with asyncio.timeout_at(deadline):
                await self.verify(link, address)
                if self.inspect is not None:
                    await self.inspect(link, address)
        except BaseException as error:
            if link is not None:
                link.abort()
            if isinstance(error, TimeoutError):
                raise RedisUnavailable(f"no connection to {self.address} within {timeout:g} s") from None
            raise
        self.links[link] = address
        return link

    async def verify(self, link: Link, address: Address) -> None:
        """Raise `RedisUnavailable` where the node that was greeted is not the one that is meant."""

    def close(self) -> asyncio.Task[Any] | None:
        """Watch nothing any more; return a task that is cancelled by this, and ends soon."""
        return None

    def abandon(self) -> Any:
        """Let go without I/O; return what must not be finalised yet."""
        return None
