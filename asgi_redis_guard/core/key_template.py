"""Keys of locks and of idempotent calls as text with places: `KeyTemplate("import:{user}")`.

Law: no two different inputs make one key. Text and values never run into each other, and each value stands beside the
name of what it is. A value that cannot be told makes no key at all: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..errors import ConfigurationError
from .arguments import TooDeep, name_of, plain_of
from .client_ip import TrustedProxies
from .documents import Unclear, text_at
from .exchange import Exchange
from .given import agreed, values_of
from .identity import Identity, is_key_word
from .paths import lean

#: What fills a place: its name and its value, or None if it cannot be told.
Filling = tuple[str, str | bytes]
_Read = Callable[[Exchange, bytes | None], Filling | None]

_PARTS = re.compile(r"(\{\{|\}\})|\{([^{}]*)\}|([{}])|([^{}]+)")
_TOKEN = re.compile(r"[!#$%&'*+.^_`~0-9A-Za-z-]+")
_ALONE = ("path", "route")
_NAMED = ("header", "cookie", "query", "claim", "param", "json")
_ALLOWED = (
    "{user}, {address}, {method}, {path}, {route}, {header:<name>}, {cookie:<name>}, {query:<name>}, {claim:<name>}, "
    "{param:<name>} or {<name>} for a parameter of the path or the function, {json:<field>.<field>}, those with '|' "
    "between them for the first that can be told, and doubled braces for plain ones"
)


class KeyTemplate:
    """Turns an exchange, or the arguments of a call, into the parts of a key, to be fed to `core.keys.digest`.

    `{user}` is the verified user, for nobody in particular the address; `{path}` the decoded path, `{route}` the
    route's template and function. `{name}`, the same as `{param:name}`, is an argument of the route's function, else a
    parameter of the path. `{json:a.b.0}` is a field of the body: text, a whole number or a truth value. Whole numbers
    and the text of their digits are the same, for apps take one for the other; so are paths that differ in doubled
    slashes or one at the end. A header, cookie, parameter or field that is given with different values, or so that
    readers may differ on it, is `Unclear`: the app may go by another than the key. `option` is what faults name.
    Attributes:

    - `needs`: facts that must be known first; `reads_body`, `reads_arguments`: whether these must be given;
    - `parts`: texts, and for each place the tuple of its words; `names`: the parameters that it names.
    """

    def __init__(self, template: str, proxies: TrustedProxies, *, option: str) -> None:
        self.template = template
        self.parts = _divided(template, option)
        words = {word for part in self.parts if not isinstance(part, str) for word in part}
        kinds = {word.partition(":")[0] for word in words}
        self.needs: frozenset[str] = frozenset(("user",)) if kinds & {"user", "claim"} else frozenset()
        self.reads_body = "json" in kinds
        self.reads_arguments = "param" in kinds
        self.names = frozenset(word[len("param:") :] for word in words if word.startswith("param:"))
        self._foreign = sorted(word for word in words if not word.startswith("param:"))
        self._readers: list[str | tuple[_Read, ...]] = [
            part if isinstance(part, str) else tuple(_reader(word, proxies) for word in part) for part in self.parts
        ]

    def of(self, exchange: Exchange, body: bytes | None = None) -> tuple[str | bytes, ...] | None:
        """Return the parts for an exchange, or None if one of them cannot be told.

        Raises `Unclear` where readers may make different things of what the request says for one of them, and TypeError
        for an argument of the route's function that makes no key: an object of no plain kind.
        """
        found: list[str | bytes] = []
        for part in self._readers:
            if isinstance(part, str):
                found += ("", part)
                continue
            for read in part:
                filling = read(exchange, body)
                if filling is not None:
                    found += filling
                    break
            else:
                return None
        return tuple(found)

    def untold(self, exchange: Exchange, body: bytes | None = None) -> list[str]:
        """The places that an exchange does not fill, or not in one way, as the template has them without braces."""
        places = zip(self.parts, self._readers, strict=True)
        return ["|".join(map(_spelt, part)) for part, readers in places if not _is_told(readers, exchange, body)]

    def of_call(self, arguments: Mapping[str, Any]) -> tuple[str | bytes, ...]:
        """Return the parts for a call outside of requests, of its arguments by name (`core.arguments.bound`).

        Raises `ConfigurationError` where the template wants what only a request has, or no argument of that name is
        there, and TypeError for an argument that is None or makes no key.
        """
        ConfigurationError.raise_for(self.call_faults(arguments))
        found: list[str | bytes] = []
        for part in self.parts:
            if isinstance(part, str):
                found += ("", part)
                continue
            filling = next(filter(None, (_filling(word, arguments[word[len("param:") :]]) for word in part)), None)
            if filling is None:
                raise TypeError(f"{self.template!r}: {{{'|'.join(map(_spelt, part))}}} is None, which makes no key")
            found += filling
        return tuple(found)

    def call_faults(self, parameters: Collection[str]) -> list[str]:
        """What is wrong with the template for calls of a function with these parameters, outside of requests."""
        if self._foreign:
            places = ", ".join(f"{{{word}}}" for word in self._foreign)
            named = [f"{{param:{word}}}" for word in self._foreign if word in parameters]
            hint = f", as {', '.join(named)}" if named else ""
            return [f"{self.template!r} wants {places}, which only a request has; allowed are arguments{hint}"]
        missing = sorted(self.names.difference(parameters))
        there = ", ".join(parameters) or "none"
        return [f"{self.template!r} wants {', '.join(missing)}; the arguments are {there}"] if missing else []

    def __repr__(self) -> str:
        return f"<KeyTemplate {self.template!r}>"


def _divided(template: object, option: str) -> tuple[str | tuple[str, ...], ...]:
    """Divide a template into texts, and for each place the words for what fills it, the first that can be told."""
    if not isinstance(template, str) or not template:
        raise ConfigurationError(
            f"{option}: {template!r} given; allowed is text that is not empty, as 'import:{{user}}'"
        )
    parts: list[str | tuple[str, ...]] = []
    faults = []
    for match in _PARTS.finditer(template):
        brace, place, stray, text = match.groups()
        words = [] if place is None else [_word(word) for word in place.split("|")]
        if stray or None in words:
            what = repr(stray or match[0])
            faults.append(f"{option}: {what} in {template!r}; allowed are {_ALLOWED}")
        elif place is not None:
            parts.append(tuple(word for word in words if word is not None))
        elif parts and isinstance(parts[-1], str):
            parts[-1] += text or brace[0]
        else:
            parts.append(text or brace[0])
    ConfigurationError.raise_for(faults)
    return tuple(parts)


def _word(word: str) -> str | None:
    """Return a word as it stands in keys; None if it is none."""
    kind, _, name = word.partition(":")
    if kind in ("header", "cookie") and not _TOKEN.fullmatch(name):
        return None  # no request can have a field or cookie of that name
    if kind == "header":
        word = word.lower()
    if is_key_word(word) or word in _ALONE:
        return word
    if kind == "json" and all(name.split(".")):
        return word
    if kind == "param" and name:
        return word
    return f"param:{word}" if word.isidentifier() and word not in _NAMED else None


def _reader(word: str, proxies: TrustedProxies) -> _Read:
    """Return what reads one word of an exchange."""
    kind, _, name = word.partition(":")
    if word == "path":
        return lambda exchange, _: (word, lean(exchange.paths[-1]))
    if word == "route":
        return _route
    if kind == "param":
        return lambda exchange, _: _argument(word, exchange.parameters.get(name))
    if kind == "json":
        path = tuple(name.split("."))
        return lambda exchange, body: (
            None if body is None or (text := text_at(exchange.document(body), path)) is None else (word, text)
        )
    if (values := values_of(kind, name)) is not None:
        return lambda exchange, _: agreed(word, values(exchange))
    identity = Identity((word,), proxies)

    def read(exchange: Exchange, _: bytes | None) -> Filling | None:
        found = identity.of(exchange, None)
        return None if found is None else _packed(str(found[0]), found[1:])

    return read


def _is_told(readers: str | tuple[_Read, ...], exchange: Exchange, body: bytes | None) -> bool:
    try:
        return isinstance(readers, str) or any(read(exchange, body) is not None for read in readers)
    except Unclear:
        return False


def _argument(word: str, value: Any) -> Filling | None:
    try:
        return _filling(word, value)
    except TooDeep as error:
        raise Unclear(word) from error


def _filling(word: str, value: Any) -> Filling | None:
    """What an argument fills its place with; what has no plain text carries its type, and is marked as such."""
    if value is None:
        return None
    try:
        text, is_plain = plain_of(value)
    except TooDeep:
        raise
    except TypeError as error:
        name = word.partition(":")[2]
        raise TypeError(
            f"{{{name}}}: {error} makes no key; allowed are text, numbers, truth values, times, UUID, enums and "
            "collections of them"
        ) from None
    return (word if is_plain else f"{word}*", text)


def _route(exchange: Exchange, _: bytes | None) -> Filling | None:
    """The template of the route and its function, as far as the framework tells them."""
    scope = exchange.scope
    template = scope.get("path_template") or getattr(scope.get("route"), "path", "")
    function = exchange.route
    if not function and (endpoint := scope.get("endpoint")) is not None:
        function = name_of(endpoint if hasattr(endpoint, "__qualname__") else type(endpoint))
    return _packed("route", (str(template), function)) if template or function else None


def _packed(name: str, values: tuple[str | bytes, ...]) -> Filling:
    """One value for several, each with its length, and a mark that it is so."""
    if len(values) == 1:
        return name, values[0]
    texts = [value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass") for value in values]
    return f"{name}*", b"".join(b"%d:%b" % (len(text), text) for text in texts)


def _spelt(word: str) -> str:
    return word.removeprefix("param:")
