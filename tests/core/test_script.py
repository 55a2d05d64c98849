"""`core/script.py`: contracts of operations, and batches of them."""

import pytest

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
