"""Where a command belongs in a cluster, and that what concerns several nodes comes to the same as on one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.redis.routing import cut, join_of, key_of, pack_cursor, unpack_cursor
from asgi_redis_guard.redis.slots import slot_of


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("GET", "k"), b"k"),
        ((b"get", b"k"), b"k"),
        (("SET", "k", 1, "PX", 5), b"k"),
        (("SSCAN", b"k", b"0", "COUNT", 5), b"k"),
        (("EVALSHA", "sha", 2, b"k", b"other", "arg"), b"k"),
        (("EVALSHA", "sha", b"0", "arg"), None),
        (("EVAL", "return 1", "1", 7), b"7"),
        (("XREAD", "COUNT", 5, "STREAMS", "k", "0"), b"k"),
        (("XREADGROUP", "GROUP", "g", "c", "streams", "k", ">"), b"k"),
        (("XINFO", "STREAM", "k"), b"k"),
        (("OBJECT", "FREQ", "k"), b"k"),
        (("MEMORY", "USAGE", "k"), b"k"),
        (("ZUNION", 2, "k", "l"), b"k"),
        (("SPUBLISH", "k", "data"), b"k"),
        (("PUBLISH", "channel", "data"), None),
        (("PING",), None),
        (("TIME",), None),
        (("INFO", "server"), None),
        (("CONFIG", "GET", "maxmemory"), None),
        (("DBSIZE",), None),
        (("GET",), None),
    ],
)
def test_a_command_goes_by_its_first_key(words: Any, key: bytes | None) -> None:
    assert key_of(words) == key


def test_what_has_keys_in_one_slot_is_not_cut() -> None:
    assert cut(("MGET", "a")) is None
    assert cut(("MGET", "{t}a", b"{t}b")) is None
    assert cut(("MSET", "a", 1, "b", 2)) is None
    assert cut(("GET", "a")) is None


@given(st.lists(st.sampled_from([b"a", b"b", b"c", b"d", b"{a}1", b"{b}2"]), min_size=2, max_size=12))
def test_what_is_cut_is_put_together_as_it_was_asked(keys: list[bytes]) -> None:
    found = cut(("MGET", *keys))
    if found is None:
        assert len({slot_of(key) for key in keys}) == 1
        return
    parts, join = found
    assert all(part[0] == "MGET" and len({slot_of(key) for key in part[1:]}) == 1 for part in parts)
    assert join([list(part[1:]) for part in parts]) == keys


def test_counts_of_what_is_cut_are_added() -> None:
    found = cut(("DEL", "a", "b", "c"))
    assert found is not None
    parts, join = found
    assert sorted(parts) == [("DEL", "a"), ("DEL", "b"), ("DEL", "c")]
    assert join([1, 0, 1]) == 2


@pytest.mark.parametrize(
    ("words", "replies", "joined"),
    [
        (("DBSIZE",), [1, 2, 3], 6),
        (("KEYS", "*"), [[b"a"], [], [b"b", b"c"]], [b"a", b"b", b"c"]),
        (("FLUSHALL",), [b"OK", b"OK"], b"OK"),
        (("SCRIPT", "LOAD", "return 1"), [b"sha", b"sha"], b"sha"),
        (("script", "exists", "x", "y"), [[1, 1], [0, 1]], [0, 1]),
    ],
)
def test_replies_of_all_nodes_become_one(words: Any, replies: Any, joined: Any) -> None:
    join = join_of(words)
    assert join is not None
    assert join(replies) == joined


def test_a_command_of_one_node_is_not_for_all() -> None:
    assert join_of(("GET", "k")) is None
    assert join_of(("PING",)) is None


@given(st.integers(0, 2**64 - 1), st.integers(0, 999), st.integers(0, 2**20))
def test_a_cursor_leads_back_to_its_node(cursor: int, node: int, version: int) -> None:
    packed = pack_cursor(cursor, node, version)
    assert int(packed) > 0
    assert unpack_cursor(packed, version) == (cursor, node)
    assert unpack_cursor(packed, version + 1) == (0, 0)


@pytest.mark.parametrize("zero", [0, "0", b"0"])
def test_a_walk_begins_at_the_first_node(zero: Any) -> None:
    assert unpack_cursor(zero, 7) == (0, 0)
