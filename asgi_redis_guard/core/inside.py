"""What guards of a stack further in have found out, for a response of a stack around it that has to know. Pure.

The scope that their app gets is a copy: nobody further out sees from it that the request was somebody's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any
from weakref import WeakMethod

Hear = Callable[[Mapping[str, Any]], None]

#: Where to find who takes the facts of stacks further in, in this context; tasks that outlive it hold nothing of it.
_INSIDE: ContextVar[Callable[[], Hear | None] | None] = ContextVar("asgi_redis_guard_inside", default=None)


def hear_inside(hear: Hear) -> None:
    """Let a method take what stacks further in find out in this context, as long as somebody holds its object."""
    _INSIDE.set(WeakMethod(hear))


def tell_outside(facts: Mapping[str, Any]) -> None:
    """Tell what was found out about the request."""
    if facts and (found := _INSIDE.get()) is not None and (hear := found()) is not None:
        hear(facts)
