"""What options of guards may be: numbers, names, choices, and plain functions, for a guard never waits. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence

#: Characters of a name in headers, keys and events.
LONGEST_NAME = 64

#: Bytes of a body: Redis keeps 512 MiB under a key at the most; what is larger than this has no business in memory.
MOST_BODY = 64 << 20

_MOST_REPLICAS = 100

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")


def several(given: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return what an option was given that takes one text as well as several."""
    return () if given is None else (given,) if isinstance(given, str) else tuple(given)


def is_within(value: object, least: float, most: float) -> bool:
    """Tell whether it is a number between these."""
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def seconds_faults(option: str, value: object, least: float, most: float) -> list[str]:
    """What is wrong with a number of seconds."""
    if is_within(value, least, most):
        return []
    return [f"{option}: {value!r} given; allowed are {least:g} to {most:.0f} seconds"]


def bytes_faults(option: str, value: object, least: int = 0) -> list[str]:
    """What is wrong with a number of bytes of a body that is kept in memory."""
    if value.__class__ is int and least <= value <= MOST_BODY:
        return []
    return [f"{option}: {value!r} given; allowed are {least} to {MOST_BODY} bytes"]


def replicas_faults(option: str, replicas: object) -> list[str]:
    """What is wrong with a number of replicas that must have what is written."""
    if replicas.__class__ is int and is_within(replicas, 0, _MOST_REPLICAS):
        return []
    return [f"{option}: {replicas!r} given; allowed are whole numbers from 0 to {_MOST_REPLICAS}"]


def method_faults(methods: Iterable[object]) -> list[str]:
    """What is wrong with methods of requests (RFC 9110 §9.1: tokens)."""
    return [
        f"methods: {method!r} given; allowed are names of methods, such as 'POST'"
        for method in methods
        if not is_token(method)
    ]


def is_token(value: object) -> bool:
    """Tell whether it is a token (RFC 9110 §5.6.2), as the names of methods and of fields are."""
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


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
