"""`cache/tags.py`: which names may be, what templates make, and what an entry records of them."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.cache.tags import (
    LONGEST_TAG,
    MOST_TAGS,
    check_tag,
    expand,
    names_in,
    read_tags,
    tag_faults,
    tag_text,
    template_faults,
)
from asgi_redis_guard.core.keys import digest
from asgi_redis_guard.errors import ConfigurationError

digests = st.text(alphabet="AZaz09+/", min_size=20, max_size=20).map(str.encode)
stamp = st.integers(0, 10**16 - 1).map(lambda number: b"%016d" % number)
generations = st.tuples(stamp, stamp).map(b".".join)
G = b"%016d.%016d" % (1, 2)


class Bare:
    """Says nothing of itself."""


class Named:
    secret = "hidden"

    def __str__(self) -> str:
        return "named"


# Names.


@pytest.mark.parametrize("name", ["a", "user:7", "stats", "два слова", "𝄞", "x" * LONGEST_TAG, "ü" * 256, "**", "{x}"])
def test_a_name_is_any_printable_text(name: str) -> None:
    assert check_tag(name) == name
    assert tag_faults("tags", [name]) == []


@pytest.mark.parametrize(
    "name", ["", "*", "a\nb", "a\x00", "\ud800", "x" * 257, "𝄞" * 129, "a\u2028b", b"a", 7, None, ["a"]]
)
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="printable"):
        check_tag(name)
    (fault,) = tag_faults("tags", ["fine", name])
    assert fault.startswith("tags: ")
    assert len(fault) < 300


@pytest.mark.parametrize("names", ["stats", b"stats"])
def test_a_text_in_place_of_a_list_of_tags_is_a_fault(names: Any) -> None:
    assert len(tag_faults("tags", names)) == len(template_faults("tags", names)) == 1


# Templates.


@pytest.mark.parametrize(
    ("template", "values", "tag"),
    [
        ("stats", {}, "stats"),
        ("user:{user}", {"user": "7"}, "user:7"),
        ("user:{user}", {"user": 7}, "user:7"),
        ("{a}{b}{a}", {"a": "x", "b": "y", "c": "z"}, "xyx"),
        ("{a}", {"a": "{b}", "b": "no"}, "{b}"),
        ("{{a}}:{a}", {"a": 1}, "{a}:1"),
        ("{{{a}}}", {"a": 1}, "{1}"),
        ("}}{{", {}, "}{"),
        ("{größe}", {"größe": Decimal("1.50")}, "1.50"),
        ("{id}", {"id": UUID(int=5)}, "00000000-0000-0000-0000-000000000005"),
        ("{x}!", {"x": ""}, "!"),
        ("{x}", {"x": Named()}, "named"),
        ("{x}", {"x": "%s {0} {x.secret} {x!r}"}, "%s {0} {x.secret} {x!r}"),
    ],
)
def test_a_template_takes_values_by_their_names(template: str, values: dict[str, object], tag: str) -> None:
    assert expand(template, values) == tag


@pytest.mark.parametrize(
    "template",
    [
        "{",
        "}",
        "{}",
        "a{b",
        "a}b",
        "{0}",
        "{a.secret}",
        "{a[0]}",
        "{a!r}",
        "{a:>9}",
        "{ a}",
        "{a }",
        "{a{b}}",
        "{{a}",
        "{a}}",
    ],
)
def test_a_template_has_plain_names_alone(template: str) -> None:
    with pytest.raises(ConfigurationError, match="plain name"):
        expand(template, {"a": Named(), "b": "x"})
    with pytest.raises(ConfigurationError, match="plain name"):
        names_in(template)
    (fault,) = template_faults("tags", [template])
    assert fault.startswith("tags: ")


def test_a_value_that_is_not_there_is_told_by_name() -> None:
    with pytest.raises(ValueError, match="'user'"):
        expand("user:{user}", {"other": "7"})


@pytest.mark.parametrize("value", [None, b"x", bytearray(b"x"), Bare(), object()])
def test_a_value_without_a_text_of_its_own_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=type(value).__name__):
        expand("user:{user}", {"user": value})


@pytest.mark.parametrize("value", ["a\r\nb", "x" * 300, "\udc80"])
def test_a_value_that_makes_no_tag_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        expand("user:{user}", {"user": value})


@given(st.text(max_size=20))
def test_text_with_doubled_braces_is_itself(text: str) -> None:
    try:
        expected: str | None = check_tag(text)
    except ValueError:
        expected = None
    template = text.replace("{", "{{").replace("}", "}}")
    assert names_in(template) == ()
    if expected is not None:
        assert expand(template, {}) == expected


def test_names_in_a_template_are_told_once_each_in_their_order() -> None:
    assert names_in("{b}:{a}:{b}:{{c}}") == ("b", "a")


def test_templates_are_looked_at_when_they_are_declared() -> None:
    assert template_faults("tags", ["stats", "user:{user}", "{{x}}"], known=["user", "id"]) == []
    assert template_faults("tags", ["item:{id}"]) == []
    faults = template_faults("tags", ["item:{id}", "*", 7, "a{", "{no}{user}"], known={"user", "name"})
    assert len(faults) == 5
    assert "wants id; there are values of name, user" in faults[0]
    assert "wants no;" in faults[4]
    assert "none" in template_faults("tags", ["{id}"], known=())[0]


# Records.


@given(st.dictionaries(digests, generations, max_size=MOST_TAGS))
def test_what_is_recorded_is_read_again_in_the_order_of_the_digests(tags: dict[bytes, bytes]) -> None:
    text = tag_text(tags.items())
    assert read_tags(text) == sorted(tags.items())
    assert len(text) == 55 * len(tags) <= 9999
    assert tag_text([*reversed(tags.items()), *tags.items()]) == text


def test_digests_of_tags_fit() -> None:
    (pair,) = read_tags(tag_text([(digest("user:7"), G)]))
    assert pair == (digest("user:7"), G)


def test_there_is_a_bound_on_tags() -> None:
    pairs = [(digest(str(number)), G) for number in range(MOST_TAGS + 1)]
    assert len(read_tags(tag_text(pairs[1:]))) == MOST_TAGS
    with pytest.raises(ValueError, match="64"):
        tag_text(pairs)
    with pytest.raises(ValueError, match="64"):
        read_tags(b"".join(b"%b=%b;" % pair for pair in sorted(pairs)))


@pytest.mark.parametrize(
    ("tag", "generation"),
    [
        (b"x" * 19, G),
        (b"x" * 21, G),
        (b"=" * 20, G),
        (b"x" * 20, G + b"0"),
        (b"x" * 20, b""),
        (b"x" * 20, b"\xb2" * 33),
    ],
)
def test_what_is_no_digest_or_no_generation_is_not_recorded(tag: bytes, generation: bytes) -> None:
    with pytest.raises(ValueError):
        tag_text([(tag, generation)])


def test_a_tag_has_one_generation() -> None:
    with pytest.raises(ValueError):
        tag_text([(b"x" * 20, G), (b"x" * 20, G.replace(b"1", b"3"))])


A, B = (b"%b=%b;" % (name * 20, G) for name in (b"a", b"b"))


@pytest.mark.parametrize(
    "text", [A[:-1], A + b"x", b"x" + A, A + b"\n", B + A, A + A, A + b";" + B, b";", A.upper() + b" "]
)
def test_what_is_malformed_is_not_read(text: bytes) -> None:
    with pytest.raises(ValueError):
        read_tags(text)


def test_no_tags_are_no_text() -> None:
    assert (tag_text([]), read_tags(b"")) == (b"", [])
