"""The limiters that `limiters.py` compares: each is opened on a server, and then decides on one key at a time.

Every side counts against one quota with its library's own call and returns whether the key was let pass. What
belongs to an app's start (pools, scripts, detection of commands, buckets) is done when it is opened, not measured.
Pools hold as many connections as there are tasks, without a queue before them: all others were slower in trials.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import redis
import redis.asyncio
from _servers import Valkey
from fastapi import Request, Response
from fastapi_limiter.depends import RateLimiter as FastAPILimiter
from limits import parse
from limits.aio import strategies
from limits.aio.storage import RedisStorage
from pyrate_limiter import BucketFactory, Limiter, Rate, RateItem, StateBucket
from pyrate_limiter.buckets.redis_state import RedisStateStore
from redis_fastapi.ratelimit_backend import RateLimitBackend
from slowapi import Limiter as SlowLimiter
from throttled.asyncio import RedisStore, Throttled

from asgi_redis_guard import RedisManager
from asgi_redis_guard.ratelimit.limiter import RateLimiter

KEYS = [f"user-{number}" for number in range(1000)]


class Quota(NamedTuple):
    """So many in a minute or an hour, in each library's words."""

    amount: int
    word: str = "minute"

    @property
    def seconds(self) -> int:
        """The period."""
        return {"minute": 60, "hour": 3600}[self.word]

    def __str__(self) -> str:
        return f"{self.amount}/{self.word}"


Decide = Callable[[str], Awaitable[bool]]
#: Opens a limiter on a server for a number of tasks.
Side = Callable[[Valkey, int, Quota], AbstractAsyncContextManager[Decide]]


@asynccontextmanager
async def pool(server: Valkey, tasks: int) -> AsyncIterator[Any]:
    """A pool of redis-py with a connection for each task; the client in its own default protocol."""
    connections = redis.asyncio.ConnectionPool.from_url(server.url, max_connections=tasks)
    try:
        yield connections
    finally:
        await connections.aclose()


def ours(algorithm: str = "gcra") -> Side:
    """Ours: one connection, whatever the number of tasks."""

    @asynccontextmanager
    async def opened(server: Valkey, tasks: int, quota: Quota) -> AsyncIterator[Decide]:
        async with RedisManager(server.url, timeout=5) as manager:
            most = quota._replace(amount=min(quota.amount, 10_000)) if algorithm == "log" else quota  # its bound
            limiter = RateLimiter(str(most), redis=manager, algorithm=algorithm)

            async def decide(key: str) -> bool:
                result = await limiter.hit(key)
                return result.allowed and result.remaining >= 0 and result.reset_after > 0

            yield decide

    return opened


def limits_package(strategy: str, *, headers: bool) -> Side:
    """`limits`: its hit, and a second question for what headers tell. (Over coredis it is a fifth slower.)"""

    @asynccontextmanager
    async def opened(server: Valkey, tasks: int, quota: Quota) -> AsyncIterator[Decide]:
        async with pool(server, tasks) as connections:
            options = {"implementation": "redispy", "connection_pool": connections, "key_prefix": strategy}
            storage = RedisStorage(f"async+{server.url}", **options)
            limiter = getattr(strategies, f"{strategy}RateLimiter")(storage)
            rate = parse(str(quota))

            async def decide(key: str) -> bool:
                allowed: bool = await limiter.hit(rate, key)
                if headers:
                    stats = await limiter.get_window_stats(rate, key)
                    return allowed and stats.remaining >= 0 and stats.reset_time > 0
                return allowed

            yield decide

    return opened


def throttled(algorithm: str) -> Side:
    """throttled-py: its result has all numbers."""

    @asynccontextmanager
    async def opened(server: Valkey, tasks: int, quota: Quota) -> AsyncIterator[Decide]:
        options = {"CONNECTION_POOL_KWARGS": {"max_connections": tasks}}
        store = RedisStore(server=server.url, options=options)
        limiter = Throttled(using=algorithm, quota=f"{quota.amount}/{quota.word[0]}", store=store)

        async def decide(key: str) -> bool:
            result = await limiter.limit(key)
            state = result.state
            return not result.limited and state.remaining >= 0 and state.reset_after >= 0

        yield decide
        await store._backend.get_client().connection_pool.aclose()  # it has no way to close

    return opened


class Buckets(BucketFactory):
    """pyrate-limiter: a bucket for each key, which its docs ask the app to write."""

    def __init__(self, client: Any, quota: Quota) -> None:
        rates = [Rate(quota.amount, quota.seconds * 1000)]
        self.buckets = {key: StateBucket(rates, store=RedisStateStore(client, f"pyrate:{key}")) for key in KEYS}
        self.clock = next(iter(self.buckets.values()))

    def wrap_item(self, name: str, weight: int = 1) -> RateItem:
        """Stamp the request, by the app's clock."""
        return RateItem(name, self.clock.now(), weight)

    def get(self, item: RateItem) -> StateBucket:
        """The bucket of a key; fastapi-limiter adds numbers of its own to what identifies the client."""
        return self.buckets[item.name.partition(":")[0]]


def pyrate(*, count: bool) -> Side:
    """pyrate-limiter's GCRA: yes or no, and a second question for the rest. (`try_acquire_async` locks all keys.)"""

    @asynccontextmanager
    async def opened(server: Valkey, tasks: int, quota: Quota) -> AsyncIterator[Decide]:
        async with pool(server, tasks) as connections:
            buckets = Buckets(redis.asyncio.Redis(connection_pool=connections), quota)
            limiter = Limiter(buckets)

            async def decide(key: str) -> bool:
                allowed = bool(await limiter.try_acquire(key, blocking=False))  # type: ignore[misc]
                return allowed and (not count or await buckets.buckets[key].count() <= quota.amount)  # type: ignore[misc]

            yield decide

    return opened


def request_of(key: str, app: Any = None) -> Request:
    """A request of this client, for libraries that take nothing less."""
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "app": app}
    return Request({**scope, "client": (key, 1), "state": {}})


class NoRoutes:
    """An app without routes: fastapi-limiter looks through all of them at every request."""

    routes: tuple[()] = ()


@asynccontextmanager
async def fastapi_limiter(server: Valkey, tasks: int, quota: Quota) -> AsyncIterator[Decide]:
    """fastapi-limiter's dependency over pyrate-limiter's GCRA: yes or no."""

    async def identify(request: Any) -> str:
        return str(request.client.host)

    refused: list[str] = []

    async def refuse(request: Request, response: Response) -> None:
        refused.append(request.client.host if request.client else "")

    async with pool(server, tasks) as connections:
        limiter = Limiter(Buckets(redis.asyncio.Redis(connection_pool=connections), quota))
        depends, app, response = FastAPILimiter(limiter, identify, refuse), NoRoutes(), Response()

        async def decide(key: str) -> bool:
            await depends(request_of(key, app), response)
            return not refused

        yield decide


@asynccontextmanager
async def slowapi(server: Valkey, tasks: int, quota: Quota) -> AsyncIterator[Decide]:
    """slowapi's decorator with headers on an async route: a synchronous client, so that tasks wait for each other."""
    limiter = SlowLimiter(
        key_func=lambda request: request.client.host, storage_uri=server.url, headers_enabled=True, key_style="endpoint"
    )

    @limiter.limit(str(quota))
    async def route(request: Request) -> Response:
        return Response()

    async def decide(key: str) -> bool:
        response = await route(request_of(key))
        return int(response.headers["x-ratelimit-remaining"]) >= 0

    yield decide
    limiter._storage.storage.close()


@asynccontextmanager
async def redis_sdk(server: Valkey, tasks: int, quota: Quota) -> AsyncIterator[Decide]:
    """fastapi-redis-sdk's backend: a fixed window in one script."""
    async with pool(server, tasks) as connections:
        backend = RateLimitBackend(redis.asyncio.Redis(connection_pool=connections), scope="bench")

        async def decide(key: str) -> bool:
            result = await backend.hit(key, limit=quota.amount, window=quota.seconds)
            return result.allowed and not result.degraded and result.remaining >= 0 and result.reset_after > 0

        yield decide


#: What says allowed, remaining and reset, as headers need.
WHOLE: dict[str, Side] = {
    "limits fixed": limits_package("FixedWindow", headers=True),
    "limits sliding": limits_package("SlidingWindowCounter", headers=True),
    "limits moving": limits_package("MovingWindow", headers=True),
    "throttled-py gcra": throttled("gcra"),
    "throttled-py fixed": throttled("fixed_window"),
    "throttled-py sliding": throttled("sliding_window"),
    "throttled-py token": throttled("token_bucket"),
    "pyrate-limiter gcra": pyrate(count=True),
    "slowapi fixed": slowapi,
    "fastapi-redis-sdk fixed": redis_sdk,
}

#: What says yes or no alone.
BARE: dict[str, Side] = {
    "limits fixed, bare": limits_package("FixedWindow", headers=False),
    "limits sliding, bare": limits_package("SlidingWindowCounter", headers=False),
    "limits moving, bare": limits_package("MovingWindow", headers=False),
    "pyrate-limiter gcra, bare": pyrate(count=False),
    "fastapi-limiter gcra, bare": fastapi_limiter,
}

OURS: dict[str, Side] = {f"ours {algorithm}": ours(algorithm) for algorithm in ("gcra", "fixed", "counter", "log")}
