"""The header fields of a limit: draft-ietf-httpapi-ratelimit-headers-11 in the syntax of RFC 9651."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard.core.asgi import Headers
from asgi_redis_guard.core.responder import Head
from asgi_redis_guard.core.structured import quote
from asgi_redis_guard.ratelimit.headers import HeaderStyle, limit_headers, policy_member, put, state_member
from asgi_redis_guard.ratelimit.notation import Style, make_limits
from asgi_redis_guard.ratelimit.policy import Limit, LimitState
from tests.ratelimit.structured import parse_list

printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=64)


def limit(notation: str = "5/minute", name: str | None = None) -> Limit:
    return make_limits([notation], Style(name=name))[0]


def state(
    given_limit: Limit | None = None, allowed: bool = True, remaining: int = 3, reset: int = 0, retry: int = 0
) -> LimitState:
    return LimitState(given_limit or limit(), allowed, remaining, reset, retry)


def headers(*states: LimitState, legacy: bool = False) -> dict[str, str]:
    policy = b", ".join(policy_member(one.limit) for one in states)
    found = limit_headers(policy, states, HeaderStyle(legacy=legacy))
    assert len(dict(found)) == len(found)
    return {name.decode(): value.decode() for name, value in found}


@pytest.mark.parametrize(
    "bad", ['"a"', '"a";', '"a";q', "a", '"a",', ",", '"a" "b"', '"a";q=1.5', '"a";q=1;q=2', '"é"', '"a']
)
def test_the_parser_of_these_tests_is_strict(bad: str) -> None:
    if bad in ('"a"', '"a";q'):
        assert parse_list(bad)[0][0] == "a"
        return
    with pytest.raises(AssertionError):
        parse_list(bad)


@settings(deadline=None)
@given(printable)
def test_any_name_survives_quoting(name: str) -> None:
    assert parse_list(quote(name)) == [(name, {})]
    assert parse_list(policy_member(limit(name=name)).decode()) == [(name, {"q": 5, "w": 60})]
    assert parse_list(state_member(state(limit(name=name))).decode()) == [(name, {"r": 3, "t": 1})]


def test_policy_and_state_stand_side_by_side() -> None:
    minute, hour = make_limits(["5/minute", "9/hour"], Style())
    found = headers(state(minute, reset=1_500_000), state(hour, remaining=8, reset=400_000_000))
    assert parse_list(found.pop("ratelimit-policy")) == [("minute", {"q": 5, "w": 60}), ("hour", {"q": 9, "w": 3600})]
    assert parse_list(found.pop("ratelimit")) == [("minute", {"r": 3, "t": 2}), ("hour", {"r": 8, "t": 400})]
    assert not found


def test_a_refusal_names_the_violated_limits_alone_and_when_to_come_back() -> None:
    minute, hour, day = make_limits(["5/minute", "9/hour", "20/day"], Style())
    states = (
        state(minute, False, 0, 60_000_000, 2_000_001),
        state(hour, False, 0, 9_000_000, 7),
        state(day, remaining=4),
    )
    found = headers(*states)
    assert len(parse_list(found["ratelimit-policy"])) == 3
    assert parse_list(found["ratelimit"]) == [("minute", {"r": 0, "t": 3}), ("hour", {"r": 0, "t": 1})]
    assert found["retry-after"] == "3"


def test_the_older_fields_speak_of_the_tightest_limit() -> None:
    minute, hour = make_limits(["5/minute", "9/hour"], Style())
    found = headers(state(minute, remaining=4, reset=1), state(hour, remaining=2, reset=5_000_001), legacy=True)
    assert [found[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset")] == ["9", "2", "6"]
    refused = headers(state(minute, remaining=4), state(hour, False, 0, 9_000_000, 3_000_000), legacy=True)
    assert [refused[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset")] == ["9", "0", "3"]
    assert refused["retry-after"] == "3"


def test_numbers_stay_within_what_the_syntax_allows() -> None:
    huge = Limit(10**18, 60, "fixed", 1, "x", b"x")
    found = headers(state(huge, remaining=10**18, reset=366 * 86_400 * 10**6))
    assert parse_list(found["ratelimit-policy"])[0][1]["q"] == 10**15 - 1
    assert parse_list(found["ratelimit"])[0][1] == {"r": 10**15 - 1, "t": 366 * 86_400}


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 10**9), st.integers(0, 10**14), st.integers(0, 10**14)),
        min_size=1,
        max_size=4,
    )
)
def test_any_state_makes_fields_that_parse_and_agree(given_states: list[Any]) -> None:
    limits = make_limits(["5/minute"] * len(given_states), Style())
    states = [
        LimitState(one, fits, remaining, reset, 0 if fits else retry + 1)
        for one, (fits, remaining, reset, retry) in zip(limits, given_states, strict=True)
    ]
    found = headers(*states, legacy=True)
    members = parse_list(found["ratelimit"])
    violated = [one for one in states if not one.allowed]
    assert [name for name, _ in members] == [one.limit.name for one in violated or states]
    assert all(member["t"] >= 1 and member["r"] >= 0 for _, member in members)
    assert ("retry-after" in found) is bool(violated)
    if violated:
        assert int(found["retry-after"]) == max(member["t"] for _, member in members)


# Joining with what is there already.


def merged(present: Headers, *fields: tuple[bytes, bytes]) -> Headers:
    head = Head(200, present)
    put(head, list(fields), False)
    return head.headers


def test_lists_are_joined_with_the_outer_guards_members_in_front() -> None:
    inner = [(b"a", b"1"), (b"ratelimit", b'"in";r=1'), (b"ratelimit-policy", b'"in";q=1')]
    found = merged(inner, (b"ratelimit-policy", b'"out";q=2'), (b"ratelimit", b'"out";r=2'))
    assert found == [
        (b"a", b"1"),
        (b"ratelimit", b'"out";r=2, "in";r=1'),
        (b"ratelimit-policy", b'"out";q=2, "in";q=1'),
    ]
    assert [name for name, _ in parse_list(found[1][1].decode())] == ["out", "in"]


def test_other_fields_stay_those_of_the_inner_answer() -> None:
    found = merged(
        [(b"retry-after", b"30")], (b"ratelimit", b"x"), (b"retry-after", b"5"), (b"x-ratelimit-limit", b"9")
    )
    assert found == [(b"retry-after", b"30"), (b"ratelimit", b"x"), (b"x-ratelimit-limit", b"9")]


def test_a_plain_answer_just_gets_the_fields() -> None:
    assert merged([(b"a", b"1")], (b"ratelimit", b"x"), (b"ratelimit-policy", b"y")) == [
        (b"a", b"1"),
        (b"ratelimit", b"x"),
        (b"ratelimit-policy", b"y"),
    ]
