"""What key an `Idempotency-Key` field names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.core.structured import quote
from asgi_redis_guard.idempotency.key_field import key_of

VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=255)


@given(VISIBLE)
def test_every_visible_text_is_a_key_quoted_and_the_same_bare(text: str) -> None:
    assert key_of([quote(text).encode()]) == text
    if not text.startswith('"'):
        assert key_of([text.encode()]) == text


def test_parameters_and_space_around_it_mean_nothing() -> None:
    for field in (b'"a"', b' "a"', b'"a"\t', b'"a";b', b'"a"; b=1; c="d"', b" a "):
        assert key_of([field]) == "a"


@pytest.mark.parametrize("length", [1, 255])
def test_lengths_that_are_allowed(length: int) -> None:
    assert key_of([b"k" * length]) == key_of([b'"%b"' % (b"k" * length)]) == "k" * length


_QUOTED = [b'""', b'"', b'"a', b'"a b"', b'"a", "b"', b'"\xe4"', b'"\\a"', b'"a";A', b'"a" b', b'"%b"' % (b"k" * 256)]
_BARE = [b"", b" ", b"a b", b"\xe4", b"a\x00", b"a\x7f", b"k" * 256]


@pytest.mark.parametrize("field", [*_QUOTED, *_BARE])
def test_what_is_no_key(field: bytes) -> None:
    assert key_of([field]) is None


def test_no_field_and_two_fields_name_no_key() -> None:
    assert key_of([]) is None
    assert key_of([b"a", b"a"]) is None


@given(st.binary(max_size=300))
def test_whatever_stands_there_is_a_key_of_visible_text_or_none(field: bytes) -> None:
    key = key_of([field])
    assert key is None or (1 <= len(key) <= 255 and all("!" <= letter <= "~" for letter in key))
