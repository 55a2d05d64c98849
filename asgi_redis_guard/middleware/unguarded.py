"""Warns of routes that a framework calls without the guards which their functions were given."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from types import FunctionType
from typing import Any

from ..core.warnings import Warnings

logger = logging.getLogger("asgi_redis_guard.middleware")
_warnings = Warnings(logger)


def warn_of_bare(endpoint: Any, bare: Collection[Callable[..., Any]]) -> None:
    """Warn if `endpoint` is one of the `bare` functions, as they were before they had guards."""
    if isinstance(endpoint, FunctionType) and endpoint in bare:
        _warnings.tell(
            "unguarded-route",
            f"{endpoint.__module__}.{endpoint.__qualname__} has guards and is called without them: their decorator "
            "must stand beneath the framework's own",
        )
