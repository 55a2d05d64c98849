"""Whose keys a request's are, where each tenant's lie in one slot of a cluster: what `key_tag=` tells. Pure.

Law: what cannot be told in one way is no tag. A tag proves nothing: who may come with it, `JWTAuth(tenant=…)` tells.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..errors import ConfigurationError
from .client_ip import TrustedProxies
from .documents import Unclear
from .exchange import Exchange
from .key_template import KeyTemplate
from .warnings import Warnings

logger = logging.getLogger("asgi_redis_guard.core")
_warnings = Warnings(logger)

#: What `key_tag` takes: a function over the exchange, or one place of a key template.
KeyTagLike = str | Callable[[Exchange], str | None]

#: Characters of a tag beyond which it is none: clients choose some.
LONGEST = 256

_OPTION = "key_tag (GUARD_KEY_TAG)"


class KeyTag:
    """Tells the tag of exchanges, None for none: those share the keys without a tag.

    `given` is a function, or a template of one place: `{host}` (in lower case, without the port), `{header:<name>}`,
    `{query:<name>}`, `{cookie:<name>}`, `{<name>}` for a parameter of the path, where a router around has told it.
    Raises `ConfigurationError`.
    """

    __slots__ = ("_read", "given")

    def __init__(self, given: KeyTagLike) -> None:
        self.given = given
        self._read: Callable[[Exchange], str | bytes | None] = given if callable(given) else _reader(given)

    def of(self, exchange: Exchange) -> str | None:
        """Return the tag of an exchange; raises TypeError where the function returns something else."""
        tag = self._read(exchange)
        if tag.__class__ is bytes:
            tag = tag.decode("utf-8", "surrogateescape")
        if tag is not None and not isinstance(tag, str):
            raise TypeError(f"key_tag returned {tag!r}; allowed are text, and None for none")
        return tag if tag and len(tag) <= LONGEST else None

    def give(self, exchange: Exchange) -> None:
        """Give an exchange the keys of its tag; raises TypeError as `of` does."""
        exchange.is_tagged = True
        if (tag := self.of(exchange)) is not None:
            exchange.keys = exchange.keys.tagged(tag)

    def is_the_same(self, other: KeyTag | None) -> bool:
        """Tell whether two stacks go by the same tags, as far as can be told."""
        return other is not None and (self.given is other.given or self.given == other.given)

    def __repr__(self) -> str:
        return f"<KeyTag {self.given!r}>"


def _reader(template: str) -> Callable[[Exchange], str | bytes | None]:
    if template == "{host}":
        return _host
    made = _template(template)

    def read(exchange: Exchange) -> str | bytes | None:
        try:
            found = made.of(exchange)
        except (Unclear, TypeError):  # given twice with different values, or nothing that makes a key
            return None
        if found is None and made.names.isdisjoint(exchange.parameters):
            _tell_of_names(made)
        return None if found is None else found[1]

    return read


def _template(given: object) -> KeyTemplate:
    """Return the template of one place that a request itself fills; raises `ConfigurationError` for any other."""
    try:
        made = KeyTemplate(given, TrustedProxies(()), option=_OPTION) if isinstance(given, str) else None
    except ConfigurationError:  # it would name all places of keys
        made = None
    if made is None or len(made.parts) != 1 or isinstance(made.parts[0], str) or made.reads_body or made.needs:
        raise ConfigurationError(
            f"{_OPTION}: {given!r} given; allowed is one place that the request itself fills, as '{{host}}', "
            "'{header:x-tenant}' or '{tenant}' for a parameter of the path, or a function"
        )
    return made


def _tell_of_names(made: KeyTemplate) -> None:
    """A middleware around the router cannot know what that finds in the path."""
    if made.names:
        _warnings.tell(
            "no-tag",
            f"key_tag={made.template!r} names a parameter of the path, and no router around the middleware tells it: "
            "such requests have the keys without a tag",
        )


def _host(exchange: Exchange) -> str | None:
    """The host that a request is for, without its port, in lower case; None where several are told, or none."""
    found = {value.strip().lower() for value in exchange.headers(b"host")}
    if len(found) != 1:
        return None
    host = found.pop().decode("latin-1")
    end = host.find("]") + 1 if host.startswith("[") else host.find(":")
    return (host[:end] if end > 0 else host).rstrip(".")
