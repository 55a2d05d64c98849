"""Where Redis is, read from a URL, and that no password is ever repeated."""

from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.redis.address import SCHEMES, Address, mask
from asgi_redis_guard.redis.slots import Place
from tests.tls import Certificates

SECRET = "S3cr3tW0rd"

#: What people put into URLs without quoting it.
rubbish = st.text(st.sampled_from("aé:/?#[]@%&=. \t\n⁄℀"), max_size=6)
no_login_yet = rubbish.filter(lambda text: "@" not in text)


def test_a_tcp_url_is_read_whole() -> None:
    address = Address.parse("redis://alice:p%40ss@example.org:6380/3")
    assert (address.host, address.port, address.db, address.path) == ("example.org", 6380, 3, None)
    assert address.credentials == ("alice", "p@ss")
    assert not address.tls
    assert not address.local
    assert str(address) == "redis://example.org:6380/3"


def test_what_a_url_leaves_out_has_the_usual_values() -> None:
    address = Address.parse("redis://")
    assert (address.host, address.port, address.db, address.credentials) == ("localhost", 6379, 0, None)
    assert address.local


def test_a_unix_url_is_read_whole() -> None:
    address = Address.parse("unix://:secret@/run/redis.sock?db=2")
    assert (address.path, address.db, address.credentials) == ("/run/redis.sock", 2, ("default", "secret"))
    assert address.local
    assert str(address) == "unix:///run/redis.sock"


@pytest.mark.parametrize("scheme", ["memory", "embedded"])
def test_a_store_of_this_process_needs_no_place(scheme: str) -> None:
    address = Address.parse(f"{scheme}://")
    assert (str(address), address.credentials, address.local) == (f"{scheme}://", None, True)


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("[::1]", True), ("10.0.0.1", False)])
def test_it_knows_whether_traffic_leaves_the_machine(host: str, local: bool) -> None:
    assert Address.parse(f"redis://{host}").local is local


def test_plain_addresses_have_no_tls() -> None:
    assert Address.parse("redis://localhost").ssl_context() is None


def test_tls_checks_the_certificate_and_the_name() -> None:
    import ssl

    context = Address.parse("rediss://localhost").ssl_context()
    assert context is not None
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_tls_takes_an_authority_of_its_own(certificates: Certificates) -> None:
    context = Address.parse(f"rediss://localhost?ssl_ca_certs={certificates.ca}").ssl_context()
    assert context is not None
    assert ((("commonName", "test authority"),),) in [ca["subject"] for ca in context.get_ca_certs()]


def test_checks_are_off_only_where_the_url_says_so() -> None:
    import ssl

    context = Address.parse("rediss://localhost?ssl_cert_reqs=none").ssl_context()
    assert context is not None
    assert context.verify_mode == ssl.CERT_NONE


@pytest.mark.parametrize("url", ["http://localhost", "localhost:6379", "", "redis", "//localhost"])
def test_an_unknown_scheme_is_refused_with_those_that_are_known(url: str) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_URL") as caught:
        Address.parse(url)
    assert all(f"{scheme}://" in str(caught.value) for scheme in SCHEMES)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:nonsense",
        "redis://localhost:99999",
        "redis://[::1",
        "redis://localhost?db=many",
        "redis://localhost?port=many",
        "redis://localhost/many",
        "redis://localhost?no_such_option=1",
        "rediss://localhost?ssl_cert_reqs=perhaps",
        "unix://",
    ],
)
def test_what_cannot_be_parsed_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="REDIS_URL"):
        Address.parse(url)


@given(
    st.sampled_from(["redis", "rediss", "unix", "REDIS"]),
    st.text(max_size=8),
    st.text(min_size=1, max_size=12).filter(lambda text: not set(text) <= set("lochst:/0123456789@*")),
)
def test_quoted_credentials_are_read_back_and_shown_nowhere(scheme: str, user: str, password: str) -> None:
    marked = SECRET + password
    place = "/run/s" if scheme == "unix" else "localhost:6379/0"
    address = Address.parse(f"{scheme}://{quote(user, safe='')}:{quote(marked, safe='')}@{place}")
    assert address.credentials == (user or "default", marked)
    assert SECRET not in f"{address!r} {address}"


@settings(max_examples=500, deadline=None)
@given(
    no_login_yet,
    rubbish,
    rubbish,
    st.sampled_from(["redis", "rediss", "unix", "redes", "redis+sentinel", "redis+cluster"]),
)
@example("", "/", "@host", "redis")
@example("", "#", "@host", "redis")
@example("", "", "", "redis")
@example("[", "", "@host", "redis")
@example("℀", "", "@host", "redis")
@example("host?password=", "@", "", "redis")
def test_no_password_is_shown_however_a_url_is_broken(before: str, middle: str, after: str, scheme: str) -> None:
    """The password may stand anywhere behind a colon or an equals sign, quoted or not."""
    url = f"{scheme}://user:{before}{SECRET}{middle}{after}"
    shown = mask(url)
    try:
        address = Address.parse(url)
    except ConfigurationError as error:
        shown += f"{error} {error!r} {error.__cause__!r} {None if error.__suppress_context__ else error.__context__!r}"
    else:
        shown += repr(address)
        if SECRET not in address.host + (address.path or ""):  # there it is a name, not a password
            shown += str(address)
    assert SECRET not in shown


def test_a_url_is_masked_but_its_place_stays() -> None:
    assert mask("redis://alice:secret@example.org:6380/1?password=x") == "redis://***@example.org:6380/1"
    assert mask("redis://example.org") == "redis://example.org"
    assert mask("unix://:secret@/run/redis.sock") == "unix://***@/run/redis.sock"


@pytest.mark.parametrize(
    ("url", "text", "tls"),
    [
        ("redis+cluster://a:1,b:2,c", "redis+cluster://a:1,b:2,c:6379", False),
        ("redis+cluster://a", "redis+cluster://a:6379", False),
        ("rediss+cluster://[::1]:1,b/0", "rediss+cluster://[::1]:1,b:6379", True),
        ("redis://a,b:2/", "redis+cluster://a:6379,b:2", False),
        ("REDISS://a,a,b:2", "rediss+cluster://a:6379,b:2", True),
    ],
)
def test_a_cluster_is_named_by_some_of_its_servers(url: str, text: str, tls: bool) -> None:
    address = Address.parse(url)
    assert (str(address), address.tls, address.cluster) == (text, tls, True)
    assert (address.host, address.port) == address.nodes[0]


def test_every_server_of_a_cluster_is_greeted_in_the_same_way() -> None:
    address = Address.parse("redis+cluster://alice:p%40s,s@a:1,b:2/?client_name=x")
    node = address.at(Place("10.0.0.9", 7))
    assert (node.host, node.port, node.credentials, node.cluster) == ("10.0.0.9", 7, ("alice", "p@s,s"), False)
    assert str(node) == "redis://10.0.0.9:7/0"
    assert node.options["client_name"] == "x"


@pytest.mark.parametrize(
    ("url", "option"),
    [
        ("redis://:{}@h?foo=1", "foo"),
        ("rediss+cluster://:{}@a,b?ssl_ca=/x", "ssl_ca"),
        ("redis+sentinel://:{}@a,b/main?sentinel_pasword=x", "sentinel_pasword"),
    ],
)
def test_an_unknown_option_is_named(url: str, option: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"REDIS_URL.* unknown option '{option}'; allowed are") as caught:
        Address.parse(url.format(SECRET))
    assert SECRET not in str(caught.value)


def test_what_looks_like_an_option_within_a_password_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError, match="cannot be read") as caught:
        Address.parse("redis://:abc?tail=of@h")
    assert "tail" not in str(caught.value)


def test_a_cluster_has_no_databases() -> None:
    with pytest.raises(ConfigurationError, match="none but 0") as caught:
        Address.parse(f"redis+cluster://:{SECRET}@a,b/3")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("hosts", ["a:x,b", "a,b:99999", "a/b,c", ",a@b:c", "[::1,b"])
def test_a_cluster_s_url_that_cannot_be_read_is_refused_without_its_password(hosts: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read|names a database") as caught:
        Address.parse(f"redis+cluster://:{SECRET}@{hosts}")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("hosts", "local"), [("127.0.0.1:1,localhost:2", True), ("127.0.0.1,10.0.0.1", False)])
def test_a_cluster_is_local_where_all_of_it_is(hosts: str, local: bool) -> None:
    assert Address.parse(f"redis+cluster://{hosts}").local is local
