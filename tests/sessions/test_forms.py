"""Finding one field of a form in bytes from anywhere."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.sessions.forms import form_field, is_form

URLENCODED = b"application/x-www-form-urlencoded"
names = st.text(st.characters(exclude_characters='"\r\n\\%', exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)


@given(st.dictionaries(names, st.text(st.characters(exclude_categories=("Cs",))), max_size=5), names, names)
def test_what_a_client_sends_is_found(fields: dict[str, str], name: str, value: str) -> None:
    form = {**fields, name: value}
    for files in ({}, {"upload": b"\r\n\r\nanything--"}):
        if name == "upload" and files:
            continue
        request = httpx.Request("POST", "https://a.test", data=form, files=files)
        content_type = request.headers["content-type"].encode()
        assert is_form(content_type)
        assert form_field(content_type, request.read(), name.encode()) == value.encode()


@given(st.binary(max_size=300))
def test_no_bytes_are_too_strange(body: bytes) -> None:
    form_field(URLENCODED, body, b"t")
    found = form_field(b"multipart/form-data; boundary=x", body, b"t")
    assert found is None or found in body


@given(st.binary(max_size=60))
def test_no_type_is_too_strange(content_type: bytes) -> None:
    is_form(content_type)
    form_field(b"multipart/form-data;" + content_type, b"--x\r\n\r\n--x--", b"t")


def part(disposition: bytes, value: bytes, end: bytes = b"\r\n") -> bytes:
    """One part of a multipart body."""
    return b"--x\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + value + end


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (part(b'form-data; name="t"', b"1") + b"--x--", b"1"),
        (part(b'FORM-DATA ;NAME="t"', b"1") + b"--x--\r\nanything", b"1"),
        (part(b'form-data; name="t"; filename="t"', b"1") + b"--x--", None),
        (part(b'attachment; name="t"', b"1") + b"--x--", None),
        (part(b'form-data; name="u"', b"1") + part(b'form-data; name="t"', b"") + b"--x--", b""),
        (part(b'form-data; name="t"', b"1") + part(b'form-data; name="t"', b"1") + b"--x--", None),
        (b"--x--\r\n" + part(b'form-data; name="t"', b"1") + b"--x--", None),
        (b'--x\r\nContent-Disposition: form-data; name="t"\r\n1\r\n--x--', None),
        (b'Content-Disposition: form-data; name="t"\r\n\r\n1', None),
        (b"", None),
    ],
)
def test_a_multipart_field_is_a_part_with_its_name_and_no_file_name(body: bytes, found: bytes | None) -> None:
    assert form_field(b"multipart/form-data; boundary=x", body, b"t") == found
    assert form_field(b'multipart/form-data; charset=utf-8; Boundary="x"', body, b"t") == found
    assert form_field(b"multipart/form-data", body, b"t") is None


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"t=1", b"1"),
        (b"t=", b""),
        (b"t", b""),
        (b"a=1&t=%41+b&c", b"A b"),
        (b"t=1&t=1", None),
        (b"tt=1", None),
        (b"&" * 2000 + b"t=1", None),
    ],
)
def test_an_urlencoded_field_is_there_once(body: bytes, found: bytes | None) -> None:
    assert form_field(URLENCODED, body, b"t") == found
    assert form_field(URLENCODED + b"; charset=utf-8", body, b"t") == found


@pytest.mark.parametrize("other", [b"", b"application/json", b"text/plain", b"multipart/mixed", b"x" + URLENCODED])
def test_other_types_are_no_forms(other: bytes) -> None:
    assert not is_form(other)
