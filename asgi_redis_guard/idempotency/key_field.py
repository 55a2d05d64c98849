"""The `Idempotency-Key` field (draft-ietf-httpapi-idempotency-key-header-07 §2.1): what key it names. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..core.structured import parse_list

#: Characters of a key: visible ASCII.
_KEY = re.compile(r"[!-~]{1,255}")


def key_of(fields: Sequence[bytes]) -> str | None:
    """Return the key of a request whose fields of that name are given; None if they do not name one.

    It is an Item that is a String (RFC 9651 §3.3.3), whose parameters mean nothing; or the bare characters, as most
    clients send them. `"a"` and `a` are one key. A field that stands there twice names none.
    """
    if len(fields) != 1:
        return None
    text = fields[0].decode("latin-1").strip(" \t")
    key = _quoted(fields[0]) if text.startswith('"') else text
    return key if key is not None and _KEY.fullmatch(key) else None


def _quoted(field: bytes) -> str | None:
    members = parse_list((field.strip(b" \t"),))
    if members is None or len(members) != 1:
        return None
    value, _ = members[0]
    return value if isinstance(value, str) else None
