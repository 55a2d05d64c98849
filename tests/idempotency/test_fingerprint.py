"""What tells requests with the same key from each other."""

from asgi_redis_guard.idempotency.fingerprint import fingerprint_of
from tests.drive import http_scope

BASE = fingerprint_of(http_scope("/a", method="POST"), b"body")


def test_method_path_query_and_body_tell_requests_apart() -> None:
    others = [
        fingerprint_of(http_scope("/a", method="PUT"), b"body"),
        fingerprint_of(http_scope("/b", method="POST"), b"body"),
        fingerprint_of(http_scope("/a", method="POST", query_string=b"x=1"), b"body"),
        fingerprint_of(http_scope("/a", method="POST"), b"bodY"),
        fingerprint_of(http_scope("/a", method="POST", raw_path=b"/%61"), b"body"),
    ]
    assert len({BASE, *others}) == 6
    assert len(BASE) == 20


def test_parts_never_run_into_each_other() -> None:
    one = fingerprint_of(http_scope("/a", method="POST", query_string=b"bc"), b"")
    other = fingerprint_of(http_scope("/a", method="POST", query_string=b"b"), b"c")
    assert one != other


def test_header_fields_and_the_client_make_no_difference() -> None:
    scope = http_scope("/a", {"user-agent": "x", "traceparent": "1"}, method="POST", client=("203.0.113.99", 1))
    assert fingerprint_of(scope, b"body") == BASE


def test_a_server_without_raw_paths_is_served_and_one_that_puts_the_query_there() -> None:
    scope = http_scope("/a", method="POST")
    del scope["raw_path"]
    assert fingerprint_of(scope, b"body") == BASE
    query = {"raw_path": b"/a?x=1", "query_string": b"x=1"}
    plain = {"raw_path": b"/a", "query_string": b"x=1"}
    assert len({fingerprint_of(http_scope("/a", method="POST", **more), b"") for more in (query, plain)}) == 1


def form(boundary: str, *parts: bytes, of: str = "multipart/form-data; charset=utf-8; boundary={}") -> bytes:
    """The fingerprint of a form with files."""
    delimiter = b"--" + boundary.strip('"').encode()
    body = b"".join(delimiter + b"\r\n\r\n" + part + b"\r\n" for part in parts) + delimiter + b"--\r\n"
    return fingerprint_of(http_scope("/a", {"content-type": of.format(boundary)}, method="POST"), body)


def test_a_form_is_the_same_under_another_boundary() -> None:
    once = form("x7", b"one", b"two")
    assert {form("y" * 70, b"one", b"two"), form('"y 8"', b"one", b"two")} == {once}
    assert once not in (form("x7", b"one", b"twO"), form("x7", b"onetwo"), form("x7", b"one", b"two", b""))


def test_what_only_looks_like_a_boundary_tells_requests_apart() -> None:
    assert form("x7", b"one\r\n--y8\r\n\r\ntwo") != form("y8", b"one\r\n--y8\r\n\r\ntwo")
    assert form("x7", b"one--x7") != form("y8", b"one--y8")
    assert form("x7", b"one", of="text/plain; boundary={}") != form("y8", b"one", of="text/plain; boundary={}")
    assert form("x7", *[b""] * 300) != form("y8", *[b""] * 300)
