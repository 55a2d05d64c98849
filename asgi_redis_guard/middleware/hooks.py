"""Which methods of an exchange's responders are to be called: a table, made once for each combination of types."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from ..core.responder import Responder


class Hooks:
    """The places of the responders that have each method; responders are given outermost first."""

    __slots__ = ("binds", "body", "end", "hold", "hold_streams", "outlives", "receive", "rescue", "start", "watches")

    def __init__(self, types: tuple[type[Responder], ...]) -> None:
        def having(hook: str) -> tuple[int, ...]:
            return tuple(place for place, kind in enumerate(types) if hook in kind.hooks)

        self.start = having("start")[::-1]  # inside first
        self.body = having("body")
        self.receive = having("receive")
        self.end = having("end")
        self.rescue = having("rescue")[::-1]
        self.binds = having("bind")
        self.watches = bool(self.receive or self.end)
        self.outlives = any(kind.outlives for kind in types)
        self.hold = max((kind.hold for kind in types), default=0)
        self.hold_streams = max((kind.hold for kind in types if kind.holds_streams), default=0)


_hooks_of_types = lru_cache(maxsize=1024)(Hooks)


def hooks_of(responders: Sequence[Responder]) -> Hooks:
    """Return the table for `responders`."""
    return _hooks_of_types(tuple([responder.__class__ for responder in responders]))
