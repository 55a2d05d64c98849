"""What options of limits may be: numbers within bounds, and plain functions, for a guard never waits. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Iterable


def is_within(value: object, least: float, most: float) -> bool:
    """Tell whether it is a number between these."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def plain_faults(option: str, functions: Iterable[object]) -> list[str]:
    """What is wrong with the functions given for `option`: what a coroutine function returns is always true."""
    return [
        f"{option}: {function!r} given; allowed is a plain function, not a coroutine function"
        for function in functions
        if inspect.iscoroutinefunction(function)
        or inspect.iscoroutinefunction(getattr(type(function), "__call__", None))  # noqa: B004  (which one, not whether)
    ]
