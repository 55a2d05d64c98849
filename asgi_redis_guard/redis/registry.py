"""The managers of this process: those that everyone with the same settings shares, and what a fork does to all of them.

It knows managers by their methods only; `manager.py` puts them in.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..settings import Settings
    from .manager import RedisManager

#: The settings that a manager goes by.
_OWN_SETTINGS = (
    "redis_url",
    "prefix",
    "timeout",
    "connection_timeout",
    "max_connections",
    "max_in_flight",
    "read_from_replicas",
    "replicas",
    "decode_responses",
    "require_redis",
    "production",
)

_shared: dict[tuple[Any, ...], RedisManager] = {}
_managers: weakref.WeakSet[RedisManager] = weakref.WeakSet()

#: Connections of the parent process: kept, so that finalising them never writes to a socket that is not ours.
_inherited: list[Any] = []


def enrol(manager: RedisManager) -> None:
    """Note a manager, for as long as it lives."""
    _managers.add(manager)


def shared(kind: type[RedisManager], settings: Settings) -> RedisManager:
    """Return the manager that everyone with these settings shares, made on the first call."""
    key = tuple(getattr(settings, name) for name in _OWN_SETTINGS)
    manager = _shared.get(key)
    if manager is None:
        manager = _shared[key] = kind(settings=settings)
    return manager


def _start_afresh_in_child() -> None:
    """Forget, in a forked child, connections that belong to the parent; touch none of their sockets."""
    for manager in _managers:
        _inherited.extend(manager.start_afresh())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh_in_child)
