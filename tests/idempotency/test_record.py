"""Responses as they are recorded: they come back to the byte, and what is none is never taken for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.idempotency.record import decode, encode

CLEAN = st.binary(max_size=20).filter(lambda text: not {0, 10, 13} & {*text})
NAMES = st.text(st.sampled_from("abcXYZ019-_.!~"), min_size=1, max_size=20).map(str.encode)
RESPONSES = st.tuples(st.integers(200, 499), st.lists(st.tuples(NAMES, CLEAN), max_size=5), st.binary(max_size=200))


@given(RESPONSES)
def test_a_response_comes_back_to_the_byte_fields_in_their_order(response: tuple[int, list, bytes]) -> None:
    assert decode(encode(*response) or b"") == response


@given(RESPONSES, st.data())
def test_what_was_cut_or_grown_is_no_response(response: tuple[int, list, bytes], data: st.DataObject) -> None:
    content = encode(*response) or b""
    cut = data.draw(st.integers(0, len(content) - 1))
    assert decode(content[:cut]) is None
    assert decode(content + b"x") is None


@given(RESPONSES, st.data())
def test_garbage_is_no_response_or_one_that_could_have_been_sent(
    response: tuple[int, list, bytes], data: st.DataObject
) -> None:
    content = bytearray(encode(*response) or b"")
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    found = decode(bytes(content))
    if found is not None:
        assert 200 <= found.status <= 499
        assert not {0, 10, 13} & {letter for field in found.headers for text in field for letter in text}


@given(st.binary(max_size=100))
def test_any_bytes_are_read_without_an_error(content: bytes) -> None:
    decode(content)


@pytest.mark.parametrize(
    "field",
    [(b"a", b"b\r\nc: d"), (b"a", b"\0"), *((name, b"b") for name in (b"", b"a:b", b"a b", b"a\r\nb", b"\xe4"))],
)
def test_a_field_that_would_break_its_line_is_neither_recorded_nor_read(field: tuple[bytes, bytes]) -> None:
    assert encode(200, [(b"content-type", b"text/plain"), field], b"body") is None
    text = b"%d:%b%d:%b" % (len(field[0]), field[0], len(field[1]), field[1])
    assert decode(b"200 %d 0\n%b" % (len(text), text)) is None


def test_a_status_that_ends_no_response_or_was_never_recorded_is_none() -> None:
    for status in (100, 101, 199, 500, 600, 999):
        assert decode(encode(status, [], b"") or b"") is None


def test_a_length_that_lies_is_no_response() -> None:
    assert decode(b"200 4 0\n9:ab") is None
    assert decode(b"200 2 0\n0:") is None
    assert decode(b"099 0 0\n") is None
