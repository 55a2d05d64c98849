"""When keys of others are asked for: a model of time and tokens, without any I/O."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.jwt.jwks.remote_keys import RemoteKeys, Terms
from asgi_redis_guard.jwt.keys import KeySet
from tests.jwt.publisher import key
from tests.jwt.tokens import NOW

KEYS = tuple(KeySet([key("a")]).keys)
TERMS = Terms(lifetime=600, stale_if_error=3600, cooldown=30)


def remote(at: float = NOW, life: float = 600) -> RemoteKeys:
    made = RemoteKeys("", "https://a.example/keys", TERMS)
    made.arrived(KEYS, b"1", None, at, life)
    return made


def test_nothing_known_is_wanted() -> None:
    assert RemoteKeys("", None, TERMS).state(NOW) == "wanted"


@pytest.mark.parametrize(
    ("age", "state"), [(0, "usable"), (479, "usable"), (480, "due"), (599, "due"), (600, "wanted"), (-1, "wanted")]
)
def test_keys_are_usable_then_due_then_wanted(age: float, state: str) -> None:
    assert remote().state(NOW + age) == state


@pytest.mark.parametrize(("age", "state"), [(500, "usable"), (600, "usable"), (4199, "usable"), (4200, "away")])
def test_after_a_failure_known_keys_serve_on_within_their_bound(age: float, state: str) -> None:
    keys = remote()
    keys.failed("down", NOW + age)
    assert keys.state(NOW + age) == state
    after = {"usable": "due", "away": "wanted"}[state]
    assert keys.state(NOW + age + 1) == (after if age < 4199 else "wanted")
    keys.unchanged(NOW + age, 600)
    assert keys.state(NOW + age) == "usable"


def test_pauses_after_failures_double_up_to_the_cool_down() -> None:
    keys, now, pauses = RemoteKeys("", None, TERMS), NOW, []
    for _ in range(2000):
        keys.failed("down", now)
        pauses.append(keys.pause_left(now))
        now += pauses[-1]
        assert keys.state(now) == "wanted"
    assert pauses[:7] == [1, 2, 4, 8, 16, 30, 30]
    assert set(pauses[7:]) == {30}


def test_a_server_that_is_known_to_fail_is_not_asked_for_unknown_key_ids() -> None:
    keys = remote()
    keys.failed("down", NOW)
    assert not keys.claim("b", NOW)
    assert keys.claim("b", NOW + 1), "once the pause is over; no cool-down was taken"


def test_the_same_document_is_the_same_set() -> None:
    keys = remote()
    held = keys.held
    keys.arrived(tuple(KeySet([key("a")]).keys), b"1", None, NOW + 5, 600)
    assert keys.held is held
    keys.arrived(KEYS, b"2", None, NOW + 5, 600)
    assert keys.held is not held


def test_what_is_remembered_of_made_up_key_ids_is_bounded() -> None:
    keys = remote()
    for i in range(3000):
        keys.missed(f"k{i}", NOW)
    keys.missed("x" * 100_000, NOW)
    assert not keys.claim("k2999", NOW), "known to be nobody's"
    assert keys.claim("k0", NOW), "forgotten"
    assert len(keys._absent) == 1024


@given(
    st.lists(
        st.tuples(
            st.floats(0, 40),
            st.sampled_from(["a", "b", "c", None, 7, "x" * 600]),
            st.sampled_from(["ok", "same", "down", "nothing"]),
        ),
        max_size=60,
    )
)
def test_fetches_for_unknown_key_ids_are_a_cool_down_apart_whatever_comes_of_them(
    steps: list[tuple[float, object, str]],
) -> None:
    keys, now, claimed = remote(), NOW, []
    for passed, kid, outcome in steps:
        now += passed
        if not keys.claim(kid, now):
            continue
        claimed.append(now)
        if outcome == "ok":
            keys.arrived(KEYS, b"1", None, now, 600)
            keys.missed(kid, now)
        elif outcome == "same":
            keys.unchanged(now, 600)
        elif outcome == "down":
            keys.failed("down", now)
    assert all(later - earlier >= 30 for earlier, later in pairwise(claimed))
