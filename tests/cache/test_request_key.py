"""The key of a request: no two different requests share one, unless what differs is named."""

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.authentication import AuthCredentials, BaseUser, UnauthenticatedUser

from asgi_redis_guard.cache.request_key import FIELDS, RequestKeys, fields_of, principal_parts
from asgi_redis_guard.core.keys import digest
from asgi_redis_guard.errors import ConfigurationError, PrincipalUnknown

ANY = RequestKeys()


def scope(target: str = "/", host: str | None = "a.example", method: str = "GET", **changes: Any) -> dict[str, Any]:
    """The scope of a request as uvicorn makes it; `fields` are further header fields."""
    raw, _, query = target.partition("?")
    fields = changes.pop("fields", [])
    return {
        "type": "http",
        "method": method,
        "scheme": "https",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [*([(b"host", host.encode("latin-1"))] if host is not None else []), *fields],
        **changes,
    }


def key(target: str = "/", keys: RequestKeys = ANY, **changes: Any) -> bytes:
    found = keys.resource(scope(target, **changes))
    assert found is not None
    assert len(found) == 20
    assert found.isascii()
    return found


def same(one: str, other: str, keys: RequestKeys = ANY) -> bool:
    return key(one, keys) == key(other, keys)


PARTS = ["", "/", "a", "b", ":", "%2F", "%", "%25", ";", "=", "1", "&", "+", "%20", " ", "ä", "?"]
pieces = st.lists(st.sampled_from(PARTS), max_size=4).map("".join)
spellings = st.sampled_from(
    [
        ("a.example", b"a.example"),
        ("A.Example", b"A.EXAMPLE"),
        ("a.example.", b"A.Example."),
        ("a.example:443", b"a.example:"),
        ("b.example", b"b.example:0443"),
        ("a.example:80", b"A.example:80"),
        ("[::1]", b"[0:0::0:1]:443"),
        ("[::ffff:1.2.3.4]", b"[::FFFF:102:304]"),
    ]
)
CANONICAL = {
    "a.example": "a", "A.Example": "a", "a.example.": "a.", "a.example:443": "a", "a.example:80": "a80",
    "b.example": "b", "[::1]": "::1",
    "[::ffff:1.2.3.4]": "::ffff",
}  # fmt: skip
fields = st.lists(
    st.tuples(
        st.sampled_from([b"x-forwarded-host", b"x-forwarded-proto", b"forwarded", b"x-host", b"accept", b"cookie"]),
        st.sampled_from([b"", b"a", b"b", b"a, b", b"1:a", b"6:x-host"]),
    ),
    max_size=3,
)


def requests() -> st.SearchStrategy[tuple[dict[str, Any], Any]]:
    """A request, and all by which it is told from others."""

    @st.composite
    def draw(give: st.DrawFn) -> tuple[dict[str, Any], Any]:
        method = give(st.sampled_from(["GET", "HEAD", "POST", "get"]))
        scheme = give(st.sampled_from(["http", "https"]))
        first, second = give(spellings)
        host = give(st.sampled_from([first.encode(), second]))
        raw, path, root = (
            "/" + give(pieces).replace("?", ""),
            "/" + give(pieces),
            give(st.sampled_from(["", "/", "/a"])),
        )
        query, sent = give(pieces), give(fields)
        made = scope(
            method=method, scheme=scheme, path=path, raw_path=raw.encode(), root_path=root,
            query_string=query.encode(), host=host.decode(), fields=sent,
        )  # fmt: skip
        explicit = host.rpartition(b":")[2] in (b"443", b"0443") and host != b"[::1]"
        port = 80 if host.endswith(b":80") else 443 if explicit or scheme == "https" else 80
        told = [one for one in sent if one[0] in FIELDS]
        kind = "GET" if method == "HEAD" else method
        return made, (kind, scheme, CANONICAL[first].rstrip("80"), port, raw, path, root, query, told)

    return draw()


@given(requests(), requests())
def test_two_requests_share_a_key_if_and_only_if_nothing_tells_them_apart(one: Any, other: Any) -> None:
    assert (ANY.resource(one[0]) == ANY.resource(other[0])) is (one[1] == other[1])


queries = st.lists(
    st.tuples(st.sampled_from(["a", "%61", "b", "utm_x", "utm%5Fy", "u", "", "a+b", "a%20b"]), st.sampled_from("12")),
    max_size=5,
)


def decoded(name: str) -> str:
    return unquote(name.replace("+", " "))


@given(queries, queries)
@example([("a", "1"), ("%61", "2")], [("%61", "2"), ("a", "1")])
def test_sorted_and_ignored_parameters_merge_only_queries_that_mean_the_same(one: Any, other: Any) -> None:
    keys = RequestKeys(sort_query=True, ignore_query=["utm_*"])

    def meaning(pairs: Any) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for pair in pairs:
            if not decoded(pair[0]).startswith("utm_"):
                found.setdefault(decoded(pair[0]), []).append(pair)
        return found

    def target(pairs: Any) -> str:
        return "/p?" + "&".join(map("=".join, pairs))

    assert same(target(one), target(other), keys) is (meaning(one) == meaning(other))


ALL = RequestKeys(sort_query=True, ignore_query=["utm_*", "fbclid"])


@pytest.mark.parametrize("keys", [ANY, ALL])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/p?a=1&a=2", "/p?a=2&a=1"),
        ("/p/x?a=1", "/p/xa=1"),
        ("/a%2Fb", "/a/b"),
        ("/a%2fb", "/a%2Fb"),
        ("/k/a:b", "/k/a/b"),
        ("/p", "/p/"),
        ("/p", "//p"),
        ("/p?a", "/p?a="),
        ("/p?a=1;b=2", "/p?b=2;a=1"),
        ("/p?a=1", "/p?a=%31"),
        ("/p?a=1&utm_x=1;b=2", "/p?a=1"),
        ("/p?Fbclid=1", "/p?fbclid=1"),
        ("/p?fbclid2=1", "/p?fbclid=1"),
        ("/p?a=utm_x", "/p?a="),
    ],
)
def test_requests_that_other_caches_have_merged_have_keys_of_their_own(keys: RequestKeys, one: str, other: str) -> None:
    assert not same(one, other, keys)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/p?a=1&b=2", "/p?b=2&a=1"),
        ("/p?a=1&b=2&a=3", "/p?b=2&a=1&a=3"),
        ("/p?utm_source=x&a=1", "/p?a=1&utm_medium=y"),
        ("/p?utm%5Fsource=x", "/p"),
        ("/p?fbclid", "/p"),
        ("/p?%66bclid=1&a=1", "/p?a=1"),
    ],
)
def test_options_merge_what_they_name_and_only_where_they_are_given(one: str, other: str) -> None:
    assert same(one, other, ALL)
    assert not same(one, other)


def test_parameters_are_ignored_without_being_sorted_and_a_star_alone_ignores_them_all() -> None:
    unsorted = RequestKeys(ignore_query="utm_*")
    assert same("/p?b=2&utm_x=1&a=1", "/p?b=2&a=1", unsorted)
    assert not same("/p?b=2&a=1", "/p?a=1&b=2", unsorted)
    assert same("/p?b=2&a=1", "/p", RequestKeys(ignore_query=["*"]))


def test_a_query_with_raw_bytes_past_ascii_counts_as_it_is() -> None:
    raw = [scope(query_string=query) for query in (b"\xc3\xa4=1&%C3%A4=2", b"%C3%A4=2&\xc3\xa4=1")]
    assert ALL.resource(raw[0]) != ALL.resource(raw[1])


def test_get_and_head_are_one_and_other_methods_are_each_their_own() -> None:
    assert key(method="GET") == key(method="HEAD")
    assert len({key(method=method) for method in ("GET", "POST", "QUERY", "get", "PROPFIND")}) == 5


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_fields_that_caches_are_poisoned_with_count_with_all_their_lines_in_order(name: bytes) -> None:
    lines: list[list[tuple[bytes, bytes]]] = [
        [],
        [(name, b"")],
        [(name, b"a")],
        [(name, b"a"), (name, b"b")],
        [(name, b"b"), (name, b"a")],
        [(name, b"a, b")],
    ]
    assert len({key(fields=some) for some in lines}) == len(lines)
    assert {ANY.target(scope(fields=some)) for some in lines} == {key()}
    assert fields_of(scope(fields=[*lines[3], (b"accept", b"x")])) == [name, b"a", name, b"b"]


def test_fields_that_change_nothing_do_not_count() -> None:
    assert key(fields=[(b"accept", b"x"), (b"x-forwarded-for", b"1.2.3.4"), (b"cookie", b"a=b")]) == key()


@pytest.mark.parametrize(
    "host",
    [
        None, "", ":", ":443", "a b", "a.example, b.example", "u@a.example", "a.example/x", "a.example#", "a..example",
        ".a.example", "a.example..", "a.example:x", "a.example:0", "a.example:65536", "a.example:443:443", "a:-1",
        "[::1", "::1", "[::1]x", "[::1%25eth0]", "[v1.x]", "[1.2.3.4]", "[]", "\xe4.example", "a.example\t", "a%2eb",
        "-a.example", "a." + "b" * 64, ".".join(["abcdefg"] * 40), "a.example:0000443", "<script>", "a\\b", "a\n",
    ],
)  # fmt: skip
def test_a_missing_or_malformed_host_has_no_key(host: str | None) -> None:
    assert ANY.resource(scope(host=host)) is None
    assert ANY.target(scope(host=host)) is None


def test_several_different_hosts_have_no_key_and_the_same_twice_has() -> None:
    assert ANY.resource(scope(fields=[(b"host", b"evil.example")])) is None
    assert ANY.target(scope(fields=[(b"host", b"evil.example")])) is None
    assert key(fields=[(b"host", b"a.example")]) == key()


@pytest.mark.parametrize("target", ["", "*", "a", "https://a.example/", "a.example:443", "\\/"])
def test_a_target_that_is_no_path_has_no_key(target: str) -> None:
    assert ANY.resource(scope(target)) is None


def test_a_query_within_the_raw_path_is_cut_off() -> None:
    assert key(path="/p", raw_path=b"/p?a=1", query_string=b"a=1") == key("/p?a=1")


@given(st.text(max_size=6), st.text(max_size=6))
@example("a%2Fb", "a/b")
@example("\udcff", "\ufffd")
@example("a?b", "a%3Fb")
def test_where_a_server_gives_no_raw_path_different_paths_still_have_different_keys(one: str, other: str) -> None:
    for absent in ({"raw_path": None}, {"raw_path": b""}):
        assert (key(path="/" + one, **absent) == key(path="/" + other, **absent)) is (one == other)


def test_a_scope_of_the_least_that_asgi_asks_for_has_a_key() -> None:
    least = {"type": "http", "method": "GET", "path": "/a b", "headers": [(b"host", b"a.example")]}
    assert ANY.resource(least) == key("/a%20b", scheme="http")


def test_a_path_that_something_further_out_has_rewritten_has_a_key_of_its_own() -> None:
    assert key("/x") != key("/x", path="/tenant/x")
    assert key("/x") != key("/x", root_path="/tenant")


@pytest.mark.parametrize(
    ("hosts", "allowed", "refused"),
    [
        (
            ["example.com"],
            ["example.com", "EXAMPLE.com.", "example.com:8000", "example.com:443"],
            ["www.example.com", "example.com.evil", "evilexample.com", "example.org"],
        ),
        (
            ["*.example.com"],
            ["a.example.com", "a.b.example.com", "A.Example.Com:8000"],
            ["example.com", "aexample.com", ".example.com", "example.com.a"],
        ),
        (
            ["example.com:8000", "*.b.example:81"],
            ["example.com:8000", "a.b.example:81"],
            ["example.com", "a.b.example"],
        ),
        (["Example.com:443"], ["example.com", "example.com:443"], ["example.com:80"]),
        (["[0::1]", "127.0.0.1"], ["[::1]:8000", "[::1]", "127.0.0.1"], ["[::2]", "127.0.0.2", "127.1"]),
        ("example.com", ["example.com"], ["e"]),
    ],
)
def test_only_hosts_that_are_allowed_have_keys(hosts: Any, allowed: list[str], refused: list[str]) -> None:
    keys = RequestKeys(hosts=hosts)
    assert None not in [keys.resource(scope(host=host)) for host in allowed]
    assert {keys.resource(scope(host=host)) for host in refused} == {None}


def test_ports_have_keys_of_their_own_but_for_the_schemes_own() -> None:
    assert key(host="a.example:443") == key(host="a.example") != key(host="a.example:8443")
    assert key(host="a.example:80", scheme="http") == key(scheme="http") != key()


def test_a_host_of_any_length_is_not_remembered() -> None:
    keys = RequestKeys()
    keys.resource(scope(host="a" * 100_000))
    assert keys._hosts.normal.cache_info().currsize == 0


@pytest.mark.parametrize("target", ["/", "/p?a=1", "/a%2Fb?x=%20&y", "/a:b;c", "/ä?q=ö", "/%C3%A4", "/p?a=1?b=2"])
def test_a_url_has_the_key_of_a_request_for_it(target: str) -> None:
    sent = target.replace("ä", "%C3%A4").replace("ö", "%C3%B6")
    assert ANY.of_url("https://A.example:443" + target + "#part") == key(sent)
    assert ANY.of_url("https://a.example" + target, "POST") == key(sent, method="POST")
    below = scope(sent, root_path="/api")
    assert ANY.of_url("https://a.example" + target, root_path="/api") == ANY.resource(below) != key(sent)


@pytest.mark.parametrize(
    "url", ["/p", "//", "https:///p", "https://[::1/p", "https://ä.example/", "https://u@a.example/"]
)
def test_what_is_no_url_of_a_resource_has_no_key(url: str) -> None:
    assert ANY.of_url(url) is None


def test_a_url_without_a_path_is_that_of_the_root() -> None:
    assert ANY.of_url("https://a.example?a=1") == key("/?a=1")


def test_what_a_write_concerns_is_the_url_as_others_get_it() -> None:
    override = [(b"x-http-method-override", b"DELETE")]
    write = scope("/p?a=1", method="POST", fields=override)
    assert ANY.target(write) == key("/p?a=1") != ANY.resource(write)
    assert ANY.target(write, "POST") == key("/p?a=1", method="POST")


def test_options_that_cannot_work_are_all_named() -> None:
    with pytest.raises(ConfigurationError) as caught:
        RequestKeys(hosts=["a.example", "*", "https://a", "*.[::1]", 5], ignore_query=["", "a*b", "*"])  # type: ignore[list-item]
    assert [fault.partition(" given")[0] for fault in caught.value.faults] == [
        "hosts: '*'", "hosts: 'https://a'", "hosts: '*.[::1]'", "hosts: 5", "ignore_query: ''", "ignore_query: 'a*b'",
    ]  # fmt: skip


def test_what_keys_say_of_themselves() -> None:
    assert repr(RequestKeys(hosts=["a"])) == "<RequestKeys of its hosts>"
    assert repr(ANY) == "<RequestKeys of any host>"


class Principal:
    is_authenticated = True

    def __init__(self, identity: Any, namespace: str | None = None) -> None:
        self.identity = identity
        if namespace is not None:
            self.namespace = namespace


def parts_of(user: Any, *scopes: str) -> bytes:
    parts = principal_parts(user, AuthCredentials(list(scopes)))
    assert parts is not None
    return digest(*parts)


def test_nobody_has_no_parts() -> None:
    assert principal_parts(None, None) is None
    assert principal_parts(UnauthenticatedUser(), AuthCredentials(["read"])) is None


def test_principals_are_told_apart_by_identity_namespace_and_scopes() -> None:
    everybody = [
        parts_of(Principal("a")),
        parts_of(Principal("b")),
        parts_of(Principal(1)),
        parts_of(Principal("1")),
        parts_of(Principal(b"1")),
        parts_of(Principal("a", "issuer")),
        parts_of(Principal("issuer", "a")),
        parts_of(Principal("a"), "issuer"),
        parts_of(Principal("a"), "b", "c"),
        parts_of(Principal("a"), "bc"),
    ]
    assert len(set(everybody)) == len(everybody)


def test_the_order_and_repetition_of_scopes_do_not_count_nor_does_an_empty_namespace() -> None:
    assert parts_of(Principal("a"), "x", "y") == parts_of(Principal("a"), "y", "x", "y")
    assert parts_of(Principal("a", "")) == parts_of(Principal("a"))


def test_scopes_as_one_text_are_words() -> None:
    class Granted:
        scopes = "read write"

    assert principal_parts(Principal("a"), Granted()) == principal_parts(
        Principal("a"), AuthCredentials(["write", "read"])
    )
    assert principal_parts(Principal("a"), None) == principal_parts(Principal("a"), AuthCredentials())


class Named(BaseUser):
    """A user with no more than Starlette asks for."""

    is_authenticated = True
    display_name = "a shared name"


class Bare:
    is_authenticated = True


@pytest.mark.parametrize("user", [Principal(""), Principal(None), Principal(b""), Named(), Bare()])
def test_a_verified_user_without_an_identity_is_not_taken_for_nobody(user: Any) -> None:
    with pytest.raises(PrincipalUnknown):
        principal_parts(user, None)
