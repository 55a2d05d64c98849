"""Structured fields: what RFC 9651 §4.2 accepts, what it refuses, and how long that may take."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.core.structured import (
    MOST,
    Date,
    DisplayString,
    Token,
    parse_dictionary,
    parse_list,
    quote,
    token_or_string,
)


def item(text: bytes) -> Any:
    """The value of a list of one item without parameters, or "broken"."""
    members = parse_list([text])
    if members is None:
        return "broken"
    ((value, parameters),) = members
    assert not parameters
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # §4.2.4 Integers and Decimals
        (b"42", 42),
        (b"-0", 0),
        (b"0042", 42),
        (b"999999999999999", 999_999_999_999_999),
        (b"-999999999999999", -999_999_999_999_999),
        (b"1000000000000000", "broken"),
        (b"--1", "broken"),
        (b"-", "broken"),
        (b"+1", "broken"),
        (b"- 1", "broken"),
        (b"1.5", 1.5),
        (b"-1.5", -1.5),
        (b"123456789012.125", 123_456_789_012.125),
        (b"1234567890123.1", "broken"),
        (b"1.1234", "broken"),
        (b"1.", "broken"),
        (b".5", "broken"),
        (b"1.5.5", "broken"),
        (b"1e3", "broken"),
        # §4.2.5 Strings
        (b'"hello world"', "hello world"),
        (b'""', ""),
        (b'"a\\"b\\\\c"', 'a"b\\c'),
        (b'"a\\b"', "broken"),
        (b'"open', "broken"),
        (b'"tab\there"', "broken"),
        ('"ü"'.encode(), "broken"),
        (b"'single'", "broken"),
        # §4.2.6 Tokens
        (b"foo123/456", Token("foo123/456")),
        (b"*a:b", Token("*a:b")),
        (b"Token", Token("Token")),
        (b"a=b", "broken"),
        (b"&&&&&", "broken"),
        # §4.2.7 Byte Sequences
        (b":aGVsbG8=:", b"hello"),
        (b":aGVsbG8:", b"hello"),
        (b":iZ==:", b"\x89"),
        (b"::", b""),
        (b":a:", "broken"),
        (b":aGVsbG8=", "broken"),
        (b":aGV sbG8=:", "broken"),
        (b":aGV=sbG8:", "broken"),
        (b":_-Ah:", "broken"),
        # §4.2.8 Booleans
        (b"?1", True),
        (b"?0", False),
        (b"?2", "broken"),
        (b"?", "broken"),
        (b"?true", "broken"),
        # §4.2.9 Dates
        (b"@1659578233", Date(1_659_578_233)),
        (b"@-1", Date(-1)),
        (b"@1.5", "broken"),
        (b"@", "broken"),
        # §4.2.10 Display Strings
        (b'%"f%c3%bc"', DisplayString("fü")),
        (b'%"%25 \\"', DisplayString("% \\")),
        (b'%"f%C3%BC"', "broken"),
        (b'%"%c3"', "broken"),
        (b'%"%4"', "broken"),
        (b'%"open', "broken"),
        (b'%"a"b"', "broken"),
        (b"%a", "broken"),
        # §4.2: spaces around, nothing else behind
        (b"  1  ", 1),
        (b"\t1", "broken"),
        (b"1\t", 1),
        (b"1 2", "broken"),
        (b"1\x00", "broken"),
    ],
)
def test_an_item_is_what_the_algorithm_of_its_type_makes_of_it(text: bytes, value: Any) -> None:
    found = item(text)
    assert (type(found), found) == (type(value), value)


def test_a_string_is_never_taken_for_a_token() -> None:
    assert item(b'"a"') != item(b"a")
    assert not isinstance(item(b"a"), str)


@pytest.mark.parametrize(
    ("fields", "members"),
    [
        ([], {}),
        ([b""], {}),
        ([b"   "], {}),
        ([b"a=1, b=x"], {"a": (1, {}), "b": (Token("x"), {})}),
        ([b"a=1 ,\tb"], {"a": (1, {}), "b": (True, {})}),
        ([b"a=1", b"b=2"], {"a": (1, {}), "b": (2, {})}),
        ([b"a=1,b=2,a=3"], {"a": (3, {}), "b": (2, {})}),
        ([b"a;x=1; y"], {"a": (True, {"x": 1, "y": True})}),
        ([b"a=?0;x=1;x=2"], {"a": (False, {"x": 2})}),
        ([b"a=(1 x;q=2  )"], {"a": ([(1, {}), (Token("x"), {"q": 2})], {})}),
        ([b'a=("x" "y");n=1'], {"a": ([("x", {}), ("y", {})], {"n": 1})}),
        ([b"a=()"], {"a": ([], {})}),
        ([b"*a_-.*=1"], {"*a_-.*": (1, {})}),
        ([b"a=1,"], None),
        ([b",a=1"], None),
        ([b"a=1,,b=2"], None),
        ([b"a=1", b""], None),
        ([b"a=1 b=2"], None),
        ([b"a =1"], None),
        ([b"a= 1"], None),
        ([b"a="], None),
        ([b"A=1"], None),
        ([b"MaX-aGe=1"], None),
        ([b"1a=1"], None),
        ([b"a;=1"], None),
        ([b"a;X=1"], None),
        ([b"a ;x=1"], None),
        ([b"a=(1,2)"], None),
        ([b"a=(1 2"], None),
        ([b'a=("x""y")'], None),
        ([b"a=(1\t2)"], None),
        ([b"a=((1))"], None),
        ([b"a=\xff"], None),
    ],
)
def test_a_dictionary_parses_wholly_or_not_at_all(fields: list[bytes], members: Any) -> None:
    assert parse_dictionary(fields) == members


@pytest.mark.parametrize(
    ("fields", "members"),
    [
        ([], []),
        ([b""], []),
        ([b'"a", "b"', b'"c"'], [("a", {}), ("b", {}), ("c", {})]),
        ([b"a;x, (1 2);y"], [(Token("a"), {"x": True}), ([(1, {}), (2, {})], {"y": True})]),
        ([b'"a",'], None),
        ([b'"a" "b"'], None),
        ([b'"a'], None),
        ([b'"a', b'b"'], [("a, b", {})]),  # §4.2: lines are joined first
    ],
)
def test_a_list_parses_wholly_or_not_at_all(fields: list[bytes], members: Any) -> None:
    assert parse_list(fields) == members


@pytest.mark.parametrize(
    "field",
    [
        b'"' + b"\\" * 65_536,
        b"a," * 32_768,
        b"(" * 65_536,
        b"a;" * 32_768,
        b'a="' * 20_000,
        b" " * 65_536,
        b"1" * 65_536,
    ],
    ids=lambda field: repr(field[:4]),
)
def test_what_is_longer_than_the_bound_is_broken(field: bytes) -> None:
    assert parse_dictionary([field]) is None
    assert parse_list([field]) is None


def test_the_bound_counts_all_lines() -> None:
    assert parse_list([b"a" * (MOST - 2)]) is not None
    assert parse_list([b"a" * (MOST - 1)]) is None
    assert parse_list([b"a"] * (MOST // 3 + 1)) is None


@given(st.binary(max_size=60) | st.text('abA*=,;()" \t\\:?@%019.-', max_size=60).map(str.encode))
def test_no_bytes_raise(field: bytes) -> None:
    parse_dictionary([field])
    parse_list([field])


_printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)


@given(_printable, _printable)
def test_what_is_quoted_is_read_back(text: str, other: str) -> None:
    assert parse_list([quote(text).encode(), quote(other).encode()]) == [(text, {}), (other, {})]


@given(_printable)
def test_a_word_stays_bare_only_where_it_is_a_token(text: str) -> None:
    assert item(token_or_string(text).encode()) in (text, Token(text))
    assert token_or_string("Guard-1") == "Guard-1"
    assert token_or_string("two words") == '"two words"'


@given(st.integers(-(10**12) + 1, 10**12 - 1), st.integers(0, 999))
def test_decimals_keep_all_their_digits(whole: int, thousandths: int) -> None:
    found = item(f"{whole}.{thousandths:03}".encode())
    assert type(found) is float
    assert f"{found:.3f}" == f"{whole}.{thousandths:03}"
    assert math.isfinite(found)
