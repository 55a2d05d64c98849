"""What is told to a guard of limits while it runs: that they were changed, a count reset, a ban lifted. Pure.

A word on the topic is `forget:<guard>:<identity>`, `forget:<guard>:` for everybody's, or `changed:<guard>`.
"""

from __future__ import annotations

import logging
from typing import Protocol

from ..core.keys import Keys, digest
from ..core.script import Operation, OperationKind
from ..core.steps import Ask, Asking
from ..errors import ConfigurationError, RedisUnavailable
from .denials import Denials
from .local import LocalLimits
from .rules import Rules

logger = logging.getLogger("asgi_redis_guard.ratelimit")

CHANGES = OperationKind.load(__package__, "changes.lua")

#: How long changes are kept, from when a process has looked at them last, in ms.
KEPT = 366 * 86_400_000


class Changing(Protocol):
    """The guard, as far as it can be changed."""

    group: str
    rules: Rules
    denials: Denials
    local: LocalLimits


def forget_word(guard: str, identity: bytes = b"") -> bytes:
    """Return the word that somebody's refusals and counts are no more."""
    return b"forget:%b:%b" % (digest(guard), identity)


def changed_word(guard: str) -> bytes:
    """Return the word that the limits of a guard have been changed."""
    return b"changed:%b" % digest(guard)


class Changes:
    """The changes of one guard."""

    def __init__(self, guard: Changing, changeable: bool) -> None:
        self._guard = guard
        self._changeable = changeable
        self._told = ""

    def told(self, word: bytes) -> bool:
        """Take a word; true if the limits must be looked at again."""
        kind, _, rest = word.partition(b":")
        name, _, identity = rest.partition(b":")
        if name != digest(self._guard.group):
            return False
        self._guard.denials.forget(identity or None)
        self._guard.local.forget(lambda hashed: not identity or hashed == identity)
        return kind == b"changed" and self._changeable

    def missed(self, keys: Keys) -> Asking:
        """Look at the limits as they are now."""
        self._guard.denials.forget()
        if not self._changeable:
            return
        try:
            (reply,) = yield Ask([Operation(CHANGES, (keys.limit_changes(self._guard.group.encode()),), (KEPT,))])
        except RedisUnavailable as error:
            logger.debug("changed limits cannot be looked at: %s", error)
            return
        fields = [bytes(field).decode("utf-8", "replace") for field in reply.values[0]]
        found = dict(zip(fields[::2], fields[1::2], strict=True))
        try:
            self._guard.rules.change({rule: written or None for rule, written in found.items()})
        except ConfigurationError as error:
            self._warn(str(error))

    def _warn(self, fault: str) -> None:
        if fault != self._told:
            self._told = fault
            logger.warning("the changed limits of %s cannot be used: %s", self._guard.group, fault)
