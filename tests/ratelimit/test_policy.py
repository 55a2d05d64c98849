"""What may be said of a limit, what it is called, and what its numbers are."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_redis_guard import RateLimit
from asgi_redis_guard.core.keys import Keys, digest
from asgi_redis_guard.core.script import Reply
from asgi_redis_guard.errors import ConfigurationError
from asgi_redis_guard.ratelimit.notation import Style, make_limits
from asgi_redis_guard.ratelimit.policy import Limit, LimitState, most_restrictive, read_states, seconds_up


def make(
    *notations: Any, algorithm: Any = "gcra", burst: int | None = None, name: str | None = None
) -> tuple[Limit, ...]:
    return make_limits(notations, Style(algorithm, burst, name))


def faults(*notations: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        make(*notations, **options)
    return caught.value.faults


@pytest.mark.parametrize(
    ("notation", "amount", "period", "name"),
    [
        ("100/minute", 100, 60, "minute"),
        ("100 per minute", 100, 60, "minute"),
        ("1 per 1 second", 1, 1, "second"),
        ("10/5 seconds", 10, 5, "5-seconds"),
        ("10 per 90 second", 10, 90, "90-seconds"),
        ("5/2 hour", 5, 7200, "2-hours"),
        ("5/60 minutes", 5, 3600, "hour"),
        ("1000/day", 1000, 86_400, "day"),
        ("1/month", 1, 30 * 86_400, "30-days"),
        ("1/year", 1, 360 * 86_400, "360-days"),
        ("1000000000/day", 1_000_000_000, 86_400, "day"),
        ("1000000/second", 1_000_000, 1, "second"),
        ("  7/HOUR", 7, 3600, "hour"),
    ],
)
def test_notation_is_that_of_the_limits_package(notation: str, amount: int, period: int, name: str) -> None:
    (limit,) = make(notation)
    assert (limit.amount, limit.period, limit.burst, limit.name) == (amount, period, amount, name)
    assert limit.key_name == f"default.gcra.{period}".encode()


def test_several_limits_may_stand_in_one_text_or_in_several() -> None:
    assert make("1/second; 5/minute", "9/hour") == make("1/second", "5/minute", "9/hour")
    assert [limit.name for limit in make("1/second|5/minute,9/hour")] == ["second", "minute", "hour"]


@pytest.mark.parametrize(
    "notation",
    [
        *("", " ", "100", "/minute", "100/", "100/fortnight", "-1/minute", "0x10/minute", "1.5/minute", "1e3/minute"),
        *("0/minute", "1000000001/day", "1000001/second", "1/2 years", "1/367 days", "minute/100"),
        *(
            "100/minute;",
            "100/minute; nonsense",
            "9" * 4300 + "/second",
            "1/" + "9" * 4299 + " months",
            "9" * 5000 + "/day",
        ),
        *(None, 100, b"100/minute", ["100/minute"], 1.5),
    ],
)
def test_what_is_no_limit_is_refused_by_name(notation: Any) -> None:
    said = faults(notation)
    assert all(fault.startswith("limits (GUARD_LIMITS)") for fault in said)
    assert all(len(fault) < 1000 for fault in said)


def test_no_limit_at_all_is_a_fault() -> None:
    assert "none given" in faults()[0]


def test_all_faults_are_told_at_once() -> None:
    said = faults("nonsense", "0/minute", "5/minute", burst=6, name="\n")
    assert len(said) == 4


def test_an_unknown_algorithm_is_a_fault() -> None:
    for name in ("token_bucket", "", "GCRA", None):
        assert "'gcra', 'fixed', 'counter', 'log'" in faults("1/second", algorithm=name)[0]


def test_a_log_has_a_bound() -> None:
    assert make("10000/day", algorithm="log")
    assert "log" in faults("10001/day", algorithm="log")[0]


@pytest.mark.parametrize("burst", [0, -1, 11, 10**9])
def test_a_burst_lies_between_one_and_the_amount(burst: int) -> None:
    assert make("10/minute", burst=10)[0].burst == 10
    assert make("10/minute", burst=1)[0].burst == 1
    assert "allowed are 1 to the amount" in faults("10/minute", burst=burst)[0]


@pytest.mark.parametrize("algorithm", ["fixed", "counter", "log"])
def test_a_burst_is_for_gcra_alone(algorithm: str) -> None:
    assert "allowed with 'gcra' and 'leaky' alone" in faults("10/minute", algorithm=algorithm, burst=5)[0]


@pytest.mark.parametrize("name", ["", "a" * 65, "é", "a\nb", "\x7f", "\t", "a\r\nset-cookie: x"])
def test_a_name_that_cannot_stand_in_a_header_is_refused(name: str) -> None:
    assert "printable ASCII" in faults("1/second", name=name)[0]


def test_names_stand_for_limits_and_periods_tell_them_apart() -> None:
    assert [limit.name for limit in make("5/minute", name="login")] == ["login"]
    assert [limit.name for limit in make("5/minute", "9/hour", name="login")] == ["login-minute", "login-hour"]
    twice = make("5/minute", "9/minute", "7/hour", "3/minute")
    assert [limit.name for limit in twice] == ["minute", "minute-2", "hour", "minute-3"]
    assert len({limit.key_name for limit in twice}) == 4


def test_the_amount_is_not_in_the_key_and_the_rest_is() -> None:
    names = [
        make(notation, algorithm=algorithm, name=name)[0].key_name
        for notation in ("5/minute", "5/hour")
        for algorithm in ("gcra", "fixed", "counter", "log")
        for name in (None, "a", "a.gcra", "a.gcra.60")
    ]
    assert len({*names}) == len(names)
    assert make("5/minute")[0].key_name == make("500/minute", burst=3)[0].key_name


def test_limits_of_different_paths_do_not_share_their_count_unless_they_have_a_name() -> None:
    def key_name(paths: tuple[str, ...], name: str | None = None) -> bytes:
        (plan,) = RateLimit("5/minute", name=name, paths=paths).rules.plans
        return plan.limits[0].key_name

    assert len({key_name(paths) for paths in [(), ("/a",), ("/b",), ("/a", "/b"), ("/a/b",)]}) == 5
    assert key_name(("/a",), "login") == key_name(("/b",), "login") == key_name((), "login")


@pytest.mark.parametrize(
    ("notation", "algorithm", "burst", "numbers"),
    [
        ("10/minute", "gcra", None, (6_000_000, 60_000_000, 1)),
        ("10/minute", "gcra", 2, (6_000_000, 12_000_000, 1)),
        ("3/second", "gcra", None, (333_334, 1_000_002, 1)),
        ("1000000/second", "gcra", None, (1, 1_000_000, 1)),
        ("10/minute", "fixed", None, (10, 60_000_000, 1)),
        ("10/minute", "log", None, (10, 60_000_000, 1)),
    ],
)
def test_the_numbers_are_whole_and_never_too_generous(notation: str, algorithm: str, burst: Any, numbers: Any) -> None:
    (limit,) = make(notation, algorithm=algorithm, burst=burst)
    operation = limit.operation(Keys(), digest("who"))
    assert operation.args == numbers
    assert operation.keys == (Keys().limit(limit.key_name, digest("who")),)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.text(max_size=20)
        | st.from_regex(
            r"\s*\d{1,12} ?(/|per) ?(\d{1,12} )?(second|minute|hour|day|month|year)s?[;,|]?", fullmatch=True
        ),
        max_size=3,
    ),
    st.sampled_from(["gcra", "fixed", "counter", "log"]),
    st.none() | st.integers(-1, 50),
    st.none() | st.text(max_size=8),
)
def test_any_text_is_a_limit_or_a_configuration_error(
    notations: list[str], algorithm: str, burst: int | None, name: str | None
) -> None:
    try:
        limits = make(*notations, algorithm=algorithm, burst=burst, name=name)
    except ConfigurationError:
        return
    assert limits
    for limit in limits:
        assert 0 < limit.amount <= 1_000_000_000
        assert 0 < limit.burst <= limit.amount
        assert 0 < limit.period <= 366 * 86_400
        assert all(isinstance(number, int) and number > 0 for number in limit.numbers(0.0))
        assert limit.name.isascii()
        assert limit.name.isprintable()
        if algorithm == "gcra":
            emission, _ = limit.numbers(0.0)
            assert limit.amount * emission >= limit.period * 1_000_000, "the rate is never above what was said"


names = st.none() | st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=8)
kinds = st.tuples(
    names, st.sampled_from(["gcra", "fixed", "counter", "log"]), st.integers(1, 400), st.binary(max_size=3)
)


@settings(deadline=None)
@given(kinds, kinds)
def test_limits_share_a_key_only_if_name_period_algorithm_and_identity_are_the_same(one: Any, other: Any) -> None:
    def key(given_kind: Any) -> bytes:
        name, algorithm, period, who = given_kind
        (limit,) = make(f"5/{period} seconds", algorithm=algorithm, name=name)
        return limit.operation(Keys(), digest(who)).keys[0]

    def meant(given_kind: Any) -> Any:
        return (given_kind[0] or "default", *given_kind[1:])

    assert (key(one) == key(other)) is (meant(one) == meant(other))


def state(**more: Any) -> LimitState:
    return LimitState(
        **{"limit": make("5/minute")[0], "allowed": True, "remaining": 1, "reset_after": 1, "retry_after": 0, **more}
    )


def test_seconds_are_rounded_up_and_never_none() -> None:
    assert [seconds_up(micros) for micros in (0, 1, 999_999, 1_000_000, 1_000_001)] == [1, 1, 1, 1, 2]


def test_the_most_restrictive_limit_has_the_longest_wait_or_else_the_least_left() -> None:
    few, many = state(remaining=2), state(remaining=9)
    soon, late = state(allowed=False, retry_after=5), state(allowed=False, retry_after=50)
    assert most_restrictive([many, few]) is few
    assert most_restrictive([many, soon, late, few]) is late


def test_what_another_limit_kept_from_being_counted_is_left_over() -> None:
    one, other = make("5/minute", "9/hour")
    replies = [Reply(False, True, [0, 7, 3]), Reply(True, False, [4, 9, 0])]
    assert read_states([one, other], replies) == [
        LimitState(one, False, 0, 7, 3),
        LimitState(other, True, 5, 9, 0),
    ]


def test_a_guard_has_so_many_limits_as_a_round_has_room_for() -> None:
    assert len(make(*[f"{number}/minute" for number in range(1, 17)])) == 16
    assert "17 given; allowed are 16 together" in faults(*[f"{number}/minute" for number in range(1, 18)])[0]
