"""What options of guards may be: numbers, names, choices, and plain functions, for a guard never waits. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence

#: Characters of a name in headers, keys and events.
LONGEST_NAME = 64


def is_within(value: object, least: float, most: float) -> bool:
    """Tell whether it is a number between these."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def name_faults(option: str, name: object) -> list[str]:
    """What is wrong with a name that is to stand in headers and keys; None is none."""
    if name is None or (isinstance(name, str) and _is_name(name)):
        return []
    return [f"{option}: {name!r} given; allowed are 1 to {LONGEST_NAME} printable ASCII characters"]


def _is_name(name: str) -> bool:
    return 0 < len(name) <= LONGEST_NAME and name.isascii() and name.isprintable()


def choice_faults(option: str, given: object, allowed: Sequence[object]) -> list[str]:
    """What is wrong with what was chosen for `option`."""
    return [] if given in allowed else [f"{option}: {given!r} given; allowed are {', '.join(map(repr, allowed))}"]


def plain_faults(option: str, functions: Iterable[object]) -> list[str]:
    """What is wrong with the functions given for `option`: what a coroutine function returns is always true."""
    return [
        f"{option}: {function!r} given; allowed is a plain function, not a coroutine function"
        for function in functions
        if inspect.iscoroutinefunction(function)
        or inspect.iscoroutinefunction(getattr(type(function), "__call__", None))  # noqa: B004  (which one, not whether)
    ]
