"""`@rate_limit`: a `RateLimit` in front of one route function. It makes the guard; the engine does the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from ..core.checks import LONGEST_NAME
from ..core.naming import own_name, printable
from ..middleware.routes import RouteDecorator, guarded
from .guard import RateLimit
from .options import RateLimitOptions
from .rules import LimitsFor


def rate_limit(*limits: str | LimitsFor, **options: Unpack[RateLimitOptions]) -> RouteDecorator:
    """Limit the calls of a route function: `@rate_limit("10/minute")`, beneath the framework's own decorator.

    Limits and options are those of `RateLimit`. The function's calls are counted by themselves; with `name` or `group`,
    together with those of all functions that have limits of this one. Works on any framework, with a middleware of this
    package around the app (`GuardMiddleware(app, guards=[RouteGuards()])` if there is no other), and costs one round
    trip, however many decorators stand on one function. A plain function is run in a thread. A refusal gives back what
    the limits of the middleware have counted. Raises `ConfigurationError`.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        chosen: RateLimitOptions = {**options}
        if chosen.get("group") is None:
            chosen["group"] = chosen.get("name") or own_name(function)
        if chosen.get("name") is None:
            chosen["name"] = printable(getattr(function, "__name__", "route"))[:LONGEST_NAME]
        return guarded(function, [RateLimit(*limits, **chosen)])

    return decorate
