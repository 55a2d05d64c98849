"""Whose requests are counted together."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard.core.client_ip import TrustedProxies
from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.identity import Identity
from asgi_redis_guard.core.keys import Keys, digest
from asgi_redis_guard.errors import ConfigurationError
from tests.drive import ADDRESS, http_scope

NOBODY: dict[str, Any] = {}


def user(name: str, authenticated: bool = True) -> dict[str, Any]:
    return {"user": SimpleNamespace(is_authenticated=authenticated, identity=name)}


def of(
    key: Any, facts: dict[str, Any] = NOBODY, pattern: str | None = None, trusted: Any = (), **scope: Any
) -> bytes | None:
    exchange = Exchange(http_scope(**scope), 0.0, bytes, Keys())
    exchange.publish(facts)
    known = Identity(key, TrustedProxies(trusted)).of(exchange, pattern)
    return None if known is None else digest(*known)


def test_an_address_is_the_clients_and_nothing_else() -> None:
    assert of("address") == of("address", path="/other", method="POST") == of("address", user("alice"))
    assert of("address") != of("address", client=("203.0.113.8", 1))
    assert of("address") == of("address", client=(ADDRESS, 2))
    assert of("address", client=None) is None


def test_an_address_behind_a_trusted_proxy_is_the_forwarded_one() -> None:
    forwarded = {"x-forwarded-for": "198.51.100.9"}
    assert of("address", headers=forwarded) == of("address")
    assert of("address", headers=forwarded, trusted=[ADDRESS]) == of("address", client=("198.51.100.9", 1))


def test_hosts_of_one_ipv6_network_are_counted_together() -> None:
    one, two = (of("address", client=(f"2001:db8::{host}", 1)) for host in (1, 2))
    assert one == two != of("address", client=("2001:db8:0:1::1", 1))


def test_a_user_is_counted_wherever_it_comes_from() -> None:
    alice = of("user", user("alice"))
    assert alice == of("user", user("alice"), client=("198.51.100.9", 1)) == of("user", user("alice"), client=None)
    assert alice != of("user", user("bob"))


@pytest.mark.parametrize(
    "facts", [NOBODY, {"user": None}, {"user": object()}, user("alice", False), user(""), {"user": "x"}]
)
def test_without_a_user_the_address_is_counted(facts: dict[str, Any]) -> None:
    here = of("user", facts)
    assert here == of("user")
    assert here != of("user", facts, client=("198.51.100.9", 1))
    assert of("user", facts, client=None) is None


def test_a_user_never_shares_a_count_with_an_address() -> None:
    assert len({of("user", user(ADDRESS)), of("user"), of("address"), of(lambda _: ADDRESS)}) == 4


def test_users_are_needed_only_where_they_are_part_of_the_key() -> None:
    assert Identity("user", TrustedProxies()).needs == Identity(["path", "user"], TrustedProxies()).needs == {"user"}
    assert Identity(["address", "path"], TrustedProxies()).needs == frozenset()


def test_a_header_is_counted_by_its_value_and_where_it_has_several_by_the_address() -> None:
    one = of("header:X-API-Key", headers={"x-api-key": "a"})
    assert one == of("header:x-api-key", headers=[(b"x-api-key", b"a"), (b"x-api-key", b"a")])
    many = [of("header:x-api-key", headers=[(b"x-api-key", b"a"), (b"x-api-key", value)]) for value in (b"b", b"c")]
    assert many[0] == many[1] != one
    assert one != of("header:x-api-key", headers={"x-api-key": "A"})
    assert of("header:x-api-key", headers={"x-api-key": b"\xff\x00"}) is not None
    assert of("header:x-api-key", headers={"x-api-key": ""}) is not None
    assert of("header:x-api-key") is None


def test_a_path_is_counted_by_the_pattern_that_it_fell_under() -> None:
    assert of("path", pattern="/a/*", path="/a/1") == of("path", pattern="/a/*", path="/a/2")
    assert of("path", pattern="/a/*") != of("path", pattern="/b/*")
    assert of("path", path="/a") == of("path", path="/b")


def test_a_function_tells_whatever_it_likes() -> None:
    assert of(lambda exchange: exchange.path, path="/a") == of(lambda _: b"/a")
    assert of(lambda _: None) is None
    assert of(lambda _: "") is not None
    assert of([lambda _: None, "address"]) is None


def test_several_parts_count_together_and_in_their_order() -> None:
    facts = user("alice")
    both = of(["user", "address"], facts)
    assert both != of(["address", "user"], facts)
    assert both != of(["user", "address"], facts, client=("198.51.100.9", 1))
    assert both != of(["user", "address"], user("bob"))
    assert of(["user", "address"], facts, client=None) is None
    assert of(["address"]) == of("address")


@pytest.mark.parametrize(
    "key", ["", "Address", "ip", "header:", "header:é", "address,user", 5, None, [], (), ["address", "x"], [1]]
)
def test_a_key_that_is_none_is_refused(key: Any) -> None:
    with pytest.raises((ConfigurationError, TypeError), match=r"GUARD_LIMIT_KEY|iterable"):
        Identity(key, TrustedProxies())


part_values = st.text(max_size=6) | st.binary(max_size=6)


def plain(values: list[Any]) -> list[bytes]:
    return [value if isinstance(value, bytes) else value.encode() for value in values]


@settings(deadline=None)
@given(st.lists(part_values, min_size=1, max_size=4), st.lists(part_values, min_size=1, max_size=4))
def test_no_values_can_be_chosen_so_that_two_identities_are_one(one: list[Any], other: list[Any]) -> None:
    def identity(values: list[Any]) -> bytes | None:
        return of([lambda _, value=value: value for value in values])

    assert (identity(one) == identity(other)) is (plain(one) == plain(other))


@settings(deadline=None)
@given(st.text(max_size=10), st.text(max_size=10), st.binary(max_size=10))
def test_kinds_of_identity_are_never_mixed_up(name: str, host: str, field: bytes) -> None:
    found = [
        of("user", user(name)) if name else b"1",
        of("address", client=(host, 1)) or b"2",
        of("user", client=(host, 1)) or b"3",
        of("header:h", headers={"h": field}),
        of(["header:h", "header:h"], headers={"h": field}),
    ]
    assert len({*found}) == len(found)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([b"x-forwarded-for", b"forwarded", b"x-real-ip"]), st.binary(max_size=20)), max_size=4
    )
)
def test_nobody_chooses_its_identity_by_headers(headers: list[tuple[bytes, bytes]]) -> None:
    assert of("address", headers=headers) == of("address")
    assert of("user", headers=headers) == of("user")
