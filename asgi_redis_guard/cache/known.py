"""What one process remembers of what it has cached, so that one round trip is enough. Pure.

Nothing here is relied on: it says what to ask Redis, whose reply tells whether that was right.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from .policy import CachePolicy

Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """A dictionary that forgets what was put there longest ago. Several threads may use it."""

    __slots__ = ("_found", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | None:
        """Return what is remembered."""
        return self._found.get(key)

    def put(self, key: Key, value: Value) -> None:
        """Remember something; what is there already moves to the end."""
        found = self._found
        found.pop(key, None)
        found[key] = value
        while len(found) > self._most:
            try:
                found.pop(next(iter(found)), None)
            except (RuntimeError, StopIteration):  # another thread is at it
                break

    def drop(self, key: Key) -> None:
        """Forget one."""
        self._found.pop(key, None)

    def __len__(self) -> int:
        return len(self._found)


class Learned(NamedTuple):
    """What the last response on a path has said: what its variants go by, its tags, what was declared for it.

    `tags` still have `{user}` in them where they did. `idle_until` (seconds since the epoch): nothing was declared, and
    nobody asks before. `declared`: something was, once. `personal`: what is answered to credentials is not kept.
    """

    names: bytes = b""
    tags: tuple[str, ...] = ()
    policy: CachePolicy | None = None
    idle_until: float = 0.0
    declared: bool = False
    personal: bool = False


class Known:
    """The memory of one guard in one deployment: by resource, by path, by variant and by tag, each bounded."""

    __slots__ = ("generations", "names", "paths", "tags")

    def __init__(self, most: int = 8192) -> None:
        #: What the variants of a resource go by, by its digest.
        self.names: Recent[bytes, bytes] = Recent(most)
        #: What is known of a path whatever its query, by method, host and path.
        self.paths: Recent[bytes, Learned] = Recent(most)
        #: The digests of a variant's tags, by its entry's key.
        self.tags: Recent[bytes, tuple[bytes, ...]] = Recent(most)
        #: The generation that a tag was last seen to have, by its digest.
        self.generations: Recent[bytes, bytes] = Recent(most)
