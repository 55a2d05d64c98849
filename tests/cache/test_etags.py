"""Entity tags: RFC 9110 §8.8.3, §13.1.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.cache.etags import entity_tag, is_named, is_strong, make_etag, same_strongly, same_weakly


@pytest.mark.parametrize(
    ("one", "other", "strongly", "weakly"),
    [
        (b'W/"1"', b'W/"1"', False, True),
        (b'W/"1"', b'W/"2"', False, False),
        (b'W/"1"', b'"1"', False, True),
        (b'"1"', b'"1"', True, True),
        (b'"1"', b"1", False, False),
        (b"W/1", b"W/1", False, True),
    ],
    ids=["RFC 9110 §8.8.3.2"] * 4 + ["unquoted beside quoted", "unquoted"],
)
def test_tags_compare_strongly_and_weakly(one: bytes, other: bytes, strongly: bool, weakly: bool) -> None:
    assert same_strongly(one, other) is same_strongly(other, one) is strongly
    assert same_weakly(one, other) is same_weakly(other, one) is weakly


@pytest.mark.parametrize(
    "value", [b'""', b'"a"', b'W/"a"', b'W/""', b'"a,b"', b'"\xfc"', b'"\\"', b"abc", b"W/abc", b' "a"\t']
)
def test_a_tag_of_a_response_is_taken(value: bytes) -> None:
    assert entity_tag([(b"etag", value)]) == value.strip(b" \t")


@pytest.mark.parametrize(
    "values",
    [(), (b"",), (b"*",), (b'"a b"',), (b'w/"a"',), (b'W\\"a"',), (b'W"a"',), (b'"a', ), (b'"a", "b"',), (b"a, b",),
     (b'"a"', b'"a"'), (b'"a"b"',), (b'"\x7f"',)],
)  # fmt: skip
def test_what_is_no_tag_is_none(values: tuple[bytes, ...]) -> None:
    assert entity_tag([(b"etag", value) for value in values]) is None


@pytest.mark.parametrize(
    ("lines", "tag"),
    [
        ((b'"abc"',), b'"abc"'),
        ((b'"abc"',), b'W/"abc"'),
        ((b'W/"abc"',), b'"abc"'),
        ((b'W/"abc"',), b'W/"abc"'),
        ((b'"abc", "1", "2"',), b'"abc"'),
        ((b'"1","abc","2"',), b'"abc"'),
        ((b'"1" , W/"2",\t"abc"',), b'"abc"'),
        ((b',, "1",,"abc", ,',), b'"abc"'),
        ((b'"1"', b'"abc"'), b'"abc"'),
        ((b'"1",', b"", b'"abc"'), b'"abc"'),
        ((b'"a,b"',), b'"a,b"'),
        ((b'""',), b'""'),
        ((b'"abcdef\xfc"',), b'"abcdef\xfc"'),
        ((b"*",), b'"abc"'),
        ((b" * ",), None),
        ((b"abc",), b"abc"),
    ],
)
def test_a_list_names_a_tag(lines: tuple[bytes, ...], tag: bytes | None) -> None:
    assert is_named(lines, tag)


@pytest.mark.parametrize(
    ("lines", "tag"),
    [
        ((b'"abc"',), b'"abd"'),
        ((b'"abc"',), None),
        ((b'"ABC"',), b'"abc"'),
        ((b"",), b'"abc"'),
        ((b"",), b'""'),
        pytest.param((b'"a","b"',), b'","', id="across two members"),
        pytest.param((b'"a" "abc"',), b'"abc"', id="malformed: no comma"),
        pytest.param((b'abc, "abc"',), b'"abc"', id="malformed: unquoted member"),
        pytest.param((b'"abc", "',), b'"abc"', id="malformed: open quote"),
        pytest.param((b'w/"abc"',), b'"abc"', id="malformed: lower-case mark"),
        pytest.param((b"abc",), b'"abc"', id="unquoted for a quoted one"),
        pytest.param((b'"abc"',), b"abc", id="quoted for an unquoted one"),
        pytest.param((b"abc, x",), b"abc", id="unquoted in a list"),
        pytest.param((b'*, "x"',), b'"abc"', id="malformed: * in a list"),
        pytest.param((b"*", b"*"), b'"abc"', id="malformed: * twice"),
        pytest.param((b'"abc"' + b"," * 65_536,), b'"abc"', id="a flood of commas"),
        pytest.param((b'"x",' * 20_000 + b'"abc"',), b'"abc"', id="a flood of tags"),
        pytest.param((b'"' * 16_000,), b'"abc"', id="a flood of quotes"),
        pytest.param((b'"abc"' + b" " * 16_000 + b"x",), b'"abc"', id="a flood of spaces"),
    ],
)
def test_a_list_that_does_not_name_a_tag_or_is_not_well_formed_names_nothing(
    lines: tuple[bytes, ...], tag: bytes | None
) -> None:
    assert not is_named(lines, tag)


tags = st.builds(
    lambda weak, text: (b"W/" if weak else b"") + b'"' + text.encode("latin-1") + b'"',
    st.booleans(),
    st.text("a,!é", max_size=3),
)


@given(st.lists(tags, max_size=5), tags, st.sampled_from([b",", b", ", b" ,\t", b",,"]))
def test_a_list_names_exactly_its_members(members: list[bytes], tag: bytes, between: bytes) -> None:
    assert is_named([between.join(members)], tag) == any(same_weakly(member, tag) for member in members)
    assert is_named(members, tag) == is_named([between.join(members)], tag)


@given(st.lists(st.text('"W/a, *', max_size=12).map(str.encode), max_size=3), st.none() | tags)
def test_any_text_is_read(lines: list[bytes], tag: bytes | None) -> None:
    named = is_named(lines, tag)
    if named and b",".join(lines).strip() != b"*":
        assert tag is not None
        assert tag.removeprefix(b"W/") in b",".join(lines)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_a_made_tag_is_weak_well_formed_and_of_the_body_alone(one: bytes, other: bytes) -> None:
    tag = make_etag(one)
    assert not is_strong(tag)
    assert entity_tag([(b"etag", tag)]) == tag
    assert is_named([tag], tag)
    assert (tag == make_etag(other)) == (one == other)
