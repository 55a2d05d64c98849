"""`Cache`: values and results of functions, kept beside the responses, invalidated by the same tags.

Law: reading never raises for Redis being away, writing does. What is done with a value whose place is known is in
`keeping.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

from ..errors import ConfigurationError
from ..redis.manager import RedisManager
from .events import ValueHook, value_event
from .functions import Declaration, Decorator, wrap
from .guard import ResponseCache
from .keeping import Keeping, halves
from .operations import invalidate_resource, invalidate_tags
from .policy import listed
from .recall import Spot, namespace_tag
from .request_key import RequestKeys
from .serializing import Serializer
from .value_options import ValueOptions, checked_key, checked_tags, namespace_faults
from .warming import Progress, Warmed, warm

R = TypeVar("R")


class Cache:
    """Keep values under keys, and what functions return: `await cache.get_or_set("report", make_report, ttl=60)`.

    `redis`: a manager, a URL, or None for that of the environment. `namespace` keeps keys apart from those of others
    and is cleared as a whole. `ttl`: seconds that a value is fresh where nothing else is said; up to `jitter` of it is
    taken off at random. `early`: how early values are made anew before they end, as in `ResponseCache`; 0 is never.
    `wait`: seconds that a caller waits for another's making at most. `responses`: the guard whose responses
    `invalidate(url=…)` is about, where it has options of its own for its keys; `root_path`: that of their server, if it
    has one. `integrity_key`, `compress_from`,
    `max_size`: as in `ResponseCache`. `on_event` gets `ValueEvent`s.

    Values come back as they were, each caller's its own: text, bytes, None, bool, int, float, lists, tuples, sets,
    dictionaries with text for keys, times, Decimal, UUID. Others, subclasses of these included, are a TypeError unless
    `serializer`, a pair of functions to bytes and back, says how to keep them; never pickle. None is a value like
    others. While Redis is away `get` returns the default and `get_or_set` makes the value; what writes raises
    `RedisUnavailable`. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        redis: RedisManager | str | None = None,
        *,
        namespace: str = "default",
        ttl: float = 300.0,
        jitter: float = 0.05,
        early: float = 1.0,
        wait: float = 10.0,
        responses: ResponseCache | None = None,
        root_path: str = "",
        serializer: Serializer | None = None,
        integrity_key: str | bytes | None = None,
        compress_from: int | None = 8192,
        max_size: int = 1 << 20,
        on_event: Iterable[ValueHook] = (),
    ) -> None:
        self._options = ValueOptions(
            namespace=namespace,
            ttl=ttl,
            jitter=jitter,
            early=early,
            wait=wait,
            serializer=serializer,
            integrity_key=integrity_key,
            compress_from=compress_from,
            max_size=max_size,
            hooks=tuple(on_event),
        )
        self._options.codec()  # its faults are told now
        self._redis = redis
        self._requests = RequestKeys() if responses is None else responses.requests
        self._root_path = root_path
        self._keeping: Keeping | None = None

    @property
    def redis(self) -> RedisManager:
        """The manager in use; found when it is first needed."""
        return self._kept_in.redis

    @property
    def _kept_in(self) -> Keeping:
        if self._keeping is None:
            self._keeping = Keeping(RedisManager.of(self._redis), self._options)
        return self._keeping

    def _spot(self, key: str, tags: Iterable[str] = ()) -> Spot:
        return self._kept_in.spot(self._options.namespace, (checked_key(key),), checked_tags(tags), key)

    # Reading.

    async def get(self, key: str, default: Any = None) -> Any:
        """Return the fresh value of a key; `default` if there is none, or Redis is away."""
        return (await self._kept_in.read([self._spot(key)])).get(key, default)

    async def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the fresh values of those keys that have one: one round trip for 200, two where tags are not known."""
        return await self._kept_in.read([self._spot(key) for key in dict.fromkeys(keys)])

    @overload
    async def get_or_set(
        self,
        key: str,
        make: Callable[[], Awaitable[R]],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        swr: float = 0.0,
        sie: float = 0.0,
    ) -> R: ...

    @overload
    async def get_or_set(
        self,
        key: str,
        make: Callable[[], R],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        swr: float = 0.0,
        sie: float = 0.0,
    ) -> R: ...

    async def get_or_set(
        self,
        key: str,
        make: Callable[[], Any],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        swr: float = 0.0,
        sie: float = 0.0,
    ) -> Any:
        """Return the value of a key; where there is none, `make` it, once in all processes, and keep it.

        A plain function runs in a thread. For `swr` seconds after its end a value is returned stale while it is made
        anew in the background, for `sie` seconds where `make` fails. What `make` raises goes to the caller that it ran
        for; the others who wait try themselves, one after the other. A cancelled caller's place is taken by the next.
        """
        spot, lifetime = self._spot(key, tags), self._options.lifetime(ttl, swr, sie)
        return await self._kept_in.obtain(spot, make, lifetime)

    # Writing.

    async def set(
        self,
        key: str,
        value: Any,
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        swr: float = 0.0,
        sie: float = 0.0,
    ) -> None:
        """Keep a value for `ttl` seconds, whatever there is; fills that are under way do not overwrite it.

        Raises `RedisUnavailable`, TypeError for a value that cannot be kept, and ValueError for one that is too large.
        """
        await self._kept_in.write([self._spot(key, tags)], [value], self._options.lifetime(ttl, swr, sie))

    async def set_many(
        self,
        values: Mapping[str, Any],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        swr: float = 0.0,
        sie: float = 0.0,
    ) -> None:
        """Keep several values, as `set` does each, side by side."""
        named = checked_tags(tags)
        spots = [self._spot(key, named) for key in values]
        await self._kept_in.write(spots, values.values(), self._options.lifetime(ttl, swr, sie))

    @overload
    async def put(
        self,
        key: str,
        make: Callable[[], Awaitable[R]],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        swr: float = 0.0,
        sie: float = 0.0,
    ) -> R: ...

    @overload
    async def put(
        self,
        key: str,
        make: Callable[[], R],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        swr: float = 0.0,
        sie: float = 0.0,
    ) -> R: ...

    async def put(
        self,
        key: str,
        make: Callable[[], Any],
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        swr: float = 0.0,
        sie: float = 0.0,
    ) -> Any:
        """Run a function that writes, keep what it returns under a key, and return it: write-through.

        Redis being away is no error here, for the function has run: what was kept before is forgotten as soon as it is
        back, and not read here until then.
        """
        spot, lifetime = self._spot(key, tags), self._options.lifetime(ttl, swr, sie)
        return await self._kept_in.replace(spot, make, lifetime)

    async def delete(self, *keys: str) -> None:
        """Forget values; what is being made for them now is not kept. Raises `RedisUnavailable`."""
        await self._kept_in.forget([self._spot(key) for key in keys])

    async def clear_namespace(self, namespace: str | None = None) -> None:
        """Forget all values of a namespace, by default this cache's own, however many. Raises `RedisUnavailable`."""
        name = self._options.namespace if namespace is None else namespace
        await self._kept_in.perform(invalidate_tags(self.redis.keys, [namespace_tag(name)]))

    async def invalidate(
        self,
        tags: Iterable[str] = (),
        *,
        url: str | Iterable[str] = (),
        keys: str | Iterable[str] = (),
        soft: bool = False,
    ) -> None:
        """Invalidate what has one of the tags, responses and values alike, the responses of a URL, and values by key.

        A URL is absolute. `soft`: it goes stale, and may be used as its `swr` and `sie` allow. What is being made now
        is not kept. Raises `RedisUnavailable`, and ValueError for a URL that no request can have.
        """
        known = self.redis.keys
        resources = [self._resource(one) for one in listed(url)]
        resources += [self._spot(key).place.resource for key in listed(keys)]
        named = checked_tags(tags)
        for some in halves(named):
            await self._kept_in.perform(invalidate_tags(known, some, soft))
        await self._kept_in.perform([invalidate_resource(known, resource, soft) for resource in resources])
        size = len(named) + len(resources)
        value_event(self._options.hooks, self._options.namespace, "", "invalidated", "soft" if soft else "", size)

    def _resource(self, url: str) -> bytes:
        is_http = isinstance(url, str) and url[:8].lower().startswith(("http://", "https://"))
        resource = self._requests.of_url(url, root_path=self._root_path) if is_http else None
        if resource is None:
            raise ValueError(
                f"url: {url!r} given; allowed are absolute ones of the app's hosts, 'https://a.test/items/1'"
            )
        return resource

    # Functions.

    def cached(
        self,
        ttl: float | None = None,
        *,
        key: Callable[..., str | bytes] | None = None,
        tags: Iterable[str] = (),
        swr: float = 0.0,
        sie: float = 0.0,
        namespace: str | None = None,
    ) -> Decorator:
        """Keep what a function returns, by its name and its arguments: `@cache.cached(60, tags=("user:{user_id}",))`.

        The function is awaited from then on, and a plain one runs in a thread where it has to; `.invalidate(…)` and
        `.refresh(…)` take its arguments. `{name}` in a tag stands for an argument. Arguments are None, bool, numbers,
        text, bytes, times, UUID, enums, types and collections of them, told apart by type; others are a TypeError, and
        methods a `ConfigurationError`, unless `key` makes text or bytes of all arguments. Of a class method the class
        counts. Raises `ConfigurationError`.
        """
        if callable(ttl):
            raise ConfigurationError("@cached: given without parentheses, as in @cache.cached(60) or @cache.cached()")
        name = self._options.namespace if namespace is None else namespace
        ConfigurationError.raise_for(namespace_faults(name))
        lifetime = self._options.lifetime(ttl, swr, sie)
        templates = listed(tags)

        def decorate(function: Callable[..., Any]) -> Any:
            return wrap(Declaration(lambda: self._kept_in, function, lifetime, name, templates, key))

        return decorate

    async def warm(
        self, jobs: Iterable[Callable[[], Any]], *, concurrency: int = 4, progress: Progress | None = None
    ) -> Warmed:
        """Run jobs, such as `partial(report, 7)` of a cached function, before there are requests; return how it went.

        One that fails is logged. `progress` is told after each; without it, one line is logged at the end. What is
        kept already is not made again.
        """
        if concurrency.__class__ is not int or concurrency < 1:
            raise ValueError(f"concurrency: {concurrency!r} given; allowed are 1 and above")
        return await warm(jobs, concurrency, progress)

    def __repr__(self) -> str:
        return f"<Cache {self._options.namespace}: {self._options.ttl:g} s>"
