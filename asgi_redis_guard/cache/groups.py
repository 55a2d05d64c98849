"""Cache groups (RFC 9875): tags that a response names itself, and an answer to a write invalidates. Pure."""

from __future__ import annotations

from ..core.asgi import Headers, Scope
from ..core.structured import parse_list

#: §2: caches take at least 32 groups of at least 32 characters; more are not looked at.
MOST_GROUPS = 32


def groups_of(scope: Scope, headers: Headers, field: bytes = b"cache-groups") -> tuple[str, ...]:
    """Return the tags of the groups that `field` of a response names; none where it is malformed or there are too many.

    A group belongs to its origin (§2.1), so that its tag is none that the app could declare.
    """
    lines = [value for name, value in headers if name == field]
    members = parse_list(lines) if lines else None
    if not members or len(members) > MOST_GROUPS:
        return ()
    names = [item for item, _ in members if isinstance(item, str)]
    origin = _origin(scope)
    return tuple(f"group\n{origin}\n{name}" for name in names) if len(names) == len(members) else ()


def _origin(scope: Scope) -> str:
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    return f"{scope.get('scheme', 'http')}://{host.decode('latin-1').lower()}"
