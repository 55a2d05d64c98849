"""`core/documents.py`: fields of JSON bodies, and only what all readers agree on."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.core.documents import Unclear, parsed, text_at

PLAIN = st.text() | st.integers() | st.booleans()


def at(body: bytes, *path: str) -> str | None:
    return text_at(parsed(body), path)


@given(st.text(), PLAIN)
def test_a_field_is_the_text_of_what_stands_there(name: str, value: str | int | bool) -> None:
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    assert at(json.dumps({name: value}).encode(), name) == text


def test_fields_of_fields_and_places_in_lists_are_found() -> None:
    body = b'{"order": {"items": [{"id": 7}, {"id": 8}], "0": "zero"}}'
    assert at(body, "order", "items", "1", "id") == "8"
    assert at(body, "order", "0") == "zero"


@pytest.mark.parametrize(
    "path",
    [
        ("b",),
        ("a", "b"),
        ("list", "2"),
        ("list", "-1"),
        ("list", "²"),
        ("list", "9" * 5000),
        ("list", "x"),
    ],
)
def test_what_is_not_there_is_nothing(path: tuple[str, ...]) -> None:
    assert at(b'{"a": "text", "list": ["x", "y"]}', *path) is None


@pytest.mark.parametrize("value", ["1.0", "1e2", "NaN", "[]", "{}", '{"b": 1}', "9" * 5000])
def test_fractions_and_collections_are_unclear(value: str) -> None:
    with pytest.raises(Unclear):
        at(b'{"a": %b}' % value.encode(), "a")


def test_null_is_nothing() -> None:
    assert at(b'{"a": null}', "a") is None


@pytest.mark.parametrize("body", [b"", b"a=1", b"\xff\xff", b'"a"', b"7", b"--x\r\n{"])
def test_what_is_no_json_object_has_no_fields(body: bytes) -> None:
    assert at(body, "a") is None


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b" \r\n\t[",
        b"[" * 100_000,
        b'{"a": 1, "b": %b}' % (b"9" * 5000),
        b'{"a": 1,}',
        b'\xef\xbb\xbf{"a": 1, "b": NaN, }',
        '{"a": 1,}'.encode("utf-16"),
        '{"a": 1,}'.encode("utf-32-be"),
    ],
)
def test_a_document_that_others_may_read_is_unclear(body: bytes) -> None:
    with pytest.raises(Unclear):
        at(body, "a")


def test_a_name_that_stands_twice_in_one_object_is_unclear_and_others_can_be_told() -> None:
    body = b'{"a": 1, "a": 1, "b": 2, "c": {"a": 3}, "d": {"x": 1}, "d": {"x": 1}}'
    assert at(body, "b") == "2"
    assert at(body, "c", "a") == "3"
    for path in (("a",), ("d", "x")):
        with pytest.raises(Unclear):
            at(body, *path)
