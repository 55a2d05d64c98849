"""Names of guards that stand on one function: its own, as far as it may stand in headers, keys and events. Pure."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from .checks import LONGEST_NAME


def own_name(function: Callable[..., Any]) -> str:
    """Return a name that is nobody else's: module and function, what is too long with a digest of the whole."""
    full = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    plain = printable(full)
    if len(plain) <= LONGEST_NAME and plain == full:
        return plain
    mark = sha256(full.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{mark}.{plain[-(LONGEST_NAME - len(mark) - 1) :]}"


def printable(name: str) -> str:
    """Return what of a name may stand in headers and keys."""
    return "".join(letter for letter in name.encode("ascii", "backslashreplace").decode() if letter.isprintable())
