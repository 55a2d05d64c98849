"""The key of a call: a function's name and its arguments, so that no two different calls share one.

Every part stands there with its type and its length: 1, "1", True and 1.0 are four keys, and so are the lists [1, 2]
and ["1, 2"]. What has no text of its own that is the same in every process is refused, never guessed at by its `repr`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

_MOST_DEPTH = 32

_TEXTS: dict[type, Callable[[Any], str | bytes]] = {
    type(None): lambda _: "",
    bool: str,
    int: str,
    float: repr,
    str: lambda value: value,
    bytes: lambda value: value,
    Decimal: str,
    date: date.isoformat,
    datetime: lambda value: f"{value.isoformat()} {value.fold}",
    time: lambda value: f"{value.isoformat()} {value.fold}",
    timedelta: lambda value: f"{value.days} {value.seconds} {value.microseconds}",
}


class TooDeep(TypeError):
    """A value is nested more deeply than keys are made of; clients may choose how deeply."""


def name_of(function: Callable[..., Any]) -> str:
    """Return what a function goes by in all processes."""
    return f"{function.__module__}.{function.__qualname__}"


def key_of(value: Any, depth: int = 0) -> bytes:
    """Return what stands for a value, with its type; raises TypeError for what has nothing that stands for it."""
    kind = value.__class__
    text = _TEXTS.get(kind) or (str if is_uuid(kind) else None)
    if text is not None:
        return _part(kind.__name__, _bytes(text(value)))
    if depth >= _MOST_DEPTH:
        raise TooDeep("a value that is nested too deeply")
    if kind is list or kind is tuple:
        return _part(kind.__name__, b"".join([key_of(item, depth + 1) for item in value]))
    if kind is set or kind is frozenset:
        return _part(kind.__name__, b"".join(sorted(key_of(item, depth + 1) for item in value)))
    if kind is dict:
        pairs = sorted(key_of(key, depth + 1) + key_of(item, depth + 1) for key, item in value.items())
        return _part("dict", b"".join(pairs))
    if isinstance(value, Enum):
        return _part("enum", _bytes(f"{_path(kind)}.{value.name}"))
    if isinstance(value, type) and "<locals>" not in value.__qualname__:
        return _part("type", _bytes(_path(value)))
    raise TypeError(f"a {kind.__name__}")


def plain_of(value: Any) -> tuple[str | bytes, bool]:
    """Return the text of a value as it would stand in a URL or in JSON, and True; else what `key_of` gives, and False.

    7 and "7" are the same, and so are an enum and its value: a path has the text of what a function gets as its type.
    Raises TypeError for what has nothing that stands for it.
    """
    if isinstance(value, Enum):
        value = value.value if isinstance(value.value, str | int) else value.name
    if isinstance(value, bool):
        return ("true" if value else "false"), True
    if isinstance(value, str | int):
        return int.__repr__(value) if isinstance(value, int) else str.__str__(value), True
    text = None if value is None else _TEXTS.get(value.__class__) or (str if is_uuid(value.__class__) else None)
    return (text(value), True) if text is not None else (key_of(value), False)


def is_uuid(kind: type) -> bool:
    """Tell whether `kind` is `uuid.UUID`; by its name, for a pure module does not import what makes random ones."""
    return kind.__name__ == "UUID" and kind.__module__ == "uuid"


def bound(signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call's arguments by the names of their parameters, defaults included; raises TypeError as a call does.

    So `f(1)`, `f(x=1)` and, where 1 is the default, `f()` are the same call.
    """
    given = signature.bind(*args, **kwargs)
    given.apply_defaults()
    return given.arguments


def by_name(signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the same, and what a `**` parameter takes by its own names."""
    arguments = bound(signature, args, kwargs)
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            return {**arguments.pop(parameter.name), **arguments}
    return arguments


def call_key(name: str, arguments: Mapping[str, Any]) -> bytes:
    """Return what stands for a call; raises TypeError that names the argument which has nothing that does."""
    return b"".join(_named(name, arguments.items()))


def _named(name: str, arguments: Iterable[tuple[str, Any]]) -> Iterable[bytes]:
    for parameter, value in arguments:
        try:
            yield _part(parameter, key_of(value))
        except TypeError as error:
            raise TypeError(
                f"{name}({parameter}=…): {error} makes no key; allowed are None, bool, numbers, str, bytes, times, "
                "UUID, enums, types and collections of them. Others need key="
            ) from None


def _part(name: str, data: bytes) -> bytes:
    return b"%b:%d:%b;" % (name.encode(), len(data), data)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
