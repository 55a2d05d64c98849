"""Structured fields (RFC 9651, which replaces RFC 8941): a strict parser of dictionaries and lists, and their strings.

A field with any error in it is no field at all (§4.2), so everything here answers None rather than half a result.
Pure; linear in the length of the field, which is bounded.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass

#: Bytes of one field that are looked at; what is longer counts as broken.
MOST = 16_384


@dataclass(frozen=True, slots=True)
class Token:
    """A Token (§3.3.4): a bare word, which is never equal to a String of the same characters."""

    text: str


@dataclass(frozen=True, slots=True)
class Date:
    """A Date (§3.3.7), in seconds since the epoch."""

    seconds: int


@dataclass(frozen=True, slots=True)
class DisplayString:
    """A Display String (§3.3.8): any Unicode text."""

    text: str


#: An Item's value: Integers are int, Decimals float, Strings str, Byte Sequences bytes, Booleans bool (an int as well:
#: tell them apart by `type`).
Item = int | float | str | bytes | bool | Token | Date | DisplayString
Parameters = dict[str, Item]
#: The Items of an Inner List with their parameters.
InnerList = list[tuple[Item, Parameters]]
#: A member of a list or dictionary, with its parameters.
Member = tuple[Item | InnerList, Parameters]

_OWS = re.compile(r"[ \t]*+")
_SP = re.compile(r" *+")
_KEY = re.compile(r"[a-z*][a-z0-9_\-.*]*+")
_DECIMAL = re.compile(r"-?[0-9]{1,12}\.[0-9]{1,3}")
_INTEGER = re.compile(r"-?[0-9]{1,15}")
_STRING = re.compile(r'"([ !#-\[\]-~]*+(?:\\["\\][ !#-\[\]-~]*+)*)"')
_TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+\-.^_`|~:/]*+")
_BYTES = re.compile(r":([A-Za-z0-9+/]*+)=*+:")
_BOOLEAN = re.compile(r"\?([01])")
_DISPLAY = re.compile(r'%"([ !#$&-~]*+(?:%[0-9a-f]{2}[ !#$&-~]*+)*)"')
_ESCAPED = re.compile(r"\\(.)")
_ENCODED = re.compile(rb"%([0-9a-f]{2})")


def quote(text: str) -> str:
    """Return `text` as a String (§3.3.3); it is printable ASCII."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def token_or_string(text: str) -> str:
    """Return `text`, printable ASCII, as a Token where it can be one, else as a String."""
    return text if _TOKEN.fullmatch(text) else quote(text)


def parse_dictionary(fields: Sequence[bytes]) -> dict[str, Member] | None:
    """Parse a Dictionary (§4.2.2) from all lines of a field, in order; None if there is any error, {} if it is empty.

    Of a key that is there twice, the last member counts.
    """
    reader = _reader_of(fields)
    if reader is None:
        return None
    try:
        return reader.dictionary()
    except _Broken:
        return None


def parse_list(fields: Sequence[bytes]) -> list[Member] | None:
    """Parse a List (§4.2.1) from all lines of a field, in order; None if there is any error, [] if it is empty."""
    reader = _reader_of(fields)
    if reader is None:
        return None
    try:
        return reader.list()
    except _Broken:
        return None


class _Broken(Exception):
    """The field does not parse."""


def _reader_of(fields: Sequence[bytes]) -> _Reader | None:
    if sum(map(len, fields)) + 2 * len(fields) > MOST:
        return None
    try:
        return _Reader(b", ".join(fields).decode("ascii").strip(" "))
    except UnicodeDecodeError:
        return None


class _Reader:
    """The algorithms of §4.2, over one text and the place that is reached in it."""

    __slots__ = ("at", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def list(self) -> list[Member]:
        members: list[Member] = []
        while self._more(bool(members)):
            members.append(self._member())
        return members

    def dictionary(self) -> dict[str, Member]:
        members: dict[str, Member] = {}
        while self._more(bool(members)):
            key = self._take(_KEY)[0]
            members[key] = self._member() if self._skip("=") else (True, self._parameters())
        return members

    def _more(self, started: bool) -> bool:
        """Go to the next member; False at the end."""
        if not started:
            return bool(self.text)
        self._take(_OWS)
        if self.at == len(self.text):
            return False
        self._need(",")
        self._take(_OWS)
        if self.at == len(self.text):
            raise _Broken("a trailing comma")
        return True

    def _member(self) -> Member:
        value = self._inner_list() if self._skip("(") else self._bare()
        return value, self._parameters()

    def _inner_list(self) -> InnerList:
        items: InnerList = []
        while True:
            spaces = self._take(_SP)[0]
            if self._skip(")"):
                return items
            if items and not spaces:
                raise _Broken("nothing between two items")
            items.append((self._bare(), self._parameters()))

    def _parameters(self) -> Parameters:
        parameters: Parameters = {}
        while self._skip(";"):
            self._take(_SP)
            key = self._take(_KEY)[0]
            parameters[key] = self._bare() if self._skip("=") else True
        return parameters

    def _bare(self) -> Item:
        first = self.text[self.at : self.at + 1]
        if first == '"':
            return _ESCAPED.sub(r"\1", self._take(_STRING)[1])
        if first == "?":
            return self._take(_BOOLEAN)[1] == "1"
        if first == ":":
            return _decoded(self._take(_BYTES)[1])
        if first == "@":
            self.at += 1
            return Date(int(self._take(_INTEGER)[0]))
        if first == "%":
            return DisplayString(_displayed(self._take(_DISPLAY)[1]))
        if first == "-" or first.isdigit():
            return self._number()
        return Token(self._take(_TOKEN)[0])

    def _number(self) -> int | float:
        """Read an Integer or Decimal (§4.2.4). One that is too long leaves digits behind, which nothing accepts."""
        found = _DECIMAL.match(self.text, self.at)
        if found is None:
            return int(self._take(_INTEGER)[0])
        self.at = found.end()
        return float(found[0])

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise _Broken(pattern.pattern)
        self.at = found.end()
        return found

    def _skip(self, character: str) -> bool:
        found = self.text.startswith(character, self.at)
        self.at += found
        return found

    def _need(self, character: str) -> None:
        if not self._skip(character):
            raise _Broken(character)


def _decoded(text: str) -> bytes:
    """Decode Base64; padding may be missing and its bits need not be 0 (§4.2.7)."""
    if len(text) % 4 == 1:
        raise _Broken("no Base64 has this length")
    return b64decode(text + "=" * (-len(text) % 4))


def _displayed(text: str) -> str:
    try:
        return _ENCODED.sub(lambda found: bytes.fromhex(found[1].decode()), text.encode()).decode()
    except UnicodeDecodeError:
        raise _Broken("not UTF-8") from None
