"""What a JWK set that others publish comes to (RFC 7517 §5): the keys that may verify, and nothing secret. Pure.

Keys that are not understood, are for something else, or with which anybody could sign are left out. A document that is
too much, or in which no key is left, is refused whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ...errors import ConfigurationError
from ..keys import KeySet, VerifyKey

#: The members of a public key (RFC 7518 §6, RFC 8037 §2); others are not looked at.
_PUBLIC = frozenset(("kty", "alg", "kid", "crv", "x", "y", "n", "e"))

#: Those of a private one: whoever has read the set could sign with it.
_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))

#: Bits of an RSA key; what is longer takes longer to verify with than a request is worth.
_MOST_BITS = 8192


class DocumentRefused(ValueError):
    """What was fetched is not what it should be; the text says why, and repeats nothing of it."""


def read_keys(body: bytes, algorithms: tuple[str, ...], most: int) -> tuple[VerifyKey, ...]:
    """Return the keys of a JWK set, each bound to those of `algorithms` that it is for.

    Without `algorithms` it is the one that the key names, else the first of its family. Raises `DocumentRefused`.
    """
    raw = _document(body).get("keys")
    if not isinstance(raw, list):
        raise DocumentRefused("it is no JWK set: there is no list of keys in it")
    if len(raw) > most:
        raise DocumentRefused(f"{len(raw)} keys are in it; {most} are the most that are taken")
    keys = tuple([key for one in raw if (key := _read(one, algorithms)) is not None])
    if not keys:
        raise DocumentRefused("no key in it is one that tokens may be verified with")
    return keys


def read_discovery(body: bytes, issuer: str) -> str:
    """Return where an issuer's keys are (OpenID Connect Discovery 1.0 §4.3); raises `DocumentRefused`."""
    document = _document(body)
    if document.get("issuer") != issuer:
        raise DocumentRefused(f"it is the description of another issuer, {str(document.get('issuer'))[:200]!r}")
    url = document.get("jwks_uri")
    if not isinstance(url, str):
        raise DocumentRefused("it does not tell where the keys are (jwks_uri)")
    return url


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise DocumentRefused("it is no JSON object")
    return document


def _read(raw: Any, algorithms: tuple[str, ...]) -> VerifyKey | None:
    """Return one key, None if it is to be left out."""
    if not isinstance(raw, dict) or raw.get("kty") == "oct" or not _PRIVATE.isdisjoint(raw):
        return None
    if raw.get("use") not in (None, "sig") or not isinstance(raw.get("kid", ""), str):
        return None
    uses = raw.get("key_ops")
    if uses is not None and not (isinstance(uses, list) and "verify" in uses):
        return None
    try:
        (key,) = KeySet([{name: raw[name] for name in _PUBLIC.intersection(raw)}], algorithms).keys
    except (ConfigurationError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return None
    return None if getattr(key.material, "key_size", 0) > _MOST_BITS else key
