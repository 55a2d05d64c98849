"""A strict parser of RFC 9651 lists, written from §4.2 and nothing else: what it does not know is an error."""

import re
from typing import Any

_KEY = re.compile(r"[a-z*][a-z0-9_\-.*]*")
_INTEGER = re.compile(r"-?[0-9]{1,15}(?![0-9.])")
_STRING = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_SPACE = re.compile(r"[ \t]*")

Item = tuple[str, dict[str, Any]]


def parse_list(text: str) -> list[Item]:
    """Parse a List of Strings with parameters that are Integers or Strings (§4.2.1, §4.2.3)."""
    assert text.isascii()
    members: list[Item] = []
    rest = text.strip(" ")
    assert rest, "an empty list is not sent at all (§3.1)"
    while True:
        value, rest = _bare(rest)
        assert isinstance(value, str), "the draft asks for Strings"
        parameters, rest = _parameters(rest)
        members.append((value, parameters))
        rest = rest[_SPACE.match(rest).end() :]  # type: ignore[union-attr]
        if not rest:
            return members
        assert rest[0] == ",", f"what is {rest!r}?"
        rest = rest[1:]
        rest = rest[_SPACE.match(rest).end() :]  # type: ignore[union-attr]
        assert rest, "a trailing comma"


def _parameters(rest: str) -> tuple[dict[str, Any], str]:
    found: dict[str, Any] = {}
    while rest.startswith(";"):
        rest = rest[1:].lstrip(" ")
        name = _KEY.match(rest)
        assert name, f"no key: {rest!r}"
        assert name[0] not in found, "given twice"
        rest = rest[name.end() :]
        value: Any = True
        if rest.startswith("="):
            value, rest = _bare(rest[1:])
        found[name[0]] = value
    return found, rest


def _bare(rest: str) -> tuple[Any, str]:
    if number := _INTEGER.match(rest):
        return int(number[0]), rest[number.end() :]
    text = _STRING.match(rest)
    assert text, f"neither an Integer nor a String: {rest!r}"
    return re.sub(r"\\(.)", r"\1", text[1]), rest[text.end() :]
