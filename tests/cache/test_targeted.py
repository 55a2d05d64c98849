"""Targeted fields such as CDN-Cache-Control (RFC 9213): dictionaries that are right or are not there."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.cache.directives import LONGEST, NOTHING, CacheControl, parse_cache_control, parse_targeted
from tests.cache.controls import CONTROLS, STRINGS, written


@pytest.mark.parametrize(
    ("lines", "control"),
    [
        # RFC 9213 §2.1 and §2.2
        ([b"max-age=3600"], CacheControl(max_age=3600)),
        ([b"max-age=0, no-cache"], CacheControl(max_age=0, no_cache=True)),
        ([b"foobar, max-age=3600"], CacheControl(max_age=3600)),
        ([b"max-age=60;x=1, private"], CacheControl(max_age=60, private=True)),
        ([b"max-age=60", b"no-store"], CacheControl(max_age=60, no_store=True)),
        ([b"max-age=1, max-age=2"], CacheControl(max_age=2)),
        ([b"max-age=2147483648"], CacheControl(max_age=LONGEST)),
        ([b"max-age=99999999999"], CacheControl(max_age=LONGEST)),
        ([b"max-age=-1"], CacheControl(max_age=0)),
        ([b"no-store=?0, max-age=1"], CacheControl(max_age=1)),
        ([b'private="a, B"'], CacheControl(private_fields=frozenset((b"a", b"b")))),
        ([b"no-cache=Set-Cookie"], CacheControl(no_cache_fields=frozenset((b"set-cookie",)))),
        ([b'private=""'], CacheControl(private=True)),
        (
            [b"s-maxage=5, stale-while-revalidate=6, stale-if-error=7, must-revalidate, proxy-revalidate"],
            CacheControl(
                s_maxage=5, stale_while_revalidate=6, stale_if_error=7, must_revalidate=True, proxy_revalidate=True
            ),
        ),
        ([b"foo, bar=(1 2), baz=x"], NOTHING),
        # what is broken or of a wrong type is as if it was not there
        ([], None),
        ([b""], None),
        ([b" "], None),
        ([b"max-age=10000, &&&&&"], None),
        ([b'max-age="10000"'], None),
        ([b"max-age=10000.0"], None),
        ([b"max-age=x"], None),
        ([b"max-age"], None),
        ([b"max-age=(1)"], None),
        ([b"max-age =100"], None),
        ([b"max-age= 100"], None),
        ([b"MaX-aGe=3600"], None),
        ([b"no-store=1"], None),
        ([b'public="x"'], None),
        ([b"private=1"], None),
        ([b"private=(a)"], None),
        ([b'no-cache=%"a"'], None),
        ([b"no-store,"], None),
    ],
)
def test_a_targeted_field_is_a_dictionary(lines: list[bytes], control: CacheControl | None) -> None:
    assert parse_targeted(lines) == control


@given(st.lists(STRINGS.map(str.encode) | st.binary(max_size=40), max_size=4))
def test_no_targeted_lines_raise(lines: list[bytes]) -> None:
    parse_targeted(lines)


@given(CONTROLS)
def test_a_targeted_field_says_what_cache_control_says(control: CacheControl) -> None:
    control = replace(control, min_fresh=None, max_stale=None)
    wanted = replace(
        control,
        no_cache_fields=frozenset() if control.no_cache else control.no_cache_fields,  # a key is there once
        private_fields=frozenset() if control.private else control.private_fields,
    )
    lines = [", ".join(written(wanted)).encode()]
    assert parse_targeted(lines) == (parse_cache_control(lines) if lines[0] else None)
