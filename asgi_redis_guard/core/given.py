"""What a request gives several times perhaps, where a key needs one of it: headers, cookies, parameters. Pure.

Law: of different values none is chosen, for nobody knows which of them the app goes by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .cookies import clear_cookies
from .documents import Unclear
from .exchange import Exchange


def values_of(kind: str, name: str) -> Callable[[Exchange], Sequence[str | bytes]] | None:
    """Return what reads all values that a request gives for a header, a cookie or a parameter."""
    raw = name.encode("latin-1")
    field = raw.lower()
    kinds: dict[str, Callable[[Exchange], Sequence[str | bytes]]] = {
        "header": lambda exchange: exchange.headers(field),
        "cookie": lambda exchange: clear_cookies(exchange, raw),
        "query": lambda exchange: exchange.query(name),
    }
    return kinds.get(kind)


def agreed(word: str, values: Sequence[str | bytes]) -> tuple[str, str | bytes] | None:
    """Return the one value that all of them are, beside its name; None without any. Raises `Unclear`."""
    if not values:
        return None
    if values.count(values[0]) < len(values):
        raise Unclear(word)
    return word, values[0]
