"""RFC 9111 §5.1."""

import pytest

from asgi_redis_guard.cache.age import put_age


@pytest.mark.parametrize(
    ("seconds", "value"),
    [(0, b"0"), (0.999, b"0"), (32.1, b"32"), (-5.0, b"0"), (2.0**31, b"2147483648"), (1e18, b"2147483648")],
)
def test_the_age_is_in_whole_seconds_and_replaces_what_was_stored(seconds: float, value: bytes) -> None:
    headers = [(b"age", b"30"), (b"etag", b'"a"'), (b"age", b"abc, 7")]
    put_age(headers, seconds)
    assert headers == [(b"etag", b'"a"'), (b"age", value)]
