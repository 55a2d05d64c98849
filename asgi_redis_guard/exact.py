"""Values as JSON text: what JSON has no name for carries a tag, so that it comes back as what it was.

Never pickle. Dictionaries keep string keys alone; a dictionary that looks like a tagged value is wrapped in one. An
aware time keeps its offset, not the name of its zone.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID  # noqa: TID251  (the type; none is made here)

import orjson

#: Types that JSON and orjson give back as they were, whatever their value; floats and integers may not be (below).
_PLAIN = frozenset((str, bool, type(None)))

_LARGEST = 2**63

#: Ends the text of a time that is the second of two with the same digits (PEP 495), which ISO 8601 has no sign for.
_FOLD = " again"

_TO_TEXT: dict[type, tuple[str, Callable[[Any], Any]]] = {
    datetime: ("t", lambda value: _time_text(value)),
    date: ("d", date.isoformat),
    time: ("h", lambda value: _time_text(value)),
    timedelta: ("l", lambda value: [value.days, value.seconds, value.microseconds]),
    UUID: ("u", lambda value: value.hex),
    Decimal: ("n", str),
    bytes: ("b", lambda value: b64encode(value).decode()),
}

_FROM_TEXT: dict[str, Callable[[Any], Any]] = {
    "$t": lambda value: datetime.fromisoformat(value.removesuffix(_FOLD)).replace(fold=value.endswith(_FOLD)),
    "$d": date.fromisoformat,
    "$h": lambda value: time.fromisoformat(value.removesuffix(_FOLD)).replace(fold=value.endswith(_FOLD)),
    "$l": lambda value: timedelta(*value),
    "$u": lambda value: UUID(hex=value),
    "$n": Decimal,
    "$b": b64decode,
    "$i": int,
    "$f": float,
    "$s": lambda value: {_unpack(item) for item in value},
    "$z": lambda value: frozenset(_unpack(item) for item in value),
    "$p": lambda value: tuple(_unpack(item) for item in value),
    "$o": lambda value: {key: _unpack(item) for key, item in value.items()},
}


def to_json(value: Any) -> bytes:
    """Return `value` as JSON text; raises TypeError, ValueError or RecursionError for what cannot be kept exactly."""
    return orjson.dumps(value if value.__class__ in _PLAIN else _pack(value))


def from_json(text: bytes) -> Any:
    """Return the value of `text`; raises ValueError for what `to_json` never makes."""
    value = orjson.loads(text)
    if b'"$' not in text:
        return value
    try:
        return _unpack(value)
    except (ArithmeticError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"a tagged value is malformed ({type(error).__name__})") from None


def _pack(value: Any) -> Any:
    kind = value.__class__
    if kind in _PLAIN:
        return value
    if kind is int:
        return value if -_LARGEST <= value < _LARGEST else {"$i": str(value)}
    if kind is float:
        return value if math.isfinite(value) else {"$f": repr(value)}
    if kind is list:
        return [_pack(item) for item in value]
    if kind is dict:
        return _pack_dict(value)
    if kind in _TO_TEXT:
        tag, text = _TO_TEXT[kind]
        return {f"${tag}": text(value)}
    if kind is tuple:
        return {"$p": [_pack(item) for item in value]}
    if kind is set or kind is frozenset:  # in an order of its own: the same set is the same text
        return {"$s" if kind is set else "$z": sorted((_pack(item) for item in value), key=orjson.dumps)}
    allowed = "str, int, float, bool, None, list, dict, tuple, set, frozenset"
    raise TypeError(f"{kind.__name__} given; allowed are {allowed}, {', '.join(other.__name__ for other in _TO_TEXT)}")


def _time_text(value: datetime | time) -> str:
    if value.tzinfo is not None and value.utcoffset() is None:
        raise TypeError("a time whose zone has no offset without a date given")
    return value.isoformat() + (_FOLD if value.fold else "")


def _pack_dict(value: dict[Any, Any]) -> dict[str, Any]:
    for key in value:
        if key.__class__ is not str:
            raise TypeError(f"a dictionary with the key {key!r} given; allowed are strings")
    packed = {key: _pack(item) for key, item in value.items()}
    looks_tagged = len(packed) == 1 and next(iter(packed)).startswith("$")
    return {"$o": packed} if looks_tagged else packed


def _unpack(value: Any) -> Any:
    if value.__class__ is list:
        return [_unpack(item) for item in value]
    if value.__class__ is not dict:
        return value
    if len(value) == 1:
        ((key, item),) = value.items()
        if key[:1] == "$":  # of an unknown tag KeyError: a dictionary that looks like one was wrapped
            return _FROM_TEXT[key](item)
    return {key: _unpack(item) for key, item in value.items()}
