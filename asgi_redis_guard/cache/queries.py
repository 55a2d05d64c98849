"""The query of a request as a part of its key: raw, but for what the options leave out or put in order. Pure.

Names are compared as forms decode them (`+` and percent-encoding, WHATWG URL §5.1), for matching and sorting alone;
what is kept is kept as it was sent. Only `&` separates: an app that still splits at `;` sees more parameters than are
seen here, so one with a `;` in it is never left out (parameter cloaking).
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import unquote_plus

from ..core.checks import several

#: Parameters, and bytes, of a query that is looked into.
_MOST, _LONGEST = 128, 8192


class Queries:
    """What of a query counts. `ignore`: names, with `*` at the end for all that begin so. `sort`: by name, stable."""

    __slots__ = ("_names", "_prefixes", "_sort", "changes")

    def __init__(self, sort: bool = False, ignore: Iterable[str] = ()) -> None:
        names = several(ignore)
        self._names = frozenset(name for name in names if not name.endswith("*"))
        self._prefixes = tuple(name[:-1] for name in names if name.endswith("*"))
        self._sort = sort
        #: True if a query may count otherwise than as it is.
        self.changes = sort or bool(names)

    def normal(self, query: bytes) -> bytes:
        """Return what counts of `query`.

        Parameters whose names an app may take for the same keep their order, so `a=1&a=2` is never `a=2&a=1`.
        """
        if not query or not self.changes or not query.isascii():
            return query  # raw bytes past ASCII no client sends, and apps decode them differently
        if query.count(b"&") >= _MOST or len(query) > _LONGEST:
            return query  # to look at them all would take longer than to answer
        named = [(_name(parameter), parameter) for parameter in query.split(b"&")]
        if self._names or self._prefixes:
            named = [pair for pair in named if not self._is_ignored(*pair)]
        if self._sort:
            named.sort(key=_first)
        return b"&".join([parameter for _, parameter in named])

    def _is_ignored(self, name: str, parameter: bytes) -> bool:
        return (name in self._names or name.startswith(self._prefixes)) and b";" not in parameter


def ignore_faults(option: str, names: Iterable[object]) -> list[str]:
    """What is wrong with names to ignore."""
    return [
        f"{option}: {name!r} given; allowed are names of parameters, with '*' only at the end"
        for name in ((names,) if isinstance(names, str) else names)
        if not isinstance(name, str) or not name or "*" in name[:-1]
    ]


def _name(parameter: bytes) -> str:
    """The name as forms decode it; what is no UTF-8 is replaced, as frameworks do: it merges names rather than not."""
    return unquote_plus(parameter.partition(b"=")[0].decode("latin-1"), "utf-8", "replace")


def _first(pair: tuple[str, bytes]) -> str:
    return pair[0]
