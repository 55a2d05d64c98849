"""`core/script.py`: contracts of operations, and batches of them."""

import re

import pytest

from asgi_redis_guard.core import script
from asgi_redis_guard.core.script import (
    IDLE,
    PASSED,
    RESERVED,
    STOPPED,
    Batch,
    Operation,
    OperationKind,
    is_certain,
    on_replica,
    place_of,
)
from asgi_redis_guard.core.steps import Ask
from tests.guards import COUNT, count

WHOLE = """\
-- name: feature.step
-- keys: first (a string: what it is), second
-- args: amount, period (units; µs)
-- keeps: before
-- group: limits
-- repeatable: yes
-- holds: yes
-- returns: left, wait (units; µs)
-- @check
before = call('GET', first)
-- @commit
call('SET', second, before)
"""


def test_a_contract_is_read_whole() -> None:
    kind = OperationKind.parse(WHOLE)
    assert (kind.name, kind.keys, kind.args) == ("feature.step", ("first", "second"), ("amount", "period"))
    assert (kind.keeps, kind.returns, kind.group) == (("before",), ("left", "wait"), "limits")
    assert (kind.repeatable, kind.holds) == (True, True)
    assert kind.check == "before = call('GET', first)\n"
    assert kind.commit == "call('SET', second, before)\n"
    assert repr(kind) == "<OperationKind feature.step>"


def test_what_a_contract_leaves_out_is_nothing() -> None:
    kind = OperationKind.parse("-- name: feature.look\n-- @check\n")
    assert (kind.keys, kind.args, kind.keeps, kind.returns, kind.group) == ((), (), (), (), None)
    assert (kind.repeatable, kind.holds, kind.check, kind.commit) == (False, False, "", "")


@pytest.mark.parametrize("source", ["", "-- name: a\n", "-- @check\n", "-- name:\n-- @check\n", "return 1"])
def test_a_contract_without_name_or_check_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="name"):
        OperationKind.parse(source)


def test_source_by_itself_cannot_include_anything() -> None:
    with pytest.raises(ValueError, match=r"part\.lua is included"):
        OperationKind.parse("-- name: a\n-- @check\n  -- @include part.lua\n")


@pytest.mark.parametrize("line", ["keys", "args", "keeps", "returns"])
@pytest.mark.parametrize("name", [*sorted(RESERVED), "Upper", "1st", "a-b", "a b", "s'"])
def test_names_that_are_no_free_lua_locals_are_refused(line: str, name: str) -> None:
    with pytest.raises(ValueError, match="not a free name"):
        OperationKind.parse(f"-- name: a\n-- {line}: fine, {name}\n-- @check\n")


def test_a_batch_lays_its_operations_end_to_end() -> None:
    kind = OperationKind.parse(WHOLE)
    batch = Batch(op for op in [Operation(kind, (b"a", b"b"), (1, 2)), count("c")])
    assert batch.kinds == (kind, COUNT)
    assert (batch.keys, batch.args) == ((b"a", b"b", b"c"), (1, 2, 0))
    assert repr(batch) == "<Batch feature.step, test.count>"


def test_what_undoes_a_kind_stands_in_its_package_and_takes_what_it_is_given() -> None:
    take = OperationKind.load("asgi_redis_guard.ratelimit", "concurrency.lua")
    undoing = take.undoing(Operation(take, (b"leases",), (5, 1000, 2, b"lease")), 77)
    assert undoing is not None
    assert undoing.kind is OperationKind.load("asgi_redis_guard.ratelimit", "concurrency_release.lua")
    assert undoing[1:] == ((b"leases",), (2, b"lease"))
    gcra = OperationKind.load("asgi_redis_guard.ratelimit", "gcra.lua")
    assert gcra.undoing(Operation(gcra, (b"cell",), (10, 100, 3)), 77)[2] == (10, 77, 3, 0)  # type: ignore[index]
    assert undoing.kind.undoing(undoing, 78) is None


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("concurrency_release.lua", "not '<file>.lua"),
        ("concurrency_release.lua (cost)", "does not take"),
        ("concurrency_release.lua (cost, nothing)", "does not take"),
        ("ban.lua (cost, lease, 0, 0, 0, 0)", "does not take"),
    ],
)
def test_a_line_that_undoes_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, line: str, fault: str) -> None:
    read = script.read_lua
    monkeypatch.setattr(
        script, "read_lua", lambda package, file: re.sub(r"(?m)^-- undo: .*", f"-- undo: {line}", read(package, file))
    )
    with pytest.raises(ValueError, match=fault):
        script._load.__wrapped__("asgi_redis_guard.ratelimit", "concurrency.lua")


def test_a_part_says_when_its_commit_would_change_nothing() -> None:
    kind = OperationKind.parse("-- name: a\n-- @check\ncheck()\n-- @idle\nunneeded = true\n-- @commit\ncommit()\n")
    assert (kind.check, kind.idle, kind.commit) == ("check()\n", "unneeded = true\n", "commit()\n")


def test_a_part_says_when_a_replica_is_sure_enough() -> None:
    head = "-- name: a\n-- holds: yes\n-- repeatable: no\n-- @check\ncheck()\n"
    sure, idle, commit = "-- @sure\nunneeded = 1\n", "-- @idle\nunneeded = 2\n", "-- @commit\ncommit()\n"
    whole = OperationKind.parse(head + sure + idle + commit)
    assert (whole.check, whole.sure, whole.idle) == ("check()\n", "unneeded = 1\n", "unneeded = 2\n")
    looked_at = on_replica(whole)
    assert (looked_at.check, looked_at.idle, looked_at.commit) == ("check()\n", "unneeded = 1\n", "")
    assert (looked_at.holds, looked_at.repeatable) == (False, True)
    assert on_replica(OperationKind.parse(head + idle + commit)).idle == "unneeded = 2\n"
    assert on_replica(whole) is looked_at


@pytest.mark.parametrize(
    ("parts", "status", "certain"),
    [
        ("", PASSED, True),
        ("", STOPPED, False),
        ("", b"ERR", False),
        ("-- @sure\nunneeded = true\n", PASSED, False),
        ("-- @sure\nunneeded = true\n", IDLE, True),
        ("-- @commit\ncommit()\n", PASSED, False),
        ("-- @idle\nunneeded = true\n-- @commit\ncommit()\n", IDLE, True),
        ("-- @idle\nunneeded = true\n-- @commit\ncommit()\n", STOPPED, False),
    ],
)
def test_the_word_of_a_replica_counts_where_nothing_is_to_be_done(parts: str, status: object, certain: bool) -> None:
    assert is_certain(OperationKind.parse(f"-- name: a\n-- @check\ncheck()\n{parts}"), status) is certain


def test_a_place_of_which_a_replica_may_be_asked_is_another() -> None:
    kinds = (COUNT,)
    assert place_of(False, kinds, replica=True) is place_of(False, kinds, False, True)
    assert place_of(False, kinds, replica=True) is not place_of(False, kinds)
    assert Ask([count("a")], replica=True).place.replica
    assert not Ask([count("a")]).place.replica
