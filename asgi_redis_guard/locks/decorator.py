"""`@locked`: a `RouteLock` in front of one route function, or a `Lock` around the calls of any function.

It makes the guard and the lock; the engine and the lock do the rest.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Unpack

from ..core.arguments import by_name, name_of
from ..errors import ConfigurationError, LockBusy, RedisUnavailable
from ..middleware.deciding import Outside
from ..middleware.routes import RouteDecorator, guarded
from ..redis.manager import RedisManager
from .guard import RouteLock, plain_name
from .lock import Lock
from .options import RouteLockOptions
from .semaphore import Semaphore

#: Options that mean nothing where there is no request.
_OF_REQUESTS = frozenset(
    (
        "on_busy",
        "methods",
        "paths",
        "exempt",
        "exempt_preflight",
        "trusted_proxies",
        "unidentified",
        "max_body",
        "on_refused",
    )
)

#: What is to be done where a route's function is called, and no request is to be seen.
_REQUESTS = "for requests put GuardMiddleware(app, guards=[RouteGuards()]) or another middleware of ours around the app"


def locked(*key: str, redis: RedisManager | str | None = None, **options: Unpack[RouteLockOptions]) -> RouteDecorator:
    """Let one call of a function run at a time for each `key`: `@locked("import:{user}")`, beneath the framework's own.

    Keys and options are those of `RouteLock`. While a request is served by an app with a middleware of this package
    around it (`GuardMiddleware(app, guards=[RouteGuards()])` if there is no other), it is a guard: who is refused gets
    an answer, and the lock is held until the response is through. Called elsewhere, by a job say, it is a lock around
    the call (`Lock`): `{name}` in its key are arguments, `LockBusy` is raised where others hold it after `wait`
    seconds, and a call that loses it is cancelled and ends with `LockLost`. Both take the same lock for the same key.

    With `redis`, a manager or its URL, it is around the call always, within requests too; without, calls elsewhere use
    the shared manager of the environment's settings. A plain function is run in a thread, which nobody can cancel.
    Raises `ConfigurationError`.
    """
    if redis is not None and (given := sorted(_OF_REQUESTS.intersection(options))):
        raise ConfigurationError(f"{given[0]}: given together with redis, with which a lock knows of no request")
    RedisManager.check(redis)
    guard = RouteLock(key, **options)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        if redis is not None:
            parameters = inspect.signature(function).parameters
            faults = [fault for template in guard.templates for fault in template.call_faults(parameters)]
            ConfigurationError.raise_for([f"key: {fault}" for fault in faults])
        return guarded(function, [guard], outside=_around(guard, redis), forced_outside=redis is not None)

    return decorate


def _around(guard: RouteLock, redis: RedisManager | str | None) -> Outside:
    """Return what makes of a function the same with a lock around each call."""

    def around(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        signature = inspect.signature(function)
        label = name_of(function)

        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            arguments = by_name(signature, args, kwargs)
            faults = [fault for template in guard.templates for fault in template.call_faults(arguments)]
            ConfigurationError.raise_for([f"@locked: {fault}; {_REQUESTS}" for fault in faults])
            names: Any = [plain_name(template.of_call(arguments)) for template in guard.templates]
            async with AsyncExitStack() as stack:
                try:
                    await stack.enter_async_context(_lock(guard, redis, names))
                except LockBusy as busy:
                    raise LockBusy(f"{label}: its key is held by others", busy.retry_after) from None
                except RedisUnavailable:
                    if guard.is_closed:
                        raise
                return await function(*args, **kwargs)

        return call

    return around


def _lock(guard: RouteLock, redis: RedisManager | str | None, names: Any) -> Lock:
    if guard.permits is None:
        return Lock(redis, names, ttl=guard.ttl, wait=guard.wait)
    return Semaphore(redis, names, guard.permits, ttl=guard.ttl, wait=guard.wait)
