"""What the routes of the `cached_*` apps do: two ready objects, of 550 bytes and 50 KB as JSON, and work of 50 ms.

`runs` counts the calls of handlers in this process: a cache that works keeps it still. All apps have the same routes:
`/small` and `/large` for throughput; `/tagged/{id}`, the same small object, in one group that can be evicted as a whole
(the app's `evict()`); `/slow/{id}` with a cache as its documentation begins; `/guarded/{id}` with the strongest
protection against stampedes that it has, where it has one; `POST /runs`, which nobody caches, tells the count.
"""

import asyncio

Body = dict[str, object]

SLOW = 0.05  # seconds
TTL = 300  # seconds; no benchmark runs into it
TAG = "stats"


def _row(number: int, words: int) -> Body:
    text = " ".join(f"word{number * 7 + word}" for word in range(words))
    return {"id": number, "name": f"Product {number}", "price": 9.5 + number, "in_stock": True, "text": text}


def _rows(count: int, words: int) -> Body:
    return {"total": count, "items": [_row(number, words) for number in range(count)]}


SMALL = _rows(4, 10)
LARGE = _rows(213, 20)

runs = 0


def small() -> Body:
    """The object of 550 bytes."""
    global runs
    runs += 1
    return SMALL


def large() -> Body:
    """The object of 50 KB."""
    global runs
    runs += 1
    return LARGE


async def slow(id: int) -> Body:
    """A small object after 50 ms."""
    global runs
    runs += 1
    await asyncio.sleep(SLOW)
    return {"id": id}
