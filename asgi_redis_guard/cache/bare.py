"""Functions that were given `@cached` or `@invalidates`, as they were without: who calls these has the order wrong.

A framework's decorator registers the function that it gets. One that stands beneath ours gets it without what we
declare, and nothing else tells.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from ..core.warnings import Warnings
from .policy import name_of

_BARE: weakref.WeakSet[Callable[..., Any]] = weakref.WeakSet()
_warnings = Warnings(logging.getLogger("asgi_redis_guard.cache"))


def note(function: Callable[..., Any]) -> None:
    """Note a function that has got a decorator."""
    if isinstance(function, FunctionType):
        _BARE.add(function)


def warn_of_bare(scope: Mapping[str, Any] | None) -> None:
    """Warn once of a route whose framework calls such a function itself, where it says which it calls."""
    endpoint = None if scope is None else scope.get("endpoint")
    if isinstance(endpoint, FunctionType) and endpoint in _BARE:
        _warnings.tell(
            "unguarded-route",
            f"{name_of(endpoint)} has @cached or @invalidates, and is called without: the decorator must stand beneath "
            "the framework's own",
        )
