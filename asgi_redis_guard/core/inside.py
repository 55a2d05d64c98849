"""What guards of a stack further in have found out, for a response of a stack around it that has to know. Pure.

The scope that their app gets is a copy: nobody further out sees from it that the request was somebody's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

#: Takes the facts of stacks further in, in this context; None where nobody wants to know.
INSIDE: ContextVar[Callable[[Mapping[str, Any]], None] | None] = ContextVar("asgi_redis_guard_inside", default=None)


def tell_outside(facts: Mapping[str, Any]) -> None:
    """Tell what was found out about the request."""
    if facts and (hear := INSIDE.get()) is not None:
        hear(facts)
