"""`Cache-Status` as RFC 9211 has it, in the syntax of RFC 9651."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.cache.status import append, forward, hit
from asgi_redis_guard.core.asgi import Headers
from asgi_redis_guard.core.structured import Item, Parameters, Token, parse_list


def parse(member: bytes) -> tuple[Item, Parameters]:
    """Parse one member of a list, strictly (RFC 9651 §4.2)."""
    members = parse_list([member])
    assert members is not None
    ((item, parameters),) = members
    assert not isinstance(item, list)
    return item, parameters


@pytest.mark.parametrize(
    ("member", "text"),
    [
        pytest.param(hit("guard"), b"guard; hit", id="§2.1"),
        pytest.param(hit("guard", 376), b"guard; hit; ttl=376", id="§3 a fresh hit"),
        pytest.param(hit("guard", -412), b"guard; hit; ttl=-412", id="§2.4 a stale hit"),
        pytest.param(hit("guard", 10, "l1"), b"guard; hit; ttl=10; detail=l1", id="§2.8 a token"),
        pytest.param(hit("guard", 10, "not l2"), b'guard; hit; ttl=10; detail="not l2"', id="§2.8 a string"),
        pytest.param(hit("guard", key="/a?b"), b'guard; hit; key="/a?b"', id="§2.7"),
        pytest.param(hit("Nearby Cache"), b'"Nearby Cache"; hit', id="§2 a name that is no token"),
        pytest.param(hit("1st"), b'"1st"; hit', id="RFC 9651 §3.3.4"),
        pytest.param(hit(""), b'""; hit', id="an empty name"),
        pytest.param(hit('a"\\é\n'), b'"a\\"\\\\%C3%A9%0A"; hit', id="RFC 9651 §3.3.3"),
        pytest.param(hit("g", 10**20), b"g; hit; ttl=999999999999999", id="RFC 9651 §3.3.1"),
        pytest.param(hit("g", -(10**20)), b"g; hit; ttl=-999999999999999", id="RFC 9651 §3.3.1 below"),
        pytest.param(forward("g", "uri-miss"), b"g; fwd=uri-miss", id="§2.2"),
        pytest.param(
            forward("g", "uri-miss", stored=True, collapsed=True), b"g; fwd=uri-miss; stored; collapsed", id="§3 two"
        ),
        pytest.param(forward("g", "uri-miss", collapsed=False), b"g; fwd=uri-miss; collapsed=?0", id="§2.6 in vain"),
        pytest.param(forward("g", "stale", fwd_status=304), b"g; fwd=stale; fwd-status=304", id="§3 validated"),
        pytest.param(
            forward("g", "bypass", detail="backend-down"), b"g; fwd=bypass; detail=backend-down", id="§2.8 the backend"
        ),
        pytest.param(
            forward("g", "vary-miss", ttl=5, key="k"), b'g; fwd=vary-miss; ttl=5; key="k"', id="§2.2 no such variant"
        ),
    ],
)
def test_a_member_is_written_as_in_rfc_9211(member: bytes, text: bytes) -> None:
    assert member == text
    parse(member)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([], [b"us; hit"]),
        ([b"origin; fwd=miss"], [b"origin; fwd=miss, us; hit"]),
        ([b"a; hit", b"b; hit "], [b"a; hit", b"b; hit, us; hit"]),
        ([b" "], [b"us; hit"]),
    ],
    ids=["alone", "after another", "after the last line", "after an empty one"],
)
def test_a_member_goes_behind_those_that_are_there(before: list[bytes], after: list[bytes]) -> None:
    headers: Headers = [(b"cache-status", value) for value in before]
    headers.append((b"etag", b'"a"'))
    append(headers, b"us; hit")
    assert [value for name, value in headers if name == b"cache-status"] == after
    assert (b"etag", b'"a"') in headers


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.integers())
def test_any_text_makes_a_well_formed_member(name: str, detail: str, key: str, ttl: int) -> None:
    found, parameters = parse(hit(name, ttl, detail, key))
    assert set(parameters) == {"hit", "ttl", "detail", "key"}
    if name.isascii() and name.isprintable():
        assert found in (name, Token(name))
    if key.isascii() and key.isprintable():
        assert parameters["key"] == key
    _, parameters = parse(forward(name, "miss", fwd_status=200, ttl=ttl, stored=True, detail=detail, key=key))
    assert parameters["fwd"] == Token("miss")
    assert parameters["stored"] is True
    assert "hit" not in parameters
