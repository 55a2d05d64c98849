"""The options of a `Cache`, checked. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..core.checks import bytes_faults
from ..errors import ConfigurationError
from .codec import Codec
from .events import ValueHook
from .policy import ttl_faults
from .recall import Lifetime
from .serializing import Serializer
from .tags import tag_faults


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueOptions:
    """What a `Cache` was told. Times are in seconds. Raises `ConfigurationError` with all that is wrong."""

    namespace: str
    ttl: float
    jitter: float
    early: float
    wait: float
    serializer: Serializer | None
    integrity_key: str | bytes | None
    compress_from: int | None
    max_size: int
    hooks: tuple[ValueHook, ...]

    def __post_init__(self) -> None:
        faults = ttl_faults("ttl", self.ttl, 0.001) + ttl_faults("wait", self.wait)
        faults += bytes_faults("max_size", self.max_size) + namespace_faults(self.namespace)
        if not _is_between(self.jitter, 0.5):
            faults.append(f"jitter: {self.jitter!r} given; allowed is a part of the lifetime from 0 to 0.5")
        if not _is_between(self.early, 100):
            faults.append(f"early: {self.early!r} given; allowed are 0 (never) to 100")
        own = self.serializer
        if own is not None and not (isinstance(own, tuple) and len(own) == 2 and all(map(callable, own))):
            faults.append(f"serializer: {own!r} given; allowed are two functions, to bytes and back, and None")
        faults += [f"on_event: {hook!r} given; allowed are functions" for hook in self.hooks if not callable(hook)]
        ConfigurationError.raise_for(faults)

    def codec(self) -> Codec:
        """Return what makes bytes of entries; raises `ConfigurationError`."""
        key = self.integrity_key
        return Codec(key.encode() if isinstance(key, str) else key, self.compress_from, max_body=self.max_size)

    def lifetime(self, ttl: float | None, swr: float, sie: float) -> Lifetime:
        """Return how long one value is kept; raises `ConfigurationError`."""
        lifetime = Lifetime(self.ttl if ttl is None else ttl, swr, sie)
        faults = ttl_faults("ttl", lifetime.ttl, 0.001) + ttl_faults("swr", swr) + ttl_faults("sie", sie)
        ConfigurationError.raise_for(faults)
        return lifetime


def namespace_faults(namespace: object) -> list[str]:
    """What is wrong with the name of a namespace."""
    if isinstance(namespace, str) and 0 < len(namespace) <= 128 and namespace.isprintable():
        return []
    return [f"namespace: {namespace!r} given; allowed are 1 to 128 printable characters"]


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return tags as they were given; raises `ConfigurationError`."""
    if not tags:
        return ()
    listed = tags if isinstance(tags, str | bytes) else tuple(tags)
    ConfigurationError.raise_for(tag_faults("tags", listed))
    return tuple(listed) if not isinstance(listed, str | bytes) else ()


def checked_key(key: Any) -> str:
    """Return a key as it was given; raises TypeError."""
    if not isinstance(key, str):
        raise TypeError(f"key: a {type(key).__name__} given; allowed is str")
    return key


def _is_between(value: object, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
