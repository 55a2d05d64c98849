"""Whose declaration it is: that of the function that a framework has found for the request, or of another. Pure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import FunctionType, MethodType
from typing import Any

#: Decorators around one function that are looked through.
_MOST = 64


def is_of_another(scope: Any, function: Callable[..., Any] | None) -> bool:
    """Tell whether `function` declared something while the route of another one was run, which had called it.

    Frameworks that do not put the route's function into the scope (`endpoint`) say nothing of that, and classes and
    other objects may call what they like as part of themselves.
    """
    endpoint = (scope or {}).get("endpoint")
    if function is None or not isinstance(endpoint, FunctionType | MethodType | partial):
        return False
    for _ in range(_MOST):
        if endpoint is function:
            return False
        if isinstance(endpoint, partial):
            endpoint = endpoint.func
        elif isinstance(endpoint, MethodType):
            endpoint = endpoint.__func__
        elif (endpoint := getattr(endpoint, "__wrapped__", None)) is None:
            return True
    return False
