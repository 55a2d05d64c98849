"""What a JSON body says, and its fields by their path. Pure.

Law: only what all readers of a document agree on is told. A name that stands twice in one object has no value here, for
some take the first and others the last; nor has a number that is no whole one.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

#: Stands for what is given twice.
_TWICE = object()


def parsed(body: bytes) -> Any:
    """Return what a JSON body says; None for one that is malformed or nested too deeply."""
    try:
        return json.loads(body, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return None


def text_at(document: Any, path: tuple[str, ...]) -> str | None:
    """Return the text of the value at `path`, names of objects and places in lists; None if there is nothing plain.

    Text stands for itself, a whole number for its digits, a truth value for its word in JSON.
    """
    value = document
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isascii() and step.isdecimal() and len(step) <= 9:
            value = value[int(step)] if int(step) < len(value) else None
        else:
            return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        found.update((name, _TWICE) for name, count in counts.items() if count > 1)
    return found
