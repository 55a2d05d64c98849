"""Guards on single routes: `guarded` wraps a route function so that guards of its own decide before it runs.

What decorators (`@rate_limit` …) are made of. They run in the exchange of the `GuardMiddleware` around the app, which
answers for them: there is no second engine here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable
from types import FunctionType
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from starlette.concurrency import run_in_threadpool

from ..core.exchange import Exchange
from ..core.guard import Guard, OneRoundGuard
from ..core.steps import PASS, Pass
from ..errors import ConfigurationError
from .deciding import Route
from .fusion import check_order
from .routed import DECLARED
from .streams import async_stream, stream

P = ParamSpec("P")
R = TypeVar("R")

#: Where a guarded function keeps its `Route`. Other decorators may copy it: only that of the function itself counts.
_MARK = "__guarded__"


class RouteGuards(OneRoundGuard):
    """Stands for guards that are all on routes: `GuardMiddleware(app, [RouteGuards()])`. Lets everything pass."""

    kind = "routes"

    def ask(self, exchange: Exchange) -> Pass:
        """Ask nothing."""
        return PASS


class RouteDecorator(Protocol):
    """What `@rate_limit(…)` and its sisters are: the function comes back as a coroutine function, signature kept."""

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> Callable[P, Awaitable[R]]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, Awaitable[R]]: ...


def guarded(function: Callable[..., Any], guards: Iterable[Guard]) -> Callable[..., Any]:
    """Put `guards`, outermost first, in front of a route function; they decide each time that it is called.

    What comes back is a coroutine function with the signature of `function`; a plain function runs in a thread. Of a
    generator function it is a function that returns a generator: the guards decide before the head of the response is
    sent, or before the first item is made, whichever comes first. Guards that are put in front of a guarded function
    decide together with those it has. Raises `ConfigurationError`.
    """
    if isinstance(function, type | staticmethod) or not callable(function) or not hasattr(function, "__qualname__"):
        raise ConfigurationError(
            f"decorators of routes: {function!r} given; allowed is a function, beneath the framework's own decorator"
        )
    known: Route | None = getattr(function, _MARK, None)
    route = Route(function, tuple(guards))
    if known is not None and known.wrapper is function:
        route = Route(known.function, (*route.guards, *known.guards))
    check_order(route.guards)
    DECLARED.any = True
    if isinstance(route.function, FunctionType):
        DECLARED.bare.add(route.function)
    route.wrapper = functools.wraps(route.function)(_wrapper(route))
    setattr(route.wrapper, _MARK, route)
    return route.wrapper


def _wrapper(route: Route) -> Callable[..., Any]:
    """Return what is called in the place of the route's function."""
    function = route.function

    async def awaiting(*args: Any, **kwargs: Any) -> Any:
        await route.admit(route.running())
        return await function(*args, **kwargs)

    async def in_thread(*args: Any, **kwargs: Any) -> Any:
        await route.admit(route.running())
        result = await run_in_threadpool(function, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    def streaming(*args: Any, **kwargs: Any) -> Any:
        return stream(route, function(*args, **kwargs))

    def async_streaming(*args: Any, **kwargs: Any) -> Any:
        return async_stream(route, function(*args, **kwargs))

    if inspect.isasyncgenfunction(function):
        return async_streaming
    if inspect.isgeneratorfunction(function):
        return streaming
    return awaiting if inspect.iscoroutinefunction(function) else in_thread
