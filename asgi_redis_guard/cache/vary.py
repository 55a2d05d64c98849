"""What the variants of a resource go by: `Vary`, and the values of the fields that it names (RFC 9111 §4.1).

Pure. Two requests that differ in what their named fields mean never get the same parts; where it is not known that two
spellings mean the same, they are different: that costs one more fill, never a wrong answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from ..core.asgi import Headers
from .fields import OWS

#: A response that varies by more fields than these would hardly ever be used again.
MOST_NAMES = 16
_LONGEST_VARY = 4096
#: Bytes of a value up to which its members are looked at; a longer one stands for itself.
_LONGEST_LIST = 4096
_LONGEST_WEIGHTED = 1024

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_COMMA = re.compile(rb"[ \t]*+,[ \t]*+")
#: RFC 9110 §12.4.2: a weight has at most three decimals.
_WEIGHTED = re.compile(rb"([a-z0-9*_.\-]+)(?:[ \t]*;[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")
#: Case does not count in these, nor does the order of equal weights.
_BY_WEIGHT = frozenset((b"accept-language", b"accept-encoding"))
#: These are no lists: a comma in them is nothing special, and a second line is not the rest of the first.
_SINGLE = frozenset(
    (
        b"authorization",
        b"content-type",
        b"date",
        b"from",
        b"host",
        b"origin",
        b"proxy-authorization",
        b"referer",
        b"user-agent",
        b"x-api-key",
    )
)
_NOTHING: Mapping[bytes, bytes | None] = {}


def vary_names(headers: Headers) -> frozenset[bytes] | None:
    """Return the fields that a response says it varies by, in lower case; none at all if it has no `Vary`.

    None where no later request can be known to match: a `*` on any line and anywhere in it, a member that is no field
    name, and more than 16 names or 4096 bytes, beyond which what is stored would not be met again.
    """
    names: set[bytes] = set()
    size = 0
    for name, value in headers:
        if name != b"vary":
            continue
        size += len(value)
        if size > _LONGEST_VARY:
            return None
        names.update(member.strip(OWS).lower() for member in value.split(b","))
    names.discard(b"")
    if b"*" in names or len(names) > MOST_NAMES or not all(map(_TOKEN.fullmatch, names)):
        return None
    return frozenset(names)


def values(names: Sequence[bytes], request_headers: Headers) -> list[bytes | None]:
    """Return a request's values of the fields `names` (lower case), in their order; None for an absent one.

    An absent field differs from an empty one. Lines of one field are joined by `, `, whitespace around members goes
    (not where a quotation mark is in them, nor in fields that are no lists). `Accept-Language` and `Accept-Encoding`
    are put in lower case and sorted by weight, then by name: RFC 9110 §12.5.4 gives members of the same weight no
    order, so whoever asks for `fr, en` has said that either will do.
    """
    found: dict[bytes, list[bytes]] = {name: [] for name in names}
    for name, value in request_headers:
        if name in found:
            found[name].append(value)
    return [_normal(name, tuple(found[name])) if found[name] else None for name in names]


def variant_parts(
    names: Iterable[bytes], request_headers: Headers, known: Mapping[bytes, bytes | None] = _NOTHING
) -> list[bytes]:
    """Return what stands for a request's variant, to be digested by `core.keys.digest`.

    In the order of the names, whatever order they come in: each name, then its value with a mark in front, so that an
    absent field differs from an empty one. `known` has the values of names that are no fields (`:user`).
    """
    ordered = sorted(set(names))
    fields = [name for name in ordered if name not in known]
    found = {**dict(zip(fields, values(fields, request_headers), strict=True)), **known}
    parts: list[bytes] = []
    for name in ordered:
        value = found[name]
        parts += (name, b"" if value is None else b"=" + value)
    return parts


def _normal(name: bytes, lines: tuple[bytes, ...]) -> bytes:
    if name == b"cookie":
        return b"; ".join(line.strip(OWS) for line in lines)  # RFC 9113 §8.2.3
    if name in _SINGLE:
        return b"\n".join(line.strip(OWS) for line in lines)
    value = b", ".join(lines).strip(OWS)
    if name in _BY_WEIGHT:
        value = value.lower()
        if len(value) <= _LONGEST_WEIGHTED:
            return _by_weight(value)
    if len(value) > _LONGEST_LIST or b'"' in value or b"," not in value:
        return value
    return _COMMA.sub(b", ", value)


@lru_cache(maxsize=512)
def _by_weight(value: bytes) -> bytes:
    """Sort a list of members with weights, the greatest first; one that is not well-formed keeps its order."""
    members: list[tuple[int, bytes]] = []
    for part in value.split(b","):
        part = part.strip(OWS)
        if not part:
            continue  # RFC 9110 §5.6.1.2: empty members do not count
        match = _WEIGHTED.fullmatch(part)
        if match is None:
            return _COMMA.sub(b", ", value)
        members.append((_thousandths(match[2] or b"1"), match[1]))
    members.sort(key=lambda member: (-member[0], member[1]))
    return b", ".join(name if weight == 1000 else b"%b;q=%b" % (name, _weight(weight)) for weight, name in members)


def _thousandths(weight: bytes) -> int:
    whole, _, decimals = weight.partition(b".")
    return int(whole) * 1000 + int(decimals.ljust(3, b"0"))


def _weight(thousandths: int) -> bytes:
    return b"0" if not thousandths else (b"0.%03d" % thousandths).rstrip(b"0")
