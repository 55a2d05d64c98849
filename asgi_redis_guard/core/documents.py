"""What a JSON body says, and its fields by their path. Pure.

Law: only what all readers of a document agree on is told. A name that stands twice in one object has no value here, for
some take the first and others the last; nor has a number that is no whole one. That is `Unclear`, not nothing: who
sends it may mean to be taken for one who says nothing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

#: Stands for what is given twice, and for a document that cannot be read.
_UNCLEAR = object()

#: A mark of the encoding, white space and zeros of wider characters, and the first brace.
_BEGINS = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[ \t\r\n\0]*+[{\[]")


class Unclear(ValueError):
    """Something is said of which readers may make different things."""


def parsed(body: bytes) -> Any:
    """Return what a JSON body says; None for what is none, as a form.

    Where it begins like an object or a list, and is malformed or nested too deeply here, others may read it: unclear.
    """
    try:
        return json.loads(body, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return _UNCLEAR if _BEGINS.match(body) else None


def text_at(document: Any, path: tuple[str, ...]) -> str | None:
    """Return the text of the value at `path`, names of objects and places in lists; None if nothing is there.

    Text stands for itself, a whole number for its digits, a truth value for its word in JSON. Raises `Unclear` for
    something else than these and null.
    """
    value = document
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isascii() and step.isdecimal() and len(step) <= 9:
            value = value[int(step)] if int(step) < len(value) else None
        elif value is _UNCLEAR:
            break
        else:
            return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, str | int):
        return value if value is None else str(value)
    raise Unclear(".".join(path))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        found.update((name, _UNCLEAR) for name, count in counts.items() if count > 1)
    return found
