"""Who the client is: the peer, unless the peer is a trusted proxy that vouches for somebody else."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard.core.client_ip import TrustedProxies, parse
from asgi_redis_guard.errors import ConfigurationError

PROXY, OTHER_PROXY, CLIENT = "10.0.0.1", "10.1.2.3", "203.0.113.7"


def scope(peer: str | None, *forwarded: str | bytes, **more: bytes) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode() if isinstance(value, str) else value) for value in forwarded]
    headers += [(name.replace("_", "-").encode(), value) for name, value in more.items()]
    return {"client": None if peer is None else (peer, 5), "headers": headers}


def client(trusted: Any, peer: str | None, *forwarded: str | bytes, **more: Any) -> str | None:
    return TrustedProxies(trusted).client(scope(peer, *forwarded, **more))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:8080", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("2001:DB8:0:0:0:0:0:7", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:80", "203.0.113.7"),
        ("::ffff:cb00:7107", "203.0.113.7"),
        ("::1", "::1"),
        ("::", "::"),
    ],
)
def test_addresses_are_read_in_all_their_forms(text: str, address: str) -> None:
    assert str(parse(text)) == address


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "unknown",
            "_hidden",
            "localhost",
            "203.0.113",
            "203.0.113.256",
            "0203.0.113.7",
            "1.2.3.4.5",
            "1.2.3.4 ",
        ),
        *(
            "0x7f.1",
            "2130706433",
            "127.1",
            ":::",
            "2001:db8::7::",
            "[",
            "[]",
            "]",
            "for=1.2.3.4",
            "1.2.3.4/8",
            "%",
            "%eth0",
        ),
        *("\x00", "1.2.3.4\x00", "\u0661.2.3.4", "1.2.3.4, 5.6.7.8", "a" * 10_000, ":", "::g"),
    ],
)
def test_what_is_no_address_is_none(text: str) -> None:
    assert parse(text) is None


# Directly connected peers.


def test_the_peer_is_the_client_where_nobody_is_trusted() -> None:
    assert client((), CLIENT) == CLIENT
    assert client((), CLIENT, "1.1.1.1") == CLIENT
    assert client((), f"::ffff:{CLIENT}") == CLIENT


@pytest.mark.parametrize(
    "peer", ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::1%e"]
)
def test_an_ipv6_network_counts_as_one_client(peer: str) -> None:
    assert client((), peer) == "2001:db8:1:2::/64"


def test_the_size_of_an_ipv6_network_can_be_chosen() -> None:
    peer = scope("2001:db8:1:2:3:4:5:6")
    assert TrustedProxies(ipv6_prefix=56).client(peer) == "2001:db8:1::/56"
    assert TrustedProxies(ipv6_prefix=128).client(peer) == "2001:db8:1:2:3:4:5:6"
    assert TrustedProxies(ipv6_prefix=16).client(peer) == "2001::/16"
    for prefix in (15, 129, 0, -1):
        with pytest.raises(ConfigurationError, match="ipv6_prefix"):
            TrustedProxies(ipv6_prefix=prefix)


@pytest.mark.parametrize("missing", [None, (), [], ("", 0), (None, 0), ["", None]])
@pytest.mark.parametrize("trusted", [(), (PROXY,)])
def test_a_server_that_does_not_know_the_peer_leaves_nobody(missing: Any, trusted: tuple[str, ...]) -> None:
    forged = {"client": missing, "headers": [(b"x-forwarded-for", b"1.1.1.1")]}
    assert TrustedProxies(trusted).client(forged) is None


def test_a_scope_without_client_leaves_nobody() -> None:
    assert TrustedProxies().client({"headers": []}) is None


def test_a_name_that_the_server_gives_stands_for_the_peer() -> None:
    """Starlette's and Litestar's test clients."""
    for trusted in ((), (PROXY,), ("unix",)):
        assert client(trusted, "testclient", "1.1.1.1") == "testclient"


@pytest.mark.parametrize("peer", ["unix:", "unix:/run/app.sock", "/run/app.sock"])
def test_the_name_of_a_unix_socket_stands_for_nobody(peer: str) -> None:
    """It would be one and the same for everybody."""
    assert client((), peer) is None
    assert client((PROXY,), peer, "1.1.1.1") is None
    assert client(("unix",), peer, CLIENT) == CLIENT


# Behind proxies.


@pytest.mark.parametrize(
    ("forwarded", "found"),
    [
        ([CLIENT], CLIENT),
        ([f"1.1.1.1, {CLIENT}"], CLIENT),
        ([f"{CLIENT}, {OTHER_PROXY}"], CLIENT),
        ([f"1.1.1.1, {CLIENT}, {OTHER_PROXY}, {PROXY}"], CLIENT),
        (["1.1.1.1", CLIENT], CLIENT),
        ([f"1.1.1.1, {CLIENT}", OTHER_PROXY], CLIENT),
        ([f"  {CLIENT}  ,\t{OTHER_PROXY}\t"], CLIENT),
        ([f"{CLIENT}:4711, {OTHER_PROXY}:80"], CLIENT),
        ([f"::ffff:{CLIENT}"], CLIENT),
        (["[2001:db8:1:2::9]:443"], "2001:db8:1:2::/64"),
        (["2001:db8:1:2::9"], "2001:db8:1:2::/64"),
        ([f"{OTHER_PROXY}, {PROXY}"], OTHER_PROXY),
        ([f"garbage, {CLIENT}"], CLIENT),
        ([f"{CLIENT}, garbage, {OTHER_PROXY}"], OTHER_PROXY),
        ([f"{CLIENT}, garbage"], PROXY),
        ([f"{CLIENT}, ", OTHER_PROXY], OTHER_PROXY),
        ([""], PROXY),
        ([","], PROXY),
        ([b"\xff\xfe"], PROXY),
        ([b"\xff, " + CLIENT.encode()], CLIENT),
        ([], PROXY),
    ],
)
def test_the_chain_is_read_from_right_to_left(forwarded: list[str | bytes], found: str) -> None:
    assert client(["10.0.0.0/8"], PROXY, *forwarded) == found


def test_a_long_chain_is_cut_at_the_left() -> None:
    chain = ", ".join(["1.1.1.1"] + [OTHER_PROXY] * 100)
    assert client(["10.0.0.0/8"], PROXY, chain) == OTHER_PROXY
    assert client(["10.0.0.0/8"], PROXY, ", ".join([OTHER_PROXY] * 5000 + [CLIENT])) == CLIENT


def test_other_headers_are_never_looked_at() -> None:
    more = dict.fromkeys(("x_real_ip", "forwarded", "cf_connecting_ip", "true_client_ip", "x_client_ip"), b"1.1.1.1")
    assert client([PROXY], PROXY, **more) == PROXY
    assert client([PROXY], PROXY, CLIENT, **more) == CLIENT


def test_a_peer_beside_the_trusted_network_is_no_proxy() -> None:
    assert client(["10.0.0.0/24"], "10.0.1.1", "1.1.1.1") == "10.0.1.1"
    assert client(["2001:db8::/64"], "2001:db8:0:1::1", "1.1.1.1") == "2001:db8:0:1::/64"
    assert client(["::/0"], CLIENT, "1.1.1.1") == CLIENT, "families are not mixed"


def test_trusted_proxies_may_be_given_in_all_forms() -> None:
    assert client("10.0.0.0/8, 192.168.0.1", PROXY, CLIENT) == CLIENT
    assert client(["10.0.0.9/8"], PROXY, CLIENT) == CLIENT
    assert client(["2001:db8::/32"], "2001:db8::1", CLIENT) == CLIENT
    assert client([PROXY], f"::ffff:{PROXY}", CLIENT) == CLIENT
    assert client([f"::ffff:{PROXY}"], PROXY, CLIENT) == CLIENT
    assert client(["::ffff:10.0.0.0/104"], f"::ffff:{OTHER_PROXY}", CLIENT) == CLIENT
    assert not TrustedProxies()
    assert TrustedProxies(["unix"])


def test_a_unix_peer_is_trusted_only_where_it_is_named() -> None:
    assert client(["unix"], None, CLIENT) == CLIENT
    assert client(["unix"], "", f"1.1.1.1, {CLIENT}") == CLIENT
    assert client(["unix", "10.0.0.0/8"], None, f"{CLIENT}, {PROXY}") == CLIENT
    assert client(["unix"], None) is None
    assert client(["unix"], None, "garbage") is None
    assert client([PROXY], None, CLIENT) is None
    assert client(["unix"], PROXY, CLIENT) == PROXY


@pytest.mark.parametrize("entry", ["nonsense", "10.0.0.0/33", "10.0.0", "", "*", "10.0.0.1:80", "unix:"])
def test_what_is_no_proxy_is_refused_and_all_are_told_at_once(entry: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        TrustedProxies([entry, PROXY, "also wrong"])
    assert len(caught.value.faults) == 2
    assert repr(entry) in caught.value.faults[0]


# What nobody can forge.

field_values = st.lists(st.binary(max_size=60) | st.ip_addresses().map(lambda ip: str(ip).encode()), max_size=4)
addresses = st.ip_addresses()


@settings(deadline=None)
@given(addresses, field_values, st.sampled_from([(), ("10.0.0.0/8",), ("unix", "192.0.2.1")]))
def test_an_untrusted_peer_never_chooses_its_identity(peer: Any, fields: list[bytes], trusted: tuple[str, ...]) -> None:
    proxies = TrustedProxies(trusted)
    if parse(str(peer)) not in proxies._trusted:
        assert proxies.client(scope(str(peer), *fields)) == proxies.client(scope(str(peer))) is not None


@settings(deadline=None)
@given(addresses, field_values, st.booleans(), st.sampled_from(["", PROXY, f"{PROXY}, {OTHER_PROXY}"]))
def test_a_client_behind_honest_proxies_never_chooses_its_identity(
    real: Any, forged: list[bytes], joined: bool, way: str
) -> None:
    """Each proxy appends whom it has heard from, to the last field or in one of its own."""
    proxies = TrustedProxies(["10.0.0.0/8"])
    if parse(str(real)) in proxies._trusted:
        return
    seen = ", ".join([str(real), *way.split(", ")] if way else [str(real)]).encode()
    fields = [*forged[:-1], forged[-1] + b", " + seen] if joined and forged else [*forged, seen]
    assert proxies.client(scope(PROXY, *fields)) == proxies.client(scope(str(real)))


@settings(deadline=None)
@given(st.none() | st.text(max_size=12), field_values)
def test_no_peer_and_no_header_is_an_error(peer: str | None, fields: list[bytes]) -> None:
    for trusted in ((), ("unix",), ("0.0.0.0/0", "::/0")):
        found = TrustedProxies(trusted).client(scope(peer, *fields))
        assert found is None or (isinstance(found, str) and found)
