"""What variants go by: RFC 9111 §4.1, RFC 9110 §12.5.5."""

from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asgi_redis_guard.cache.vary import MOST_NAMES, values, variant_parts, vary_names
from asgi_redis_guard.core.asgi import Headers
from asgi_redis_guard.core.keys import digest


def vary(*lines: bytes) -> Headers:
    return [(b"content-type", b"text/plain"), *((b"vary", line) for line in lines)]


def one(name: bytes, *lines: bytes) -> bytes | None:
    return values([name], [(name, line) for line in lines])[0]


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ((), set()),
        ((b"",), set()),
        ((b" ,\t, ",), set()),
        ((b"Accept",), {b"accept"}),
        ((b"Accept, accept ,ACCEPT",), {b"accept"}),
        ((b"Accept-Encoding,Origin",), {b"accept-encoding", b"origin"}),
        ((b"a", b"b,, c"), {b"a", b"b", b"c"}),
    ],
)
def test_the_names_are_those_of_every_line_in_lower_case(lines: tuple[bytes, ...], names: set[bytes]) -> None:
    assert vary_names(vary(*lines)) == frozenset(names)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param((b"*",), id="RFC 9111 §4.1"),
        pytest.param((b" * ",), id="CVE-2026-48587 padded"),
        pytest.param((b"\t*\t",), id="padded by tabs"),
        (b"Accept, *",),
        (b"*, Accept",),
        (b",, ,*",),
        (b"Accept", b"*"),
        (b"Accept", b"", b" Foo ,\t* "),
        pytest.param((b"\x0b*",), id="no field name: other whitespace"),
        pytest.param((b'"*"',), id="no field name: quoted"),
        pytest.param((b"a b",), id="no field name: a space"),
        pytest.param((b":user",), id="no field name: ours"),
        pytest.param((b"a;b",), id="no field name: a parameter"),
        pytest.param((b"\xff",), id="no field name: bytes"),
        pytest.param((b",".join(b"x%d" % n for n in range(MOST_NAMES + 1)),), id="too many"),
        pytest.param((b"," * 65_536,), id="a flood"),
        pytest.param((b"a",) * 5000, id="a flood of lines"),
    ],
)
def test_what_can_never_be_known_to_match_is_told(lines: tuple[bytes, ...]) -> None:
    assert vary_names(vary(*lines)) is None


def test_as_many_names_as_are_allowed_are_taken() -> None:
    names = [b"x%d" % n for n in range(MOST_NAMES)]
    assert vary_names(vary(b",".join(names))) == frozenset(names)


@pytest.mark.parametrize(
    ("name", "lines", "value"),
    [
        (b"foo", (), None),
        (b"foo", (b"",), b""),
        (b"foo", (b"  ",), b""),
        (b"foo", (b"1,2",), b"1, 2"),
        (b"foo", (b" 1 ,\t2 ",), b"1, 2"),
        (b"foo", (b"1", b"2"), b"1, 2"),
        (b"foo", (b"1", b""), b"1, "),
        (b"foo", (b"A b",), b"A b"),
        (b"foo", (b'"a , b"',), b'"a , b"'),
        (b"foo", (b'x,"a , b"',), b'x,"a , b"'),
        (b"user-agent", (b"M (X,  Y)",), b"M (X,  Y)"),
        (b"x-api-key", (b"a", b"b"), b"a\nb"),
        (b"cookie", (b"a=1", b"b=2"), b"a=1; b=2"),
        (b"accept-language", (b"de, en",), b"de, en"),
        (b"accept-language", (b"EN ,de",), b"de, en"),
        (b"accept-language", (b"en;q=0.5", b"de"), b"de, en;q=0.5"),
        (b"accept-language", (b"en ; Q=0.50,de;q=1.000",), b"de, en;q=0.5"),
        (b"accept-language", (b"en;q=0.,de;q=0.001",), b"de;q=0.001, en;q=0"),
        (b"accept-language", (b",en,,",), b"en"),
        (b"accept-language", (b",",), b""),
        (b"accept-language", (b"fr;q=2,EN",), b"fr;q=2, en"),
        (b"accept-language", (b"fr;level=1 , en",), b"fr;level=1, en"),
        (b"accept-encoding", (b"gzip, BR;q=1.0, *;q=0",), b"br, gzip, *;q=0"),
    ],
)
def test_a_value_is_normal(name: bytes, lines: tuple[bytes, ...], value: bytes | None) -> None:
    assert one(name, *lines) == value


def test_values_come_in_the_order_of_the_names() -> None:
    headers = [(b"b", b"1"), (b"x", b"0"), (b"a", b"2"), (b"b", b"3")]
    assert values([b"a", b"b", b"c"], headers) == [b"2", b"1, 3", None]
    assert values([], headers) == []


def test_parts_do_not_depend_on_the_order_of_the_names_nor_on_other_fields() -> None:
    headers = [(b"b", b"1"), (b"a", b"2")]
    parts = variant_parts([b"b", b"a", b"c"], headers)
    assert parts == [b"a", b"=2", b"b", b"=1", b"c", b""]
    assert variant_parts({b"c", b"b", b"a"}, [*reversed(headers), (b"x", b"9")]) == parts


def test_what_is_no_field_is_given_by_the_caller() -> None:
    names = [b":user", b"a"]
    assert variant_parts(names, [(b"a", b"1")], {b":user": b"7"}) == [b":user", b"=7", b"a", b"=1"]
    assert variant_parts(names, [(b"a", b"1")], {b":user": None}) == [b":user", b"", b"a", b"=1"]
    assert variant_parts(names, [(b":user", b"8"), (b"a", b"1")], {b":user": None}) == [b":user", b"", b"a", b"=1"]


short = st.text("ab ,", max_size=4).map(str.encode)
fields = st.lists(st.tuples(st.sampled_from([b"x", b"y"]), short), max_size=4)


def meaning(headers: Headers) -> list[list[bytes] | None]:
    """The members of `x` and `y`, by RFC 9110 §5.3 and §5.6.1, or None for an absent one."""
    found: list[list[bytes] | None] = []
    for name in (b"x", b"y"):
        lines = [value for key, value in headers if key == name]
        found.append([part.strip() for part in b",".join(lines).split(b",")] if lines else None)
    return found


@given(fields, fields)
@example([(b"x", b"")], [])
@example([(b"x", b"a"), (b"y", b"")], [(b"x", b""), (b"y", b"a")])
def test_two_requests_share_a_variant_exactly_if_their_fields_mean_the_same(one: Headers, other: Headers) -> None:
    same = digest(*variant_parts([b"x", b"y"], one)) == digest(*variant_parts([b"x", b"y"], other))
    assert same == (meaning(one) == meaning(other))


weights = st.sampled_from(["", ";q=1", ";q=1.0", ";q=0.5", ";q=0.50", " ; q=0.5", ";q=0", ";q=0.123"])
members = st.lists(st.tuples(st.sampled_from(["en", "EN", "de", "fr-CH", "*"]), weights), max_size=5)


def languages(of: list[tuple[str, str]]) -> Headers:
    return [(b"accept-language", ", ".join(map("".join, of)).encode())]


def understood(of: list[tuple[str, str]]) -> list[tuple[str, float]]:
    return sorted((tag.lower(), float(weight.partition("=")[2] or 1)) for tag, weight in of)


@given(members, st.data())
def test_languages_share_a_variant_in_any_order(of: list[tuple[str, str]], data: st.DataObject) -> None:
    other = data.draw(st.permutations(of))
    assert variant_parts([b"accept-language"], languages(of)) == variant_parts([b"accept-language"], languages(other))


@given(members, members)
def test_languages_share_a_variant_only_with_the_same_weights(
    one: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    same = values([b"accept-language"], languages(one)) == values([b"accept-language"], languages(other))
    assert same == (understood(one) == understood(other))


@given(st.text('en;q=0.51, "*', max_size=12).map(str.encode))
def test_a_normal_value_stays_as_it_is(value: bytes) -> None:
    for name in (b"accept-language", b"foo"):
        normal = one(name, value)
        assert normal is not None
        assert one(name, normal) == normal


@pytest.mark.parametrize(
    ("name", "value"),
    list(product((b"foo", b"accept-language", b"cookie"), (b"," * 65_536, b" " * 65_536 + b"x", b"a;q=1, " * 9000))),
    ids=range(9),
)
def test_a_flood_stands_for_itself(name: bytes, value: bytes) -> None:
    assert one(name, value) == value.strip(b" ")
    assert one(name, value + b",y") != one(name, value)
