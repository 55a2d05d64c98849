"""`core/key_template.py`: what a template makes of requests and of calls, and that no two of them make one key."""

from datetime import date
from enum import Enum
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.core import documents, exchange
from asgi_redis_guard.core.client_ip import TrustedProxies
from asgi_redis_guard.core.documents import Unclear
from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.key_template import KeyTemplate
from asgi_redis_guard.core.keys import Keys, digest
from asgi_redis_guard.errors import ConfigurationError
from tests.drive import http_scope

NOBODY = TrustedProxies(())
ALICE = SimpleNamespace(is_authenticated=True, identity="alice", claims={"org": "acme"})


class Colour(Enum):
    RED = "red"


def template(text: str) -> KeyTemplate:
    return KeyTemplate(text, NOBODY, option="key")


def seen(user: Any = None, *, arguments: Any = None, route: str = "", **scope: Any) -> Exchange:
    one = Exchange(http_scope(**scope), 0.0, bytes, Keys())
    if user is not None:
        one.publish({"user": user})
    one.arguments = arguments or {}
    one.route = route
    return one


def of(text: str, user: Any = None, body: bytes | None = None, **request: Any) -> bytes | None:
    parts = template(text).of(seen(user, **request), body)
    return None if parts is None else digest(*parts)


def call(text: str, **arguments: Any) -> bytes:
    return digest(*template(text).of_call(arguments))


def test_each_place_is_filled_by_what_its_word_says() -> None:
    one = seen(
        ALICE,
        path="/imports/7",
        method="POST",
        headers={"x-tenant": "acme", "cookie": "plan=gold"},
        query_string=b"page=2",
        path_params={"id": 7},
    )
    text = "a{user}{address}{method}{path}{header:X-Tenant}{cookie:plan}{query:page}{claim:org}{id}{json:a.b}"
    parts = template(text).of(one, b'{"a": {"b": true}}')
    assert parts is not None
    assert [part.decode() if isinstance(part, bytes) else part for part in parts] == [
        *("", "a", "user", "alice", "address", "203.0.113.7", "method", "POST", "path", "/imports/7"),
        *("header:x-tenant", "acme", "cookie:plan", "gold", "query:page", "2", "claim:org", "acme"),
        *("param:id", "7", "json:a.b", "true"),
    ]


def test_a_template_without_places_is_the_same_for_everybody() -> None:
    assert of("nightly") == of("nightly", ALICE, path="/other") == call("nightly")
    assert of("nightly") != of("daily")


def test_doubled_braces_are_plain_ones() -> None:
    assert template("{{{id}}}").parts == ("{", ("param:id",), "}")
    assert of("{{user}}") == of("{{user}}", ALICE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{user}", {"needs": frozenset({"user"})}),
        ("{header:x|claim:org}", {"needs": frozenset({"user"})}),
        ("{json:a}", {"reads_body": True}),
        ("{id}{param:page}", {"reads_arguments": True, "names": frozenset({"id", "page"})}),
        ("{header:x}{path}{route}", {}),
    ],
)
def test_a_template_says_what_it_must_be_given(text: str, words: dict[str, Any]) -> None:
    known = template(text)
    plain = {"needs": frozenset(), "reads_body": False, "reads_arguments": False, "names": frozenset()}
    assert {name: getattr(known, name) for name in plain} == plain | words


@pytest.mark.parametrize(
    "text",
    [
        *("", None, 7, "{}", "{", "}", "a{b", "{a{b}}", "{a b}", "{header}", "{header:}", "{json}", "{json:a..b}"),
        *("{json:}", "{param:}", "{7}", "{heder:x}", "{user|}", "{query:}", "{a.b}", "{a[0]}", "{a!r}"),
        *("{header:x tenant}", "{cookie:a;b}", "{header:tenänt}"),
    ],
)
def test_what_is_no_template_is_refused_by_the_name_of_its_option(text: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^key: .*allowed") as caught:
        template(text)
    assert repr(text) in str(caught.value)


def test_all_faults_of_a_template_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        template("{header}{id}{a b}")
    assert len(caught.value.faults) == 2


@pytest.mark.parametrize("text", ["{header:x}", "{cookie:x}", "{query:x}", "{claim:x}", "{x}", "{json:x}", "{route}"])
def test_what_is_not_there_cannot_be_told(text: str) -> None:
    assert of(f"import:{text}", ALICE, b"{}") is None
    assert of(f"import:{text}", ALICE, None) is None


def test_of_alternatives_the_first_counts_that_can_be_told_and_never_passes_for_another() -> None:
    text = "{header:x|json:x|user}"
    told = {
        of(text, ALICE, b'{"x": "alice"}', headers={"x": "alice"}),
        of(text, ALICE, b'{"x": "alice"}'),
        of(text, ALICE),
    }
    assert len(told) == 3
    assert of(text, ALICE, b'{"x": null}') == of(text, ALICE)


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("{query:x|user}", {"query_string": b"x=1&x=2"}),
        ("{query:x|user}", {"query_string": b"x=1&%78=2"}),
        ("{header:x|user}", {"headers": [(b"x", b"1"), (b"x", b"2")]}),
        ("{cookie:x|user}", {"headers": {"cookie": "x=1; x=2"}}),
        ("{cookie:x|user}", {"headers": {"cookie": r'x="\061"'}}),
        ("{cookie:x|user}", {"headers": {"cookie": "x=1\xa0"}}),
        ("{cookie:x|user}", {"headers": {"cookie": "x=1; \xa0x=2"}}),
        ("{cookie:x|user}", {"headers": {"cookie": "x=1; y=" + "y" * 40_000}}),
        ("{cookie:x|user}", {"headers": [(b"cookie", b"x=1"), (b"cookie", b"y=" + b"y" * 20_000)] * 2}),
        ("{json:x|user}", {"body": b'{"x": []}'}),
        ("{json:x|user}", {"body": b'{"x": 1, "x": 2}'}),
    ],
)
def test_what_an_app_may_read_otherwise_is_unclear_whatever_else_would_do(text: str, request_: dict[str, Any]) -> None:
    with pytest.raises(Unclear):
        of(text, ALICE, **request_)


def test_an_argument_that_is_nested_too_deeply_is_unclear_in_a_request_and_an_error_in_a_call() -> None:
    deep: Any = 7
    for _ in range(100):
        deep = [deep]
    with pytest.raises(Unclear):
        of("{x}", arguments={"x": deep})
    with pytest.raises(TypeError, match="nested"):
        call("{x}", x=deep)


def test_the_same_value_several_times_is_that_value() -> None:
    assert of("{query:x}", query_string=b"x=1&x=1") == of("{query:x}", query_string=b"x=1") is not None
    assert of("{header:x}", headers=[(b"x", b"1")] * 2) == of("{header:x}", headers={"x": "1"}) is not None


@pytest.mark.parametrize("path", ["/o/7/", "//o//7", "/api/o/7", "/x/api/o/7", "/./o/7"])
def test_paths_that_a_sloppy_router_takes_for_one_are_one(path: str) -> None:
    assert of("{path}", path=path, root_path="/api") == of("{path}", path="/o/7")


def test_users_of_different_issuers_are_different() -> None:
    users = [SimpleNamespace(is_authenticated=True, identity=name, namespace=issuer) for issuer, name in ("ab", "ac")]
    one, two = (of("{user}", user) for user in users)
    assert one != two
    assert of("{user}", ALICE) not in (one, two)


def test_an_argument_counts_before_what_stands_in_the_path() -> None:
    assert of("{id}", arguments={"id": 7}, path_params={"id": "07"}) == of("{id}", path_params={"id": "7"})
    assert of("{param:user}", arguments={"user": "bob"}) == call("{param:user}", user="bob")


def test_an_argument_that_is_none_cannot_be_told_and_an_object_makes_no_key() -> None:
    assert of("{id}", arguments={"id": None}, path_params={"id": "7"}) is None
    with pytest.raises(TypeError, match=r"\{id\}: a object makes no key"):
        of("{id}", arguments={"id": object()})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7, "7"),
        (True, "true"),
        (Colour.RED, "red"),
        (UUID(int=7), str(UUID(int=7))),
        (date(2026, 1, 2), "2026-01-02"),
    ],
)
def test_a_value_is_the_same_by_its_type_and_by_its_text(value: Any, text: str) -> None:
    assert call("{x}", x=value) == call("{x}", x=text) == of("{x}", path_params={"x": text})
    assert call("{x}", x=[value]) != call("{x}", x=text)


def test_collections_are_told_by_all_that_is_in_them() -> None:
    lists: list[Any] = [["a", "b"], ["a,b"], ["b", "a"], {"a": "b"}, {"a", "b"}, []]
    assert len({call("{x}", x=value) for value in lists}) == len(lists)


def test_the_route_is_its_template_and_its_function() -> None:
    def function() -> None: ...

    by_template = of("{route}", path_template="/imports/{id}", path="/imports/1")
    assert by_template == of("{route}", route_handler=1, path_template="/imports/{id}", path="/imports/2")
    assert by_template != of("{route}", path_template="/exports/{id}")
    assert of("{route}", endpoint=function) == of("{route}", route=f"{__name__}.{function.__qualname__}")
    one = seen(endpoint=function)
    one.scope["route"] = SimpleNamespace(path="/imports/{id}")
    other = seen(endpoint=function)
    other.scope["route"] = SimpleNamespace(path="/v1/imports/{id}")
    assert template("{route}").of(one) != template("{route}").of(other)


def test_a_body_is_read_as_json_once_for_all_that_look_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[bytes] = []
    monkeypatch.setattr(exchange, "parsed", lambda body: bodies.append(body) or documents.parsed(body))
    one = seen()
    known = [template("{json:a}{json:b}").of(one, body) for body in (b'{"a": 1, "b": 2}', b'{"a": 1, "b": 2}')]
    assert known[0] == known[1] == ("json:a", "1", "json:b", "2")
    assert len(bodies) == 1
    assert template("{json:a}").of(one, b"a=1") is None


def test_outside_of_requests_only_arguments_can_be_told() -> None:
    with pytest.raises(ConfigurationError, match=r"\{header:x\}, \{user\}, which only a request has"):
        call("{user}{header:x}{id}", id=7)
    with pytest.raises(ConfigurationError, match=r"\{path\}, \{user\}, .* allowed are arguments, as \{param:user\}$"):
        call("{user}{path}", user=7)
    with pytest.raises(ConfigurationError, match="wants order; the arguments are id, ordr"):
        call("{id}{order}", id=7, ordr=8)
    with pytest.raises(TypeError, match=r"\{id\} is None"):
        call("{id}", id=None)
    assert call("{id|other}", id=None, other=7) == call("{other}", other=7)


@given(st.lists(st.text(max_size=3), min_size=2, max_size=2), st.lists(st.text(max_size=3), min_size=2, max_size=2))
def test_values_never_run_into_each_other_or_into_the_text(one: list[str], other: list[str]) -> None:
    keys = [call("a:{x}:{y}", x=x, y=y) for x, y in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


def test_the_same_value_under_another_name_is_another_key() -> None:
    told = {
        of("{header:x}", headers={"x": "1"}),
        of("{query:x}", query_string=b"x=1"),
        of("{cookie:x}", headers={"cookie": "x=1"}),
        of("{x}", path_params={"x": "1"}),
        of("{json:x}", body=b'{"x": 1}'),
        of("1"),
    }
    assert len(told) == 6
