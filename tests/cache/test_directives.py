"""Cache-Control in all spellings, and Pragma. Numbers in brackets are sections of RFC 9111."""

from dataclasses import fields
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.cache.directives import (
    LONGEST,
    NOTHING,
    CacheControl,
    parse_cache_control,
    request_control,
)
from tests.cache.controls import CONTROLS, STRINGS, written


def said(*lines: bytes) -> dict[str, Any]:
    """What the lines say, without what they do not."""
    control = parse_cache_control(lines)
    values = {field.name: getattr(control, field.name) for field in fields(control)}
    return {name: value for name, value in values.items() if value != getattr(NOTHING, name)}


@pytest.mark.parametrize(
    ("lines", "directives"),
    [
        # [5.2]: names in any case, members apart by commas, on any line
        ([b"max-age=3600"], {"max_age": 3600}),
        ([b"MaX-aGe=3600"], {"max_age": 3600}),
        ([b"public,max-age=1\t, \ts-maxage=2"], {"public": True, "max_age": 1, "s_maxage": 2}),
        ([b"public", b"max-age=5"], {"public": True, "max_age": 5}),
        ([b", ,max-age=5,,"], {"max_age": 5}),
        ([b""], {}),
        ([b" "], {}),
        ([b","], {}),
        ([], {}),
        # [5.2.3]: extensions are ignored, with whatever is in their quotes
        ([b"foobar, max-age=3600"], {"max_age": 3600}),
        ([b'foo="bar", max-age=3600'], {"max_age": 3600}),
        ([b'extension="max-age=3600", max-age=1'], {"max_age": 1}),
        ([b'max-age=1, extension="max-age=3600"'], {"max_age": 1}),
        ([b'extension="a, no-store, private", max-age=1'], {"max_age": 1}),
        ([b'extension="\\", no-store", max-age=1'], {"max_age": 1}),
        ([b"no-stores, xprivate, private-x, no-store.x=1"], {}),
        ([b"foo=private, bar=no-store"], {}),
        # [1.2.2]: delta-seconds, quoted or not [5.2]
        ([b"max-age=003600"], {"max_age": 3600}),
        ([b"max-age=0"], {"max_age": 0}),
        ([b"max-age=000"], {"max_age": 0}),
        ([b'max-age="3600"'], {"max_age": 3600}),
        ([b"max-age=2147483647"], {"max_age": 2**31 - 1}),
        ([b"max-age=2147483648"], {"max_age": 2**31}),
        ([b"max-age=99999999999"], {"max_age": 2**31}),
        ([b"max-age=" + b"9" * 4_000], {"max_age": 2**31}),
        ([b"max-age=" + b"0" * 100 + b"7"], {"max_age": 7}),
        # [4.2.1]: what is no number is not fresh
        ([b"max-age='3600'"], {"max_age": 0}),
        ([b"max-age=-1"], {"max_age": 0}),
        ([b"max-age=+1"], {"max_age": 0}),
        ([b"max-age=3600.0"], {"max_age": 0}),
        ([b"max-age=a3600"], {"max_age": 0}),
        ([b"max-age=3600a"], {"max_age": 0}),
        ([b"max-age=1_0"], {"max_age": 0}),
        ([b"max-age=\xb2"], {"max_age": 0}),
        ([b"max-age"], {"max_age": 0}),
        ([b"max-age="], {"max_age": 0}),
        ([b'max-age=""'], {"max_age": 0}),
        ([b'max-age=" 3600"'], {"max_age": 0}),
        ([b"max-age =3600"], {"max_age": 0}),
        ([b"max-age= 3600"], {"max_age": 0}),
        ([b"max-age = 3600"], {"max_age": 0}),
        ([b"max-age:3600"], {"max_age": 0}),
        ([b"max-age=3600;"], {"max_age": 0}),
        ([b"s-maxage=x, max-age=60"], {"s_maxage": 0, "max_age": 60}),
        ([b"stale-while-revalidate=x, stale-if-error"], {"stale_while_revalidate": 0, "stale_if_error": 0}),
        # [4.2.1]: of two, the one that is over sooner
        ([b"max-age=1800, max-age=1"], {"max_age": 1}),
        ([b"max-age=1, max-age=1800"], {"max_age": 1}),
        ([b"max-age=1800", b"max-age=1"], {"max_age": 1}),
        ([b"max-age=1800, max-age=x"], {"max_age": 0}),
        ([b"max-age=1800, max-age =1800"], {"max_age": 0}),
        ([b"max-age =1800, max-age=1800"], {"max_age": 0}),
        # [5.2.1]: of requests
        ([b"max-stale"], {"max_stale": inf}),
        ([b"max-stale=30"], {"max_stale": 30}),
        ([b"max-stale, max-stale=30"], {"max_stale": 30}),
        ([b"max-stale=x"], {"max_stale": 0}),
        ([b"max-stale =5"], {"max_stale": 0}),
        ([b"min-fresh=5, min-fresh=9, min-fresh=7"], {"min_fresh": 9}),
        ([b"min-fresh=x, min-fresh"], {}),
        ([b"only-if-cached"], {"only_if_cached": True}),
        # [5.2.2]: of responses, with an argument that they do not have as well
        (
            [b"No-Store, MUST-revalidate=1, proxy-revalidate, Must-Understand"],
            {"no_store": True, "must_revalidate": True, "proxy_revalidate": True, "must_understand": True},
        ),
        ([b"public, immutable, no-transform=0"], {"public": True, "immutable": True, "no_transform": True}),
        ([b"no-cache"], {"no_cache": True}),
        ([b"No-CaChE"], {"no_cache": True}),
        ([b"PRIVATE"], {"private": True}),
        # [5.2.2.4], [5.2.2.7]: qualified
        ([b'no-cache="a"'], {"no_cache_fields": {b"a"}}),
        ([b'no-cache="A, b-C"'], {"no_cache_fields": {b"a", b"b-c"}}),
        ([b'private=" a ,,\tb,"'], {"private_fields": {b"a", b"b"}}),
        ([b"private=set-cookie"], {"private_fields": {b"set-cookie"}}),
        ([b'no-cache="a", no-cache="b"'], {"no_cache_fields": {b"a", b"b"}}),
        ([b'no-cache="a", no-cache'], {"no_cache": True, "no_cache_fields": {b"a"}}),
        ([b'private, private="a"'], {"private": True, "private_fields": {b"a"}}),
        ([b"private="], {"private": True}),
        ([b'private=""'], {"private": True}),
        ([b'private=" , "'], {"private": True}),
        ([b'private="a b"'], {"private": True}),
        ([b'private="a, \xff"'], {"private": True}),
        ([b'no-cache="a:"'], {"no_cache": True}),
        ([b'private ="a"'], {"private": True, "no_store": True}),
        ([b'private= "a"'], {"private": True, "no_store": True}),
        ([b'private="a'], {"private": True, "no_store": True}),
        ([b'private="a, b, max-age=5'], {"private": True, "no_store": True, "max_age": 5}),
        # words that forbid are seen where a comma, a quote or a blank is wrong
        ([b"private; max-age=60"], {"private": True, "max_age": 0}),
        ([b"private max-age=60"], {"private": True, "max_age": 0}),
        ([b"max-age=60; private"], {"private": True, "max_age": 0}),
        ([b"no-cache no-store must-revalidate"], {"no_cache": True, "no_store": True, "must_revalidate": True}),
        ([b"public; max-age=60"], {"max_age": 0}),
        ([b"'no-store'"], {"no_store": True}),
        ([b'"no-store"'], {"no_store": True}),
        ([b'"private"'], {"private": True, "no_store": True}),
        ([b"no-store\xa0"], {"no_store": True}),
        ([b"\x0bno-store\x0b"], {"no_store": True}),
        ([b"Cache-Control: no-store"], {"no_store": True}),
        ([b'extension="open, private', b"public"], {"no_store": True, "private": True, "public": True}),
        ([b'a="b"c, max-age=60'], {"no_store": True, "max_age": 60}),
    ],
)
def test_cache_control_says(lines: list[bytes], directives: dict[str, Any]) -> None:
    assert said(*lines) == directives


def test_no_field_and_a_field_of_nothing_known_are_the_same_object() -> None:
    assert parse_cache_control([]) is parse_cache_control([b"foo, bar=1"]) is NOTHING
    assert said() == {}


def test_the_same_short_field_is_read_once() -> None:
    assert parse_cache_control([b"max-age=77"]) is parse_cache_control((b"max-age=77",))


@pytest.mark.parametrize(
    "line",
    [b"," * 65_536, b'"' * 65_536, b'a="' * 20_000, b"a," * 32_768, b'a="' + b"\\" * 65_536, b"a" * 65_536],
    ids=lambda line: repr(line[:4]),
)
def test_a_flood_is_neither_read_nor_stored(line: bytes) -> None:
    assert said(b"max-age=60", line) == {"no_store": True, "private": True, "no_cache": True}


def test_the_bound_counts_all_lines() -> None:
    line = b"max-age=60," + b"x" * 2_000
    assert said(line, b"y" * (4_096 - len(line) - 2)) == {"max_age": 60}
    assert said(line, b"y" * (4_096 - len(line) - 1)).get("no_store")
    assert said(*[b""] * 4_097).get("no_store")


@pytest.mark.parametrize("unit", [b",", b'"', b'a="', b"a,", b'a="\\', b"a ", b'a="b', b" ", b"\xff,"])
def test_what_is_just_within_the_bound_is_read(unit: bytes) -> None:
    line = unit * (4_000 // len(unit))
    assert parse_cache_control([line + b",private"]).private or b'"' in line
    assert parse_cache_control([b"private," + line]).private


@given(st.lists(STRINGS.map(str.encode) | st.binary(max_size=40), max_size=4))
def test_no_lines_raise_and_times_are_in_bounds(lines: list[bytes]) -> None:
    control = parse_cache_control(lines)
    for seconds in (control.max_age, control.s_maxage, control.min_fresh, control.stale_if_error):
        assert seconds is None or 0 <= seconds <= LONGEST
    assert all(name == name.lower() and name for name in control.no_cache_fields | control.private_fields)


@given(
    st.lists(STRINGS.filter(lambda text: '"' not in text), max_size=4),
    st.sampled_from(["no-store", "private", "no-cache"]).flatmap(
        lambda word: st.tuples(*(st.sampled_from([letter, letter.upper()]) for letter in word)).map("".join)
    ),
    st.sampled_from(["", " ", "\t", "'", '"', "=", " =", ";", "=''"]),
    st.sampled_from(["", " ", "\t", "'", '"', "=", ";", '="', '=""']),
    st.integers(0, 4),
)
def test_a_word_that_forbids_is_seen_in_any_case_spelling_and_place(
    lines: list[str], word: str, before: str, behind: str, place: int
) -> None:
    lines.insert(place, before + word + behind)
    control = parse_cache_control([", ".join(lines).encode()])
    assert control.no_store or getattr(control, word.lower().replace("-", "_"))


@given(
    st.sampled_from(["no-store", "private", "no-cache", "max-age=0"]),
    st.lists(STRINGS.map(str.encode), max_size=3),
    st.lists(STRINGS.map(str.encode), max_size=3),
)
def test_a_line_is_read_whatever_the_others_are(word: str, before: list[bytes], behind: list[bytes]) -> None:
    control = parse_cache_control([*before, word.encode(), *behind])
    assert {"no-store": control.no_store, "private": control.private, "no-cache": control.no_cache}.get(
        word, control.max_age == 0
    )


@given(CONTROLS, st.data())
def test_what_is_written_is_read_back_in_any_order_on_any_line(control: CacheControl, data: st.DataObject) -> None:
    members = data.draw(st.permutations(written(control)))
    cut = data.draw(st.integers(0, len(members)))
    lines = [", ".join(members[:cut]).encode(), " ,".join(members[cut:]).upper().encode()]
    assert parse_cache_control(lines) == control


@pytest.mark.parametrize(
    ("headers", "control"),
    [
        # [5.4]: Pragma only where there is no Cache-Control
        ([], NOTHING),
        ([(b"pragma", b"no-cache")], CacheControl(no_cache=True)),
        ([(b"pragma", b"foo, No-Cache")], CacheControl(no_cache=True)),
        ([(b"pragma", b"foo"), (b"pragma", b"no-cache")], CacheControl(no_cache=True)),
        ([(b"pragma", b"foo, max-age=5, no-store")], NOTHING),
        ([(b"pragma", b"no-cache"), (b"cache-control", b"max-age=5")], CacheControl(max_age=5)),
        ([(b"pragma", b"no-cache"), (b"cache-control", b"")], NOTHING),
        ([(b"cache-control", b"max-age=5"), (b"cache-control", b"no-cache")], CacheControl(max_age=5, no_cache=True)),
    ],
)
def test_a_request_asks_by_cache_control_or_else_by_pragma(
    headers: list[tuple[bytes, bytes]], control: CacheControl
) -> None:
    assert request_control(headers) == control
