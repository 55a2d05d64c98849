"""`@idempotent`: routes whose requests take effect once, and functions whose calls do, by a key of their arguments.

It makes a guard, or what calls a function; the engine and `functions.py` do the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal, TypedDict, Unpack, overload

from ..core.client_ip import TrustedProxies
from ..core.key_template import KeyTemplate
from ..core.keywords import options_of
from ..core.naming import own_name
from ..errors import ConfigurationError
from ..middleware.routes import RouteDecorator, guarded
from ..redis.manager import RedisManager
from .functions import CallOptions, Once
from .guard import Idempotency
from .middleware import IdempotencyOptions


class IdempotentCallOptions(TypedDict, total=False):
    """The keyword options of `@idempotent` with a key of its own, for type checkers."""

    redis: RedisManager | str | None
    ttl: float
    lease: float
    wait: float
    on_outage: Literal["closed", "open"]


@overload
def idempotent(template: str, /, **options: Unpack[IdempotentCallOptions]) -> RouteDecorator: ...


@overload
def idempotent(**options: Unpack[IdempotencyOptions]) -> RouteDecorator: ...


def idempotent(template: str | None = None, /, **options: Any) -> Any:
    """Let what a function does be done once: a route's by the request's `Idempotency-Key`, a call's by its arguments.

    `@idempotent(required=True)`, beneath the framework's own decorator, is an `Idempotency` with these options in front
    of one route; its keys are its own, or with `name` those of all routes of that name. It wants a middleware of this
    package around the app.

    `@idempotent("charge:{order_id}", ttl=3600, redis=manager)` is for any coroutine function, in a request or not: it
    runs once for each key, and what it returns is kept as JSON for `ttl` seconds, for calls with the same arguments;
    those of no plain kind, as a connection, are not compared. With other arguments comes `IdempotencyMismatch`, while
    the call is under way `IdempotencyConflict`, after `wait` seconds, and `IdempotencyError` where what it returned
    could not be kept. An exception or a cancellation frees the key, and `lease` seconds (30, renewed meanwhile) that
    its process was killed; a call that loses its record is cancelled. While Redis is away `on_outage="closed"` raises
    `RedisUnavailable`, `open` calls the function. Raises `ConfigurationError`.
    """

    def of_route(function: Callable[..., Any]) -> Callable[..., Any]:
        chosen = {"name": own_name(function), **options}
        return guarded(function, [Idempotency(**chosen)])

    if template is None:
        _check_of_route(options)
        return of_route
    redis = options.pop("redis", None)
    RedisManager.check(redis)
    given = options_of(CallOptions, options, "@idempotent with a key of its own")
    key = KeyTemplate(template, TrustedProxies.of(()), option="@idempotent")

    def once(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        return Once(function, key, redis, given).wrapped()

    def of_call(function: Callable[..., Any]) -> Callable[..., Any]:
        return guarded(function, (), outside=once, forced_outside=True)

    return of_call


def _check_of_route(options: Mapping[str, Any]) -> None:
    """Raise for options that are meant for calls: the template of what a call is known by stands first, unnamed."""
    key = options.get("key")
    if "redis" in options or "template" in options or (isinstance(key, str) and "{" in key):
        name = next(name for name in ("redis", "template", "key") if name in options)
        raise ConfigurationError(
            f"{name}: given without a key in front; for calls give one, as @idempotent('charge:{{order_id}}', …)"
        )
