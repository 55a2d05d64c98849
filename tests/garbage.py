"""What is left to the collector of garbage: cycles, which pause a busy process for tens of milliseconds."""

import gc
from collections.abc import Awaitable, Callable

#: How often what is measured is done.
_TIMES = 50


async def garbage_of(again: Callable[[], Awaitable[object]]) -> float:
    """Return how many objects each `again` leaves that nothing but the collector frees."""
    await again()
    gc.collect()
    gc.disable()
    try:
        for _ in range(_TIMES):
            await again()
        return gc.collect() / _TIMES
    finally:
        gc.enable()
