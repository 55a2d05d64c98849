"""Guards on single routes: `guarded` wraps a route function so that guards of its own decide before it runs.

What decorators (`@rate_limit` …) are made of. They run in the exchange of the `GuardMiddleware` around the app, which
answers for them: there is no second engine here.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from types import FunctionType
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from starlette.concurrency import run_in_threadpool

from ..core.exchange import Exchange
from ..core.guard import Guard, OneRoundGuard
from ..core.steps import PASS, Pass
from ..errors import ConfigurationError
from .deciding import Outside, Route
from .fusion import check_order
from .routed import DECLARED
from .streams import async_stream, stream

P = ParamSpec("P")
R = TypeVar("R")
Items = TypeVar("Items", bound=AsyncIterator[object] | Iterator[object])

#: Where a guarded function keeps its `Route`. Other decorators may copy it: only that of the function itself counts.
_MARK = "__guarded__"


class RouteGuards(OneRoundGuard):
    """Stands for guards that are all on routes: `GuardMiddleware(app, [RouteGuards()])`. Lets everything pass."""

    kind = "routes"

    def ask(self, exchange: Exchange) -> Pass:
        """Ask nothing."""
        return PASS


class RouteDecorator(Protocol):
    """What `@rate_limit(…)` and its sisters are: the function comes back as a coroutine function, signature kept.

    A generator function comes back as one. No `Any` stands in the types: with one, decorators on decorators make `Any`.
    """

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]], /) -> Callable[P, Coroutine[object, None, R]]: ...

    @overload
    def __call__(self, function: Callable[P, Items], /) -> Callable[P, Items]: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, Coroutine[object, None, R]]: ...


def guarded(
    function: Callable[..., Any],
    guards: Iterable[Guard],
    *,
    outside: Outside | None = None,
    forced_outside: bool = False,
) -> Callable[..., Any]:
    """Put `guards`, outermost first, in front of a route function; they decide each time that it is called.

    What comes back is a coroutine function with the signature of `function`; a plain function runs in a thread. Of a
    generator function it is a function that returns a generator: the guards decide before the head of the response is
    sent, or before the first item is made, whichever comes first. Guards that are put in front of a guarded function
    decide together with those it has.

    Where no exchange runs, what `outside` has made of the function, as a coroutine function, is called instead; without
    it, or beside other guards without it, that is `NoExchange`. `forced_outside`: it is called always, and the guards
    are not asked. Neither is for generators. Raises `ConfigurationError`.
    """
    _check(function)
    if forced_outside and outside is not None:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(f"decorators of functions: {function!r} is a generator, which is for routes alone")
        return functools.wraps(function)(outside(_awaitable(function)))
    known: Route | None = getattr(function, _MARK, None)
    route = Route(function, tuple(guards), outside)
    if known is not None and known.wrapper is function:
        route = Route(known.function, (*route.guards, *known.guards), _both(outside, known.outside))
    check_order(route.guards)
    DECLARED.any = True
    DECLARED.reads_body = max([DECLARED.reads_body, *(guard.reads_body for guard in route.guards)])
    if isinstance(route.function, FunctionType):
        DECLARED.bare.add(route.function)
    route.wrapper = functools.wraps(route.function)(_wrapper(route))
    setattr(route.wrapper, _MARK, route)
    return route.wrapper


def _check(function: Any) -> None:
    if isinstance(function, type | staticmethod) or not callable(function) or not hasattr(function, "__qualname__"):
        raise ConfigurationError(
            f"decorators of routes: {function!r} given; allowed is a function, beneath the framework's own decorator"
        )


def _both(outer: Outside | None, inner: Outside | None) -> Outside | None:
    """Return what both make of a function, if both make anything of it."""
    if outer is None or inner is None:
        return None
    return lambda function: outer(inner(function))


def _wrapper(route: Route) -> Callable[..., Any]:
    """Return what is called in the place of the route's function."""

    def streaming(*args: Any, **kwargs: Any) -> Any:
        return stream(route, args, kwargs)

    def async_streaming(*args: Any, **kwargs: Any) -> Any:
        return async_stream(route, args, kwargs)

    if inspect.isasyncgenfunction(route.function):
        return async_streaming
    if inspect.isgeneratorfunction(route.function):
        return streaming
    function = _awaitable(route.function)
    outside = None if route.outside is None else route.outside(function)

    async def awaiting(*args: Any, **kwargs: Any) -> Any:
        if outside is not None and route.found() is None:
            return await outside(*args, **kwargs)
        await route.admit(route.running(), args, kwargs)
        return await function(*args, **kwargs)

    return awaiting


def _awaitable(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """Return a function as a coroutine function; a plain one runs in a thread."""
    if inspect.iscoroutinefunction(function):
        return function

    @functools.wraps(function)
    async def in_thread(*args: Any, **kwargs: Any) -> Any:
        result = await run_in_threadpool(function, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    return in_thread
