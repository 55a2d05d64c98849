"""How a cluster's map is asked for: of one node after the other, without waiting long for any of them.

Law: no state; links that are opened here are closed here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from ..errors import RedisUnavailable
from .address import Address
from .link import AuthenticationFailed, open_link
from .node import cancel
from .slots import Place, SlotMap

#: Seconds after which another node is asked as well.
_NEXT = 0.1

Ask = Callable[[Place], Coroutine[Any, Any, SlotMap]]


async def best_map(places: Iterable[Place], ask: Ask, patience: float) -> SlotMap:
    """Return the first map that is whole, else the one that misses least; raises `RedisUnavailable`.

    `patience` is in seconds, for the end of questions that nobody needs an answer to any more.
    """
    left = [*places]
    asking: set[asyncio.Task[SlotMap]] = set()
    best: SlotMap | None = None
    reason = "the cluster has no nodes"
    try:
        while left or asking:
            if left:
                asking.add(asyncio.create_task(ask(left.pop(0))))
            done, asking = await asyncio.wait(
                asking, timeout=_NEXT if left else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                try:
                    found = task.result()
                except AuthenticationFailed:
                    raise  # the others have the same accounts; more attempts would only lock this one
                except RedisUnavailable as error:
                    reason = str(error)
                else:
                    best = found if best is None or found.missing < best.missing else best
            if best is not None and not best.missing:
                return best
    finally:
        await cancel(asking, patience)
    if best is None:
        raise RedisUnavailable(reason)
    return best


async def converse(
    address: Address, commands: list[tuple[Any, ...]], connect_timeout: float, timeout: float
) -> list[Any]:
    """Open a link for a few commands, and return their replies; errors are values. Raises `RedisUnavailable`."""
    link = await open_link(address, timeout=connect_timeout, name="asgi-redis-guard:slots", protocol=2)
    try:
        async with asyncio.timeout(timeout):
            return await link.converse(commands)
    except (TimeoutError, OSError) as error:
        raise RedisUnavailable(f"no answer from {address}: {type(error).__name__}", maybe_executed=True) from None
    finally:
        link.abort()
