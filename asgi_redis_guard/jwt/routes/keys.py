"""The route that publishes a token service's public keys (RFC 7517). Pure.

Law: what is sent is `public_jwks()`, which holds no secret; where tokens are signed with secrets, it is an empty set.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import orjson

from ...core.exchange import Exchange
from ...core.steps import Answer
from .answers import content

#: RFC 7517 §8.5.2.
_KIND = b"application/jwk-set+json"

#: RFC 9110 §8.8.3, as far as it stands in If-None-Match; a weak one will do (§13.1.2).
_WEAK = b"W/"


def keys_answer(exchange: Exchange, jwks: Callable[[], dict[str, Any]], max_age: float) -> Answer:
    """Return the JWK set; 304 for whoever has it already. Verifiers may keep it `max_age` seconds."""
    body = orjson.dumps(jwks())
    tag = b'"%b"' % urlsafe_b64encode(sha256(body).digest()[:12])
    headers = [(b"etag", tag), (b"cache-control", b"public, max-age=%d" % max_age)]
    if _has_it(exchange, tag):
        return Answer(304, headers)
    return content(body, _KIND, headers)


def _has_it(exchange: Exchange, tag: bytes) -> bool:
    listed = [part.strip().removeprefix(_WEAK) for part in b",".join(exchange.headers(b"if-none-match")).split(b",")]
    return tag in listed or b"*" in listed
