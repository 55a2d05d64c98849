"""The slot of a key, and the map of slots, as a cluster tells it in all its dialects."""

from binascii import crc_hqx
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.cluster import key_slot  # type: ignore[attr-defined]

from asgi_redis_guard.redis.slots import SLOTS, Place, Redirection, Shard, SlotMap, slot_of

A, B, C = Place("10.0.0.1", 7000), Place("10.0.0.2", 7001), Place("10.0.0.3", 7002)
ASKED = Place("asked.example", 7000)


def test_a_slot_is_the_checksum_of_the_whole_key() -> None:
    assert slot_of(b"123456789") == 0x31C3  # the specification's own example
    assert slot_of(b"") == 0


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"{user1000}.following", b"user1000"),
        (b"foo{}{bar}", b"foo{}{bar}"),
        (b"foo{{bar}}zap", b"{bar"),
        (b"foo{bar}{zap}", b"bar"),
        (b"foo}bar{zap", b"foo}bar{zap"),
        (b"foo{bar", b"foo{bar"),
    ],
)
def test_a_hash_tag_is_hashed_alone(key: bytes, hashed: bytes) -> None:
    assert slot_of(key) == crc_hqx(hashed, 0) % SLOTS == key_slot(key)


@given(st.text(st.sampled_from("{}ab:\x00é"), max_size=12))
def test_slots_are_those_that_other_clients_reckon(text: str) -> None:
    assert slot_of(text.encode()) == key_slot(text.encode())


RANGES: list[Any] = [
    [0, 5460, [b"10.0.0.1", 7000, b"id1", []], [b"10.0.0.3", 7002, b"id3", []]],
    [5461, 16383, [b"10.0.0.2", 7001, b"id2", []]],
]


def test_a_map_is_read_from_cluster_slots() -> None:
    slots = SlotMap.of_slots(RANGES, ASKED)
    assert slots[0] == slots[5460] == Shard(A, (C,))
    assert slots[5461] == slots[16383] == Shard(B)
    assert (slots.primaries, slots.replicas, slots.missing) == ([A, B], [C], 0)
    assert slots.slots_of(A) == 5461


def test_slots_that_nobody_serves_are_missing() -> None:
    slots = SlotMap.of_slots(RANGES[:1], ASKED)
    assert (slots[6000], slots.missing) == (None, SLOTS - 5461)
    assert SlotMap().missing == SLOTS


@pytest.mark.parametrize(
    ("node", "host"),
    [
        ([None, 7001, b"id", []], "asked.example"),  # the endpoint is not known
        ([b"", 7001, b"id", []], "asked.example"),
        ([b"?", 7001, b"id", []], "asked.example"),
        ([b"?", 7001, b"id", [b"ip", b"10.0.0.2"]], "10.0.0.2"),  # no host name was announced
        ([b"?", 7001, b"id", {b"ip": b"10.0.0.2"}], "10.0.0.2"),
        ([b"node2.example", 7001, b"id", [b"ip", b"10.0.0.2"]], "node2.example"),
        ([b"10.0.0.2", 7001], "10.0.0.2"),  # before Redis 4
        (["fd00::2", 7001, "id"], "fd00::2"),
    ],
)
def test_a_host_that_the_cluster_does_not_know_is_that_which_was_asked(node: Any, host: str) -> None:
    assert SlotMap.of_slots([[0, 16383, node]], ASKED)[0] == Shard(Place(host, 7001))


def _node(role: str, host: str, port: int, health: str = "online", **more: Any) -> dict[bytes, Any]:
    fields = {"id": "x", "port": port, "ip": host, "endpoint": host, "role": role, "health": health, **more}
    return {name.encode(): value.encode() if isinstance(value, str) else value for name, value in fields.items()}


SHARDS: list[dict[bytes, Any]] = [
    {
        b"slots": [0, 100, 200, 5460],
        b"nodes": [
            _node("replica", "10.0.0.3", 7002),
            _node("replica", "10.0.0.9", 7009, "fail"),
            _node("master", "10.0.0.1", 7000),
        ],
    },
    {b"slots": [101, 199, 5461, 16383], b"nodes": [_node("master", "10.0.0.2", 7001)]},
    {b"slots": [], b"nodes": [_node("master", "10.0.0.8", 7008)]},  # has just joined
]


def _flat(value: Any) -> Any:
    if isinstance(value, dict):
        return [_flat(part) for pair in value.items() for part in pair]
    return [_flat(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("reply", [SHARDS, _flat(SHARDS)], ids=["RESP3", "RESP2"])
def test_a_map_is_read_from_cluster_shards(reply: Any) -> None:
    slots = SlotMap.of_shards(reply, ASKED)
    assert slots[100] == slots[200] == Shard(A, (C,))
    assert slots[101] == slots[16383] == Shard(B)
    assert slots.missing == 0


def test_over_tls_the_tls_port_counts() -> None:
    node = _node("master", "10.0.0.1", 7000, **{"tls-port": 7443})
    reply = [{b"slots": [0, 16383], b"nodes": [node]}]
    assert SlotMap.of_shards(reply, ASKED, tls=True)[0] == Shard(Place("10.0.0.1", 7443))
    assert SlotMap.of_shards(reply, ASKED)[0] == Shard(A)
    del node[b"port"]
    assert SlotMap.of_shards(reply, ASKED)[0] == Shard(Place("10.0.0.1", 7443))


@pytest.mark.parametrize(("endpoint", "host"), [(None, "asked.example"), ("", "asked.example"), ("?", "10.0.0.1")])
def test_an_endpoint_that_is_not_known_is_found_otherwise(endpoint: str | None, host: str) -> None:
    reply = [{b"slots": [0, 16383], b"nodes": [_node("master", "10.0.0.1", 7000, endpoint=endpoint)]}]
    assert SlotMap.of_shards(reply, ASKED)[0] == Shard(Place(host, 7000))


def test_a_primary_that_has_failed_counts_less_than_its_successor() -> None:
    nodes = [_node("master", "10.0.0.1", 7000, "fail"), _node("master", "10.0.0.2", 7001)]
    assert SlotMap.of_shards([{b"slots": [0, 16383], b"nodes": nodes}], ASKED)[0] == Shard(B)


@pytest.mark.parametrize("reply", [None, b"OK", 3, [[0, 5]], [[0, 99999, [b"h", 1]]], [[5, 2, [b"h", 1]]], [[b"x"]]])
def test_a_reply_that_is_none_is_refused(reply: Any) -> None:
    with pytest.raises(ValueError):
        SlotMap.of_slots(reply, ASKED)
    with pytest.raises(ValueError):
        SlotMap.of_shards(reply, ASKED)


@pytest.mark.parametrize(
    ("error", "slot", "place"),
    [
        ("MOVED 3999 127.0.0.1:6381", 3999, ("127.0.0.1", 6381)),
        ("ASK 3999 node.example:6381", 3999, ("node.example", 6381)),
        ("MOVED 0 :6381", 0, ("asked.example", 6381)),
        ("MOVED 0 ?:6381", 0, ("asked.example", 6381)),
        ("MOVED 16383 fd00::1:6381", 16383, ("fd00::1", 6381)),
    ],
)
def test_a_redirection_tells_slot_and_place(error: str, slot: int, place: tuple[str, int]) -> None:
    assert Redirection.parse(error, ASKED) == (slot, place)


@pytest.mark.parametrize("error", ["MOVED", "MOVED 5", "MOVED 16384 a:1", "MOVED x a:1", "MOVED 5 a:b", "ASK -1 a:1"])
def test_what_is_no_redirection_is_refused(error: str) -> None:
    with pytest.raises(ValueError):
        Redirection.parse(error, ASKED)


def test_a_slot_that_has_moved_is_patched_alone() -> None:
    slots = SlotMap.of_slots(RANGES, ASKED)
    assert slots.moved(7, B)
    assert (slots[7], slots[6], slots[8]) == (Shard(B), Shard(A, (C,)), Shard(A, (C,)))
    assert slots.version == 1
    assert not slots.moved(7, B)
    assert slots.version == 1
    assert slots.moved(8, C)  # a place that the map has only known as a replica
    assert slots[8] == Shard(C)


def test_versions_count_on_from_map_to_map_where_primaries_differ() -> None:
    first, same, other = (SlotMap.of_slots(RANGES, ASKED) for _ in range(3))
    first.moved(7, B)
    same.follow(first)
    assert same.version == 2
    other.follow(same)
    assert other.version == 2


def test_a_place_is_written_as_in_a_url() -> None:
    assert (str(A), str(Place("fd00::1", 1))) == ("10.0.0.1:7000", "[fd00::1]:1")
    assert repr(SlotMap()) == "<SlotMap 0: empty>"


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([A, B, C, ASKED])), max_size=12))
def test_primaries_are_those_of_the_slots_however_they_move(moves: list[tuple[int, Place]]) -> None:
    slots = SlotMap([(0, 4, Shard(A, (C,))), (5, 9, Shard(B))])
    for slot, place in moves:
        assert slots.primaries
        slots.moved(slot, place)
    served = [shard.primary for shard in map(slots.__getitem__, range(10)) if shard is not None]
    assert set(slots.primaries) == set(served)
    assert all(slots.slots_of(place) == served.count(place) for place in slots.primaries)
