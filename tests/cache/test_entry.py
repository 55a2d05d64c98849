"""The first bytes of what is kept, which Lua reads by their places."""

import pytest
from hypothesis import given

from asgi_redis_guard.cache.codec import Codec
from asgi_redis_guard.cache.entry import PREFIX_SIZE, Entry, encode_pass, identity, is_pass, total_length
from asgi_redis_guard.errors import EntryRefused, EntryUnreadable
from tests.cache.test_codec import GENERATION, KEY, TAG, entries, entry


def sub(data: bytes, first: int, last: int) -> bytes:
    """Lua's `string.sub`."""
    return data[first - 1 : last]


def test_the_places_are_those_of_the_contract() -> None:
    data = Codec(b"k" * 16).encode(KEY, entry(tags=TAG * 2))
    assert sub(data, 1, 1) == b"1"
    assert sub(data, 2, 17) == b"1790000000000001"
    assert sub(data, 18, 33) == b"1790000300000001"
    assert sub(data, 34, 43) == b"0000012345"
    assert sub(data, 44, 76) == GENERATION
    assert sub(data, 77, 80) == b"0110"
    assert sub(data, 81, 80 + 110) == TAG * 2


def test_hit_for_miss_is_a_prefix_with_another_version() -> None:
    mark = encode_pass(1790000120000000, 1790000000000000, GENERATION)
    assert mark == b"P" + b"1790000000000000" + b"1790000120000000" + b"0" * 10 + GENERATION + b"0000"
    assert is_pass(mark)
    assert total_length(mark) == len(mark) == PREFIX_SIZE
    assert not is_pass(mark[:-1])
    assert not is_pass(mark.replace(b"1790000120000000", b"179000012000000x"))
    assert not is_pass(Codec().encode(KEY, entry()))


def test_hit_for_miss_with_a_stamp_that_is_none_is_refused() -> None:
    for began, generation in ((1, b"x"), (-1, GENERATION), (10**16, GENERATION)):
        with pytest.raises(EntryRefused):
            encode_pass(1, began, generation)


@given(entries, entries)
def test_two_fills_are_told_apart_by_their_first_bytes(one: Entry, other: Entry) -> None:
    codec = Codec()
    told = ("began", "fresh_until", "delta", "generation")
    alike = all(getattr(one, name) == getattr(other, name) for name in told) and len(one.tags) == len(other.tags)
    first, second = codec.encode(KEY, one), codec.encode(KEY, other)
    assert (identity(first) == identity(second)) is alike
    assert identity(first[:8192]) == identity(first)


@pytest.mark.parametrize("size", [0, 1, 79, 80, 118])
def test_too_little_to_tell_the_length_is_unreadable(size: int) -> None:
    data = Codec().encode(KEY, entry(tags=b""))
    with pytest.raises(EntryUnreadable):
        total_length(data[:size])
    assert total_length(data[:119]) == len(data)


@pytest.mark.parametrize("data", [b"", b"P" * 79, b"2" + b"0" * 200, b"1" + b"0" * 75 + b"-001" + b"0" * 99])
def test_what_is_neither_entry_nor_mark_has_no_length(data: bytes) -> None:
    with pytest.raises(EntryUnreadable):
        total_length(data)


def test_what_is_cut_within_the_prefix_has_no_identity() -> None:
    with pytest.raises(EntryUnreadable):
        identity(b"1" * 79)
