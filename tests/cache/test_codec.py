"""Stored responses to bytes and back: nothing is lost, and nothing that is not an own entry is believed."""

import os
import struct
from dataclasses import replace
from typing import Any

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from asgi_redis_guard.cache import codec as codec_module
from asgi_redis_guard.cache import compression
from asgi_redis_guard.cache.codec import Codec
from asgi_redis_guard.cache.compression import MOST_COMPRESSED
from asgi_redis_guard.cache.entry import FIXED, MOST_TAGS, PREFIX_SIZE, Entry, encode_pass, total_length
from asgi_redis_guard.errors import ConfigurationError, EntryRefused, EntryUnreadable, GuardError

KEY = b"guard:r:{AAAAAAAAAAAAAAAAAAAA}BBBBBBBBBBBBBBBBBBBB"
SECRET = b"s" * 32
GENERATION = b"1790000000000001.1790000000000002"
TAG = b"abcdefghij+/ABCDEFGH=" + GENERATION + b";"
JSON = [(b"content-type", b"application/json")]
SMALL = {"compress_from": None}


def entry(**changes: Any) -> Entry:
    return replace(
        Entry(
            began=1790000000000001,
            fresh_until=1790000300000001,
            delta=12345,
            generation=GENERATION,
            tags=TAG,
            born=1790000000000000,
            stale_until=1790000330000001,
            error_until=1790000900000001,
            status=200,
            headers=[*JSON, (b"link", b"</a>"), (b"link", b"</b>"), (b"x-empty", b"")],
            body=b'{"answer": 42}',
        ),
        **changes,
    )


stamps = st.integers(0, 10**16 - 1)
moments = st.integers(-(2**63), 2**63 - 1)
generations = st.builds(lambda hard, soft: b"%016d.%016d" % (hard, soft), stamps, stamps)
tokens = st.text("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz", min_size=1).map(str.encode)
values = st.binary(max_size=40).map(lambda value: bytes(byte for byte in value if byte not in b"\0\r\n"))
entries = st.builds(
    Entry,
    began=stamps,
    fresh_until=stamps,
    delta=st.integers(0, 10**10 - 1),
    generation=generations,
    tags=st.lists(generations, max_size=4).map(lambda some: b"".join(TAG[:21] + one + b";" for one in some)),
    born=moments,
    stale_until=moments,
    error_until=moments,
    status=st.integers(200, 999),
    headers=st.lists(st.tuples(tokens, values), max_size=8),
    body=st.binary(max_size=300) | st.binary(min_size=1, max_size=8).map(lambda piece: piece * 500),
    must_validate=st.booleans(),
    never_stale=st.booleans(),
    private=st.booleans(),
    heuristic=st.booleans(),
)


@given(entries, st.sampled_from([None, SECRET]), st.sampled_from([None, 0, 8192]))
@example(entry(headers=[], body=b"", tags=b""), None, 0)
def test_whatever_is_encoded_comes_back_as_it_was(stored: Entry, key: bytes | None, compress_from: int | None) -> None:
    codec = Codec(key, compress_from)
    data = codec.encode(KEY, stored)
    assert total_length(data[:8192]) == len(data)
    assert codec.decode(KEY, data) == stored
    assert codec.decode_head(KEY, data) == replace(stored, body=b"", whole=False)


@given(entries, st.data())
def test_no_flipped_bit_is_believed_where_there_is_a_key(stored: Entry, data: st.DataObject) -> None:
    codec = Codec(SECRET, 0)
    value = bytearray(codec.encode(KEY, stored))
    value[data.draw(st.integers(0, len(value) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(EntryUnreadable):
        codec.decode(KEY, bytes(value))


@given(entries, st.data())
def test_damage_without_a_key_is_an_entry_or_unreadable_and_nothing_else(stored: Entry, data: st.DataObject) -> None:
    codec = Codec(None, 0, max_body=4096)
    value = bytearray(codec.encode(KEY, stored))
    for _ in range(data.draw(st.integers(1, 4))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = codec.decode(KEY, bytes(value))
    except EntryUnreadable:
        return
    assert len(read.body) <= 4096
    assert all(name and not {*b"\0\r\n"} & {*name, *text} for name, text in read.headers)


@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda tail: Codec().encode(KEY, entry())[:119] + tail))
def test_arbitrary_bytes_are_unreadable(data: bytes) -> None:
    for codec in (Codec(), Codec(SECRET)):
        with pytest.raises(EntryUnreadable):
            codec.decode(KEY, data)


@pytest.mark.parametrize("key", [None, SECRET])
@pytest.mark.parametrize("body", [b"x" * 100, b"abcdefgh" * 200])
def test_an_entry_that_is_cut_short_anywhere_or_goes_on_is_unreadable(key: bytes | None, body: bytes) -> None:
    codec = Codec(key, 1000)
    data = codec.encode(KEY, entry(body=body))
    for end in range(len(data)):
        with pytest.raises(EntryUnreadable):
            codec.decode(KEY, data[:end])
    with pytest.raises(EntryUnreadable):
        codec.decode(KEY, data + b"\0")


def test_an_entry_moved_to_another_key_is_unreadable() -> None:
    codec = Codec(SECRET)
    data = codec.encode(KEY, entry())
    for other in (KEY[:-1], KEY + b"1", b""):
        with pytest.raises(EntryUnreadable, match="wrong HMAC"):
            codec.decode(other, data)


def test_an_entry_signed_with_another_key_or_none_is_unreadable_and_so_is_a_signed_one_without_a_key() -> None:
    signed, plain = Codec(SECRET).encode(KEY, entry()), Codec().encode(KEY, entry())
    with pytest.raises(EntryUnreadable, match="wrong HMAC"):
        Codec(b"t" * 32).decode(KEY, signed)
    with pytest.raises(EntryUnreadable, match="without an HMAC"):
        Codec(SECRET).decode(KEY, plain)
    with pytest.raises(EntryUnreadable, match="no key is configured"):
        Codec().decode(KEY, signed)
    with pytest.raises(EntryUnreadable):
        Codec(SECRET).decode_head(KEY, plain)


def test_a_body_exchanged_under_a_signed_head_is_unreadable() -> None:
    codec = Codec(SECRET)
    data = codec.encode(KEY, entry(body=b"mine"))
    assert codec.decode_head(KEY, data[:-4] + b"evil") is not None
    with pytest.raises(EntryUnreadable, match="another body"):
        codec.decode(KEY, data[:-4] + b"evil")


@pytest.mark.parametrize("key", [None, SECRET])
def test_the_head_is_read_from_the_beginning_alone_and_asks_for_more_where_the_fields_go_on(key: bytes | None) -> None:
    codec = Codec(key, None)
    long = entry(body=os.urandom(20_000))
    first = codec.encode(KEY, long)[:8192]
    assert codec.decode_head(KEY, first) == replace(long, body=b"", whole=False)
    wide = codec.encode(KEY, entry(headers=[(b"x", b"v" * 9000)]))
    assert codec.decode_head(KEY, wide[:8192]) is None
    assert codec.decode_head(KEY, wide) is not None


def test_a_head_cannot_be_stored_as_if_it_were_the_response() -> None:
    codec = Codec()
    head = codec.decode_head(KEY, codec.encode(KEY, entry()))
    assert head is not None
    with pytest.raises(EntryRefused, match="whole"):
        codec.encode(KEY, head)


def test_the_most_tags_leave_the_total_length_within_the_first_8_kilobytes() -> None:
    data = Codec().encode(KEY, entry(tags=TAG * MOST_TAGS, body=b"b" * 8000))
    assert total_length(data[:8192]) == len(data) > 8192


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"headers": [(b"x", b"a\r\nset-cookie: b")]}, "line break"),
        ({"headers": [(b"x", b"a\n")]}, "line break"),
        ({"headers": [(b"x", b"a\0b\0c")]}, "NUL"),
        ({"headers": [(b"x", b"a\0b")]}, "NUL"),
        ({"headers": [(b"x\0", b"a")]}, "NUL"),
        ({"headers": [(b"", b"a")]}, "token"),
        ({"headers": [(b"X-Upper", b"a")]}, "lower-case"),
        ({"headers": [(b"x y", b"a")]}, "token"),
        ({"headers": [(b"x:", b"a")]}, "token"),
        ({"headers": [(b"x", b"v" * 65_536)]}, "bytes of fields"),
        ({"tags": TAG * (MOST_TAGS + 1)}, "tags"),
        ({"tags": TAG[:-1]}, "tags"),
        ({"generation": b"1"}, "generation"),
        ({"generation": GENERATION + b"\n"}, "generation"),
        ({"began": -1}, "began"),
        ({"began": 10**16}, "began"),
        ({"born": 2**63}, "numbers"),
        ({"status": 103}, "status"),
        ({"status": 70_000}, "status"),
        ({"body": b"b" * 4097}, "4097 bytes"),
    ],
)
def test_what_cannot_be_read_back_or_sent_is_refused_when_it_is_written(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(EntryRefused, match=said):
        Codec(max_body=4096).encode(KEY, entry(**changes))


def test_times_out_of_bounds_become_the_bounds_for_lua_to_compare() -> None:
    codec = Codec()
    late = codec.decode(KEY, codec.encode(KEY, entry(fresh_until=10**20, delta=10**12)))
    assert (late.fresh_until, late.delta) == (10**16 - 1, 10**10 - 1)
    early = codec.decode(KEY, codec.encode(KEY, entry(fresh_until=-5, delta=-5)))
    assert (early.fresh_until, early.delta) == (0, 0)


def poisoned(data: bytes, place: int, value: int, tags: bytes = TAG) -> bytes:
    """`data` with another number at `place` of the fixed part."""
    at = PREFIX_SIZE + len(tags)
    numbers = list(FIXED.unpack_from(data, at))
    numbers[place] = value
    return data[:at] + FIXED.pack(*numbers) + data[at + FIXED.size :]


@pytest.mark.parametrize("place", [0, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("value", [0, 65_535])
def test_a_number_that_was_changed_is_noticed_before_anything_is_read_by_it(place: int, value: int) -> None:
    data = Codec().encode(KEY, entry(heuristic=True, body=b"b" * 9000))
    with pytest.raises(EntryUnreadable):
        Codec().decode(KEY, poisoned(data, place, value if place != 5 else min(value, 255)))


@pytest.mark.parametrize("text", [b"-055", b" 055", b"0_55", b"+055", b"9999", b"0x37"])
def test_a_length_of_tags_that_is_no_plain_number_is_unreadable(text: bytes) -> None:
    data = Codec().encode(KEY, entry())
    with pytest.raises(EntryUnreadable):
        Codec().decode(KEY, data[:76] + text + data[80:])


def test_a_fields_block_with_a_line_break_is_not_sent_on() -> None:
    data = Codec().encode(KEY, entry(headers=[(b"location", b"/a..b")]))
    for injected in (b"/a\r\nb", b"/a\n.b", b"/a\r.b"):
        with pytest.raises(EntryUnreadable, match="fields"):
            Codec().decode(KEY, data.replace(b"/a..b", injected))


def test_hit_for_miss_is_no_entry() -> None:
    for codec in (Codec(), Codec(SECRET)):
        with pytest.raises(EntryUnreadable):
            codec.decode(KEY, encode_pass(1, 2, GENERATION))


TEXT = b"all work and no play makes jack a dull boy. " * 400


def stored_size(codec: Codec, **changes: Any) -> int:
    data = codec.encode(KEY, entry(**changes))
    assert codec.decode(KEY, data) == entry(**changes)
    return len(data)


@pytest.mark.parametrize(
    ("fields", "smaller"),
    [
        ([], True),
        ([(b"content-type", b"text/html; charset=utf-8")], True),
        ([(b"content-type", b"image/svg+xml")], True),
        ([(b"content-type", b"application/octet-stream")], True),
        ([(b"content-encoding", b"identity")], True),
        ([(b"content-encoding", b"")], True),
        ([(b"cache-control", b"no-transform")], True),
        ([(b"content-encoding", b"gzip")], False),
        ([*JSON, (b"content-encoding", b"br")], False),
        ([(b"content-type", b"image/png")], False),
        ([(b"content-type", b"IMAGE/JPEG")], False),
        ([(b"content-type", b" video/mp4")], False),
        ([(b"content-type", b"audio/ogg; codecs=opus")], False),
        ([(b"content-type", b"application/zip")], False),
        ([(b"content-type", b"application/x-gzip")], False),
        ([(b"content-type", b"application/vnd.openxmlformats-officedocument.wordprocessingml.document")], False),
        ([(b"content-type", b"application/epub+zip")], False),
        ([(b"content-type", b"font/woff2")], False),
    ],
)
def test_bodies_are_compressed_unless_they_are_already(fields: list[tuple[bytes, bytes]], smaller: bool) -> None:
    assert (stored_size(Codec(), headers=fields, body=TEXT) < len(TEXT) // 10) is smaller


@pytest.mark.parametrize(
    ("body", "smaller"),
    [
        (b"a" * 8191, False),
        (b"a" * 8192, True),
        (b"a" * MOST_COMPRESSED, True),
        (b"a" * (MOST_COMPRESSED + 1), False),
        (os.urandom(9000), False),
        (os.urandom(9000) + b"a" * 900, False),
        (os.urandom(9000) + b"a" * 3000, True),
    ],
    ids=lambda value: str(len(value)) if isinstance(value, bytes) else None,
)
def test_only_middling_bodies_are_compressed_and_only_if_that_saves_a_tenth(body: bytes, smaller: bool) -> None:
    assert (stored_size(Codec(), body=body) < len(body)) is smaller
    assert stored_size(Codec(compress_from=None), body=body) > len(body)


def bomb(packed: bytes, size: int) -> bytes:
    """An entry whose body is `packed` and is said to have `size` bytes."""
    plain = Codec(compress_from=None).encode(KEY, entry(body=packed))
    return poisoned(poisoned(plain, 8, size), 5, 16)


def test_a_body_that_grows_past_its_bound_or_its_word_is_unreadable() -> None:
    codec = Codec(max_body=1 << 20)
    packed = zstandard.compress(b"\0" * (64 << 20))
    lying = bytearray(zstandard.compress(b"\0" * 200_000))
    lying[lying.index(struct.pack("<I", 200_000))] ^= 1  # says 1 byte more or less than there are
    nameless = zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * 1000)
    for value in (
        bomb(packed, 64 << 20),
        bomb(packed, 1000),
        bomb(bytes(lying), 200_001),
        bomb(nameless, 1000),
        bomb(zstandard.compress(b"a" * 1000) + b"tail", 1000),
        bomb(zstandard.compress(b"a" * 1000)[:-1], 1000),
        bomb(b"not zstd at all", 1000),
        bomb(b"", 0),
    ):
        with pytest.raises(EntryUnreadable):
            codec.decode(KEY, value)
    assert codec.decode(KEY, bomb(zstandard.compress(b"a" * 1000), 1000)).body == b"a" * 1000


def test_contexts_are_used_again_and_one_that_failed_is_not() -> None:
    packing = compression.Compression(3)
    packed = packing.pack(TEXT)
    assert packed is not None
    assert [packing.unpack(packed, len(TEXT)) for _ in range(3)] == [TEXT] * 3
    assert len(packing._idle) == len(packing._packers) == 1
    with pytest.raises(ValueError, match="damaged"):
        packing.unpack(packed[:-3] + b"...", len(TEXT))
    assert packing._idle == []
    assert packing.unpack(packed, len(TEXT)) == TEXT


def test_without_zstandard_nothing_is_compressed_and_what_is_compressed_is_a_miss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    packed = Codec().encode(KEY, entry(body=TEXT))
    monkeypatch.setattr(compression, "zstandard", None)
    codec = Codec()
    assert codec.compress_from is None
    assert len(codec.encode(KEY, entry(body=TEXT))) > len(TEXT)
    with pytest.raises(EntryUnreadable, match="not installed"):
        codec.decode(KEY, packed)


def test_signatures_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr(codec_module.hmac, "compare_digest", compare)
    codec = Codec(SECRET)
    codec.decode(KEY, codec.encode(KEY, entry()))
    assert compared == [(32, 32), (32, 32)]


@pytest.mark.parametrize(
    ("options", "faults"),
    [
        ({"key": b"short"}, ["key"]),
        ({"key": "a text of many characters"}, ["key"]),
        ({"compress_from": -1, "level": 0, "max_body": True}, ["compress_from", "level", "max_body"]),
        ({"compress_from": 1.5, "level": 22}, ["compress_from", "level"]),
        ({"level": "3", "max_body": 1 << 30}, ["level", "max_body"]),
    ],
)
def test_options_that_cannot_work_are_all_named_and_a_key_is_not_shown(
    options: dict[str, Any], faults: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Codec(**options)
    assert [fault.partition(":")[0] for fault in caught.value.faults] == faults
    assert "short" not in str(caught.value)


def test_what_a_codec_says_of_itself_keeps_the_key_secret() -> None:
    assert repr(Codec(SECRET)) == "<Codec signed, compressed from 8192 bytes>"
    assert repr(Codec(compress_from=None)) == "<Codec not signed, not compressed>"


def test_unreadable_and_refused_are_errors_of_the_package_and_of_values() -> None:
    for error in (EntryUnreadable, EntryRefused):
        assert issubclass(error, GuardError)
        assert issubclass(error, ValueError)
