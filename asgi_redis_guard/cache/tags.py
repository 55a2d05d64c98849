"""Tags of what is stored: their names, templates for them, and how an entry records their generations. Pure.

A tag is plain text, so that `invalidate(tags=["user:7"])` names what the template `user:{user}` makes of 7. Values
stand in it as they are: with `{a}:{b}`, the values `x:y` and `z` make the same tag as `x` and `y:z`. That invalidates
more than was meant, never less, and shows nobody anything: no stored response is found by its tags. Whoever minds takes
values that cannot contain the separator.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from urllib.parse import quote, unquote

from ..errors import ConfigurationError

#: Characters and bytes of a tag's name, and tags of one response.
LONGEST_TAG, MOST_TAG_BYTES, MOST_TAGS = 256, 512, 64

_PARTS = re.compile(r"(\{\{|\}\})|\{([^\W\d]\w*)\}|([{}])|([^{}]+)")
_RECORD = re.compile(rb"([A-Za-z0-9+/]{20})=([0-9]{16}\.[0-9]{16});")


# Names.


def tag_faults(option: str, names: Iterable[object]) -> list[str]:
    """What is wrong with names of tags that were given for `option`; a single text is no list of them."""
    if isinstance(names, str | bytes):
        return [f"{option}: {names!r} given; allowed is a sequence of tags"]
    return [fault for name in names if (fault := _fault(option, name))]


def check_tag(name: object) -> str:
    """Return the name of a tag as it was given; raises ValueError."""
    if not isinstance(name, str) or _fault("tag", name):
        raise ValueError(_fault("tag", name))
    return name


def _fault(option: str, name: object) -> str:
    if isinstance(name, str) and _is_name(name):
        return ""
    what = repr(name) if len(repr(name)) <= 80 else f"{repr(name)[:80]}…"
    return (
        f"{option}: {what} given; allowed are 1 to {LONGEST_TAG} printable characters, at most {MOST_TAG_BYTES} bytes, "
        "but not '*', which stands for all"
    )


def _is_name(name: str) -> bool:
    return (
        0 < len(name) <= LONGEST_TAG and name.isprintable() and name != "*" and len(name.encode()) <= MOST_TAG_BYTES
    )  # no lone surrogate is printable


# Templates.


def expand(template: str, values: Mapping[str, object]) -> str:
    """Return the tag that `template` makes of `values`: `{name}` is the text of a value, `{{` and `}}` are braces.

    Nothing else: no attributes, indices or formats, through which `str.format` shows what objects are made of. A value
    is one whose type says how its text is: None, bytes and objects that would show their address are refused. Raises
    ValueError for those, for a name without a value, and for what is no tag then; `ConfigurationError` for a template
    that is none.
    """
    return check_tag("".join([part if is_text else _text(part, values) for is_text, part in _parts(template)]))


def names_in(template: str) -> tuple[str, ...]:
    """Return the names of the values that `template` wants, each once; raises `ConfigurationError`."""
    return tuple(dict.fromkeys(part for is_text, part in _parts(template) if not is_text))


def template_faults(option: str, templates: Iterable[object], known: Collection[str] | None = None) -> list[str]:
    """What is wrong with templates of tags that were given for `option`.

    `known` are the names that there will be values of, as far as that can be told when they are declared.
    """
    if isinstance(templates, str | bytes):
        return [f"{option}: {templates!r} given; allowed is a sequence of tags"]
    faults = []
    for template in templates:
        if not isinstance(template, str):
            faults.append(_fault(option, template))
            continue
        try:
            names = names_in(template)
        except ConfigurationError as error:
            faults += [f"{option}: {fault}" for fault in error.faults]
            continue
        unknown = [name for name in names if known is not None and name not in known]
        if unknown:
            allowed = ", ".join(sorted(known or ())) or "none"
            faults.append(f"{option}: {template!r} wants {', '.join(unknown)}; there are values of {allowed}")
        elif fault := _fault(option, "".join(part if is_text else "x" for is_text, part in _parts(template))):
            faults.append(fault)
    return faults


@lru_cache(maxsize=512)
def _parts(template: str) -> tuple[tuple[bool, str], ...]:
    """Divide a template into texts and names, told apart by what comes first."""
    parts = []
    for match in _PARTS.finditer(template):
        brace, name, stray, text = match.groups()
        if stray:
            raise ConfigurationError(
                f"{template!r} given; braces hold a plain name, as in 'user:{{user}}', or are doubled"
            )
        parts.append((name is None, name or text or brace[0]))
    return tuple(parts)


def _text(name: str, values: Mapping[str, object]) -> str:
    if name not in values:
        raise ValueError(f"a tag wants {name!r}, of which there is no value")
    value = values[name]
    if isinstance(value, str):
        return value
    kind = type(value)
    if value is None or isinstance(value, bytes | bytearray) or shows_its_address(kind):
        raise ValueError(f"a tag wants {name!r}, which is of {kind.__name__}: allowed are texts and what has one")
    return str(value)


def shows_its_address(kind: type) -> bool:
    """Tell whether the text of such an object is where it stands, as another may later."""
    return all(vars(one).keys().isdisjoint(("__str__", "__repr__")) for one in kind.__mro__[:-1])


# What a resource's mark says of them.

#: Bytes of hints; longer ones are left out, which costs who does not know the resource a round trip.
_LONGEST_HINTS = 1024


def hints_of(templates: Iterable[str]) -> bytes:
    """Return templates as text without spaces, empty for too many of them."""
    text = ",".join(quote(template, safe="{}:/-_.") for template in templates).encode()
    return text if len(text) <= _LONGEST_HINTS else b""


def read_hints(text: bytes) -> tuple[str, ...]:
    """Return the templates; nothing is relied on that comes of them."""
    if not text or len(text) > _LONGEST_HINTS:
        return ()
    return tuple(unquote(part.decode("ascii", "replace")) for part in text.split(b",")[:MOST_TAGS])


# What an entry records of them.


def tag_text(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return what an entry records of its tags: `digest=generation;` for each, in the order of the digests.

    Digests are of 20 characters, generations of 33. The same pair may be given again. Raises ValueError for anything
    else, for two generations of one tag, and for more than 64 tags: whoever stores then does not.
    """
    text = b"".join(b"%b=%b;" % pair for pair in sorted(set(pairs)))
    read_tags(text)
    return text


def read_tags(text: bytes) -> list[tuple[bytes, bytes]]:
    """Return the digests and generations in what an entry has recorded; raises ValueError where that is malformed."""
    pairs: list[tuple[bytes, bytes]] = _RECORD.findall(text)
    digests = [digest for digest, _ in pairs]
    is_in_order = all(one < other for one, other in pairwise(digests))
    if len(text) != 55 * len(pairs) or not is_in_order or len(pairs) > MOST_TAGS:
        raise ValueError(f"not what is recorded of at most {MOST_TAGS} tags")
    return pairs


def partly(templates: Iterable[str], values: Mapping[str, object]) -> tuple[str, ...]:
    """Put `values` into templates and leave the places of others; what comes of it are templates again.

    Values that make no tag leave their place as it is: whoever puts the rest in finds that.
    """
    return tuple(
        "".join([_quoted(part) if is_text else _or_place(part, values) for is_text, part in _parts(template)])
        for template in templates
    )


def _or_place(name: str, values: Mapping[str, object]) -> str:
    try:
        return _quoted(_text(name, values))
    except ValueError:
        return f"{{{name}}}"


def _quoted(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
