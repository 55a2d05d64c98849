"""`core/script.py`: contracts of operations, and batches of them."""

import re

import pytest

from asgi_redis_guard.core import script
from asgi_redis_guard.core.script import RESERVED, Batch, Operation, OperationKind
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
