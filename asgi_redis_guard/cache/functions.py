"""`@cache.cached` on plain functions: what they return is kept by their name and arguments.

The wrapper has no engine of its own: it says where a value stands, and `Cache` does the rest.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, Self, TypeVar, overload

from ..core.arguments import bound, call_key, name_of
from ..errors import ConfigurationError
from .filling import Make
from .recall import Lifetime, Spot
from .tags import expand, template_faults

if TYPE_CHECKING:
    from .keeping import Keeping

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R", covariant=True)
T = TypeVar("T")


class CachedFunction(Protocol[P, R]):
    """A function whose results are kept. It is awaited, also where the function itself is a plain one."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Return the result for these arguments: the one that is kept, or a new one."""

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(
        self: CachedFunction[Concatenate[Any, Q], R], instance: object, owner: type
    ) -> Callable[Q, Coroutine[Any, Any, R]]: ...

    def __get__(self, instance: Any, owner: type) -> Any:
        """Bind it, as a method with a `key` of its own."""

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, None]:
        """Forget the result for these arguments. Raises `RedisUnavailable`."""

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Call the function, keep what it returns in place of what there is, and return it."""


class Decorator(Protocol):
    """What makes a `CachedFunction` of a function."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, T]], /) -> CachedFunction[P, T]: ...

    @overload
    def __call__(self, function: Callable[P, T], /) -> CachedFunction[P, T]: ...


class Declaration:
    """What `@cache.cached` was told about one function."""

    def __init__(
        self,
        cache: Callable[[], Keeping],
        function: Callable[..., Any],
        lifetime: Lifetime,
        namespace: str,
        tags: tuple[str, ...],
        key: Callable[..., str | bytes] | None,
    ) -> None:
        self._check(function, tags, key)
        self.cache = cache
        self.function = function
        self._lifetime = lifetime
        self._namespace = namespace
        self._tags = tags
        self._key = key
        self._name = name_of(function)
        self._signature = inspect.signature(function)

    @staticmethod
    def _check(function: Callable[..., Any], tags: tuple[str, ...], key: Callable[..., str | bytes] | None) -> None:
        if not inspect.isroutine(function) or isinstance(function, staticmethod | classmethod):
            raise ConfigurationError(f"@cached: {function!r} given; allowed is a function, beneath other decorators")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(f"@cached: {function!r} is a generator; allowed are functions that return a value")
        parameters = list(inspect.signature(function).parameters)
        faults = template_faults("tags", tags, parameters)
        if parameters[:1] == ["self"] and key is None:
            faults.append(
                f"key: none given for the method {function.__qualname__}; an object makes no key: "
                "give a function of the same arguments that returns text or bytes"
            )
        ConfigurationError.raise_for(faults)

    def spot(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Spot:
        """Return where the result for these arguments stands; raises TypeError for those that make no key."""
        arguments = bound(self._signature, args, kwargs)
        if self._key is None:
            own: str | bytes = call_key(self._name, arguments)
        else:
            own = self._key(*args, **kwargs)
            if not isinstance(own, str | bytes):
                raise TypeError(f"{self._name}: key= returned {type(own).__name__}; allowed are str and bytes")
        tags = [expand(tag, arguments) for tag in self._tags] if self._tags else ()
        parts = ("call", self._name, "own" if self._key else "arguments", own)
        return self.cache().spot(self._namespace, parts, tags, self._name)

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Spot, Make, Lifetime]:
        """Return where the result for these arguments stands, what makes it, and how long it is kept."""
        return self.spot(args, kwargs), functools.partial(self.function, *args, **kwargs), self._lifetime


def wrap(declaration: Declaration) -> Any:
    """Return the function that is awaited in place of the one that was declared."""
    cache = declaration.cache

    @functools.wraps(declaration.function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await cache().obtain(*declaration.call(args, kwargs))

    async def invalidate(*args: Any, **kwargs: Any) -> None:
        await cache().forget([declaration.spot(args, kwargs)])

    async def refresh(*args: Any, **kwargs: Any) -> Any:
        return await cache().replace(*declaration.call(args, kwargs))

    wrapper.invalidate = invalidate  # type: ignore[attr-defined]
    wrapper.refresh = refresh  # type: ignore[attr-defined]
    return wrapper
