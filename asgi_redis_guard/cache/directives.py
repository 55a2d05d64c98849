"""Cache-Control (RFC 9111 §5.2), its targeted forms (RFC 9213) and Pragma, read into one frozen object. Pure.

Reading never fails. Where a field can be understood in two ways, it is understood as the one that stores and reuses
less: a lifetime that is no number is 0, of two the shorter counts, and a word that forbids is seen in any case, between
quotes of any kind and after a forgotten comma.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import Any

from ..core.asgi import Headers
from ..core.structured import Member, Token, parse_dictionary

#: Seconds that stand for all longer times (RFC 9111 §1.2.2).
LONGEST = 2**31

#: Bytes of the lines of one field that are looked at; more of them count as `no-store`.
_MOST = 4_096

#: Bytes of fields whose reading is remembered.
_SHORT = 256


@dataclass(frozen=True, slots=True)
class CacheControl:
    """The directives of one request or response; times in whole seconds, None where they are not given.

    `max_stale` is infinite where it has no value. `no_cache_fields` and `private_fields` are the lower-case names of
    the qualified forms, which leave `no_cache` and `private` alone.
    """

    max_age: int | None = None
    s_maxage: int | None = None
    min_fresh: int | None = None
    max_stale: int | float | None = None
    stale_while_revalidate: int | None = None
    stale_if_error: int | None = None
    no_cache: bool = False
    no_store: bool = False
    private: bool = False
    public: bool = False
    must_revalidate: bool = False
    proxy_revalidate: bool = False
    must_understand: bool = False
    only_if_cached: bool = False
    immutable: bool = False
    no_transform: bool = False
    no_cache_fields: frozenset[bytes] = frozenset()
    private_fields: frozenset[bytes] = frozenset()


#: What no field says, and a field with no directive that is known.
NOTHING = CacheControl()


def _attributes(*directives: str) -> dict[bytes, str]:
    return {directive.encode(): directive.replace("-", "_") for directive in directives}


_LIFETIMES = _attributes("max-age", "s-maxage", "stale-while-revalidate", "stale-if-error")
_FLAGS = _attributes("no-store", "public", "must-revalidate", "proxy-revalidate", "must-understand")
_FLAGS |= _attributes("only-if-cached", "immutable", "no-transform")
_QUALIFIED = _attributes("no-cache", "private")
#: What is seen in members that are malformed as well.
_FORBIDDING = _QUALIFIED | _attributes("no-store", "must-revalidate", "proxy-revalidate")

_NAME = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_MEMBER = re.compile(
    rb"[ \t,]*+(?:(?P<name>" + _NAME + rb"++)"
    rb"(?:=(?:(?P<token>" + _NAME + rb"++)|\"(?P<text>[^\"\\]*+(?:\\.[^\"\\]*+)*)\"))?[ \t]*+(?:,|$)"
    rb"|(?P<malformed>[^,]++)|$)",
    re.DOTALL,
)
_FIELD_NAME = re.compile(_NAME + rb"++")
_WORD = re.compile(rb"[a-z0-9_.\-]++")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def parse_cache_control(fields: Sequence[bytes]) -> CacheControl:
    """Read all lines of a Cache-Control field, of a request or a response."""
    if not fields:
        return NOTHING
    length = sum(map(len, fields)) + len(fields)
    if length <= _SHORT:
        return _remembered(tuple(fields))
    return _control_of(fields) if length <= _MOST else _REFUSING


def parse_targeted(fields: Sequence[bytes]) -> CacheControl | None:
    """Read all lines of a targeted field such as CDN-Cache-Control (RFC 9213 §2.1).

    None where the field is empty or no dictionary, or a directive's value has a wrong type: it is as if it was not
    there. Directives and parameters that are not known do not matter.
    """
    members = parse_dictionary(fields)
    if not members:
        return None
    found: dict[str, Any] = {}
    for key, member in members.items():
        if not _put_typed(found, key.encode(), member):
            return None
    return CacheControl(**found)


def request_control(headers: Headers) -> CacheControl:
    """Return what a request asks of caches: its Cache-Control or, only where it has none, its Pragma (§5.4)."""
    fields = [value for name, value in headers if name == b"cache-control"]
    if fields:
        return parse_cache_control(fields)
    pragma = [value for name, value in headers if name == b"pragma"]
    return _NO_CACHE if pragma and parse_cache_control(pragma).no_cache else NOTHING


_NO_CACHE = CacheControl(no_cache=True)
_REFUSING = CacheControl(no_store=True, no_cache=True, private=True)


@lru_cache(maxsize=1024)
def _remembered(fields: tuple[bytes, ...]) -> CacheControl:
    return _control_of(fields)


def _control_of(fields: Sequence[bytes]) -> CacheControl:
    found: dict[str, Any] = {}
    for field in fields:  # each by itself: an open quote does not swallow the next line
        for member in _MEMBER.finditer(field):
            name, malformed = member["name"], member["malformed"]
            if malformed is not None:
                _put_malformed(found, malformed.lower())
            elif name is not None and not _put(found, name.lower(), _value_of(member)):
                _put_words(found, name.lower())
    return CacheControl(**found) if found else NOTHING


def _value_of(member: re.Match[bytes]) -> bytes | None:
    text = member["text"]
    if text is None:
        return member["token"]
    return _ESCAPED.sub(rb"\1", text) if b"\\" in text else text


def _put(found: dict[str, Any], name: bytes, value: bytes | None) -> bool:
    """Note a well-formed member; False where the directive is not known."""
    if name in _LIFETIMES:
        _least(found, _LIFETIMES[name], delta_seconds(value) or 0)
    elif name in _FLAGS:
        found[_FLAGS[name]] = True
    elif name in _QUALIFIED:
        _put_fields(found, _QUALIFIED[name], value)
    elif name == b"max-stale":
        _least(found, "max_stale", inf if value is None else delta_seconds(value) or 0)
    elif name == b"min-fresh":
        seconds = delta_seconds(value)
        if seconds is not None:
            found["min_fresh"] = max(seconds, found.get("min_fresh", 0))
    else:
        return False
    return True


def _put_fields(found: dict[str, Any], flag: str, value: bytes | None) -> None:
    """Note `no-cache` or `private`: qualified where it names fields and nothing else (§5.2.2.4, §5.2.2.7)."""
    names = [name.strip(b" \t") for name in (value or b"").split(b",")]
    names = [name for name in names if name]
    if names and all(map(_FIELD_NAME.fullmatch, names)):
        listed = flag + "_fields"
        found[listed] = found.get(listed, frozenset()) | {name.lower() for name in names}
    else:
        found[flag] = True


def _put_malformed(found: dict[str, Any], member: bytes) -> None:
    """Note what a member that is none may have meant; with a quote in it, nothing behind it is sure either."""
    if b'"' in member:
        found["no_store"] = True
    _put_words(found, member)
    for word in _WORD.findall(member):
        if word in _LIFETIMES:
            found[_LIFETIMES[word]] = 0
        elif word == b"max-stale":
            found["max_stale"] = 0


def _put_words(found: dict[str, Any], text: bytes) -> None:
    for word in _WORD.findall(text):
        if word in _FORBIDDING:
            found[_FORBIDDING[word]] = True


def _least(found: dict[str, Any], name: str, seconds: int | float) -> None:
    found[name] = min(seconds, found.get(name, inf))


def delta_seconds(value: bytes | None) -> int | None:
    """Return delta-seconds (§1.2.2), at most `LONGEST`; None where `value` is none."""
    if not value or not value.isdigit():
        return None
    digits = value.lstrip(b"0")
    return min(int(digits or b"0"), LONGEST) if len(digits) <= 10 else LONGEST


def _put_typed(found: dict[str, Any], name: bytes, member: Member) -> bool:
    """Note a member of a targeted field; False where its value has a wrong type."""
    value = member[0]
    if name in _LIFETIMES:
        if type(value) is not int:
            return False
        found[_LIFETIMES[name]] = min(max(value, 0), LONGEST)
    elif type(value) is bool:
        if value and (flag := _FLAGS.get(name) or _QUALIFIED.get(name)):
            found[flag] = True
    elif name in _QUALIFIED:
        text = value.text if isinstance(value, Token) else value
        if not isinstance(text, str):
            return False
        _put_fields(found, _QUALIFIED[name], text.encode())
    else:
        return name not in _FLAGS
    return True
