"""`redis/verdict.py`: what a round comes to. Any stack is compared with the program in `test_cut_plan.py`."""

from asgi_redis_guard.core.script import HELD_BACK, NOT_RUN, PASSED, STOPPED, place_of
from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.redis.verdict import judge
from tests.redis.tools import kind

LIMIT = kind("", "commit()", group="limits")
NOTE = kind("", "commit()")


def test_all_that_passed_is_committed() -> None:
    assert judge([place_of(False, (LIMIT, NOTE)), place_of(False, (LIMIT,))], [PASSED] * 3) == ([PASSED] * 3, set())


def test_what_stops_holds_back_its_group_and_all_behind_it() -> None:
    shape = [place_of(False, (LIMIT, NOTE)), place_of(False, (LIMIT, NOTE)), place_of(False, (NOTE,))]
    said = judge(shape, [PASSED, PASSED, STOPPED, PASSED, PASSED])
    assert said == ([HELD_BACK, PASSED, STOPPED, HELD_BACK, NOT_RUN], {1})


def test_a_failure_in_a_closed_place_stops_the_round_and_no_group() -> None:
    shape = [place_of(False, (LIMIT,)), place_of(True, (LIMIT, NOTE)), place_of(False, (NOTE,))]
    error = RedisUnavailable("away")
    for failure in (b"ERR", error):
        assert judge(shape, [PASSED, failure, PASSED, PASSED]) == ([PASSED, failure, HELD_BACK, NOT_RUN], {1})


def test_a_failure_elsewhere_stops_nothing() -> None:
    shape = [place_of(False, (LIMIT, NOTE)), place_of(False, (NOTE,))]
    assert judge(shape, [b"ERR", PASSED, PASSED]) == ([b"ERR", PASSED, PASSED], set())


def test_a_shadow_holds_back_its_own_group_alone() -> None:
    shape = [place_of(False, (LIMIT,)), place_of(False, (NOTE, LIMIT, LIMIT), True), place_of(False, (NOTE,))]
    said = judge(shape, [PASSED, PASSED, STOPPED, PASSED, PASSED])
    assert said == ([PASSED, PASSED, STOPPED, HELD_BACK, PASSED], {1})


def test_a_closed_shadow_that_fails_stops_the_round_and_refuses_nobody() -> None:
    shape = [place_of(True, (NOTE, LIMIT), True), place_of(False, (NOTE,))]
    assert judge(shape, [PASSED, b"ERR", PASSED]) == ([PASSED, b"ERR", NOT_RUN], set())
