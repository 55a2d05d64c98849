"""`@cached` and `@invalidates` on route functions: they say what is to be kept, and the middleware around does it.

The function runs as it ever does: with its signature, in its thread or task. What is declared goes to the response in
the making; where there is none, nothing is kept and a warning says so.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

from ..core.warnings import Warnings
from ..errors import ConfigurationError
from .bare import note
from .declaring import Declared, is_without_cache, making
from .fields import is_token
from .policy import METHODS, STATUSES, CachePolicy, KeyOf, checked, listed, name_of
from .tags import names_in, partly, template_faults

P = ParamSpec("P")
R = TypeVar("R")
Route = Callable[P, R]

_warnings = Warnings(logging.getLogger("asgi_redis_guard.cache"))


def cached(
    ttl: float,
    *,
    user_aware: bool = False,
    public: bool = False,
    tags: Iterable[str] = (),
    vary: Iterable[str] = (),
    swr: float = 0.0,
    sie: float = 0.0,
    methods: Iterable[str] = ("GET",),
    statuses: Iterable[int] = tuple(sorted(STATUSES)),
    max_body: int | None = None,
    client_ttl: float = 0.0,
    key: KeyOf | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep a route's answers for `ttl` seconds: `@cached(300)`, beneath the framework's own decorator.

    For `swr` seconds more they are sent stale while one request makes them anew behind its answer; for `sie` seconds
    more they are sent where the app fails. `user_aware` keeps one for each verified user, and tells the outside that it
    is private. `public`: it is the same for everybody, whoever asks; without either, what was answered to a verified
    user, to credentials or from a session is not kept. `tags` name what it is invalidated by: `{name}` stands for a
    parameter of the path or the function, `{user}` for the verified user. `vary` names request fields that it depends
    on, beside those that the response names. Browsers and caches further out ask each time, and mostly get a 304, or
    keep it for `client_ttl` seconds. `key` makes a further part of the key of an exchange. Raises `ConfigurationError`.
    """
    if callable(ttl):
        raise ConfigurationError("@cached: given without parentheses; it takes a lifetime in seconds, @cached(300)")
    names, templates = listed(vary), listed(tags)
    kinds = [str(kind).upper() for kind in listed(methods)]
    faults = [f"vary: {name!r} given; allowed are names of header fields" for name in names if not is_token(name)]
    faults += template_faults("tags", templates)
    faults += [f"methods: {kind!r} given; allowed are GET and HEAD" for kind in kinds if kind not in METHODS]
    ConfigurationError.raise_for(faults)
    policy = checked(
        CachePolicy(
            ttl,
            swr,
            sie,
            user_aware,
            public,
            templates,
            tuple(name.lower().encode() for name in names),
            frozenset((*kinds, "HEAD")),
            frozenset(listed(statuses)),
            max_body,
            client_ttl,
            key,
        )
    )

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        here = replace(policy, where=name_of(function), function=inspect.unwrap(function))

        def declare(response: Declared, values: dict[str, Any]) -> None:
            response.declare(here, partly(templates, values))

        decorated: Callable[P, R] = _declaring(function, templates, declare, "@cached")
        return decorated

    return decorate


def invalidates(*tags: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Invalidate what has these tags when a route has answered with success: `@invalidates("item:{id}")`.

    It is done before the answer is sent, so that whoever has seen it never gets what was stored before. `{name}` stands
    for a parameter of the path or the function, `{user}` for the verified user. Raises `ConfigurationError`.
    """
    if any(map(callable, tags)):
        raise ConfigurationError('@invalidates: given without parentheses; it takes tags, @invalidates("items")')
    ConfigurationError.raise_for(template_faults("tags", tags) or ([] if tags else ["tags: none given"]))

    def declare(response: Declared, values: dict[str, Any]) -> None:
        response.invalidate(partly(tags, values))

    return lambda function: _declaring(function, tags, declare, "@invalidates")


def _declaring(
    function: Callable[..., Any],
    templates: tuple[str, ...],
    declare: Callable[[Declared, dict[str, Any]], None],
    what: str,
) -> Any:
    """Wrap a route function, of whatever kind, so that it declares before it runs."""
    if isinstance(function, type | staticmethod) or not callable(function):
        raise ConfigurationError(
            f"{what}: {function!r} given; allowed is a function, beneath the framework's own decorator"
        )
    note(function)
    named = {name for template in templates for name in names_in(template)} - {"user"}
    signature = inspect.signature(function) if named else None

    def say(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        response = making()
        if response is not None:
            declare(response, _values(named, signature, args, kwargs))
        elif is_without_cache():
            _warnings.tell(
                "uncached-route",
                f"{name_of(function)} has {what} and no cache around it: add ResponseCacheMiddleware",
            )

    return functools.wraps(function)(_wrapper(function, say))


def _wrapper(function: Callable[..., Any], say: Callable[[tuple[Any, ...], dict[str, Any]], None]) -> Any:
    def plain(*args: Any, **kwargs: Any) -> Any:
        say(args, kwargs)
        return function(*args, **kwargs)

    async def awaiting(*args: Any, **kwargs: Any) -> Any:
        say(args, kwargs)
        return await function(*args, **kwargs)

    # What yields is called at once and runs later, when the head may have been sent: it is for the plain one as well.
    return awaiting if inspect.iscoroutinefunction(function) else plain


def _values(
    named: set[str], signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return the values of a template's names: the function's own arguments, else what its request has in the path."""
    if signature is None:
        return {}
    found: dict[str, Any] = {}
    for value in (*args, *kwargs.values()):
        parameters = getattr(value, "path_params", None)
        if isinstance(parameters, Mapping):
            found |= parameters
    try:
        found |= signature.bind_partial(*args, **kwargs).arguments
    except TypeError:
        found |= kwargs
    return {name: found[name] for name in named if name in found}
