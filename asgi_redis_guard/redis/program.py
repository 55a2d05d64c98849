"""The one Lua script of a stack: composed from its operations, run once a round.

Check, then commit. All checks run in guard order up to the first guard that stops the round; then the commits run: of
all operations before the stop, except those of the group that stopped it (limits are all or nothing), and of none
behind it. An operation that fails (full memory, wrong type) says so in its own slot and takes nobody with it.

    KEYS   the keys of all operations, in order
    ARGV   for each operation: its header, then its arguments
           header = code * 1024 + guard * 2 + (1 if a failure of this operation stops the round)
    reply  for each operation: {1, …} passed | {0, …} stopped | {2, …} passed, but its group was stopped | {-1, error}
           failed; operations behind the guard that stopped have no slot: they were not run

Each operation is inlined in a chain of branches on its code, in a scope of its own: defining functions on every call
would cost more than running them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import hiredis

from ..core.script import Operation, OperationKind

_HEAD = """\
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local failure
local function call(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then failure = reply.err return false end
  return reply
end
local floor, n, k, a = math.floor, 0, 1, 1
local out, head, at_key, at_arg = {}, {}, {}, {}
local stop_at, stop_guard, stop_group = nil, -1, nil
"""

_CHECK = """\
local header = ARGV[a]
while header do
  header = tonumber(header)
  local code, guard = floor(header / 1024), floor(header % 1024 / 2)
  if stop_at and guard ~= stop_guard then break end
  n = n + 1
  head[n], at_key[n], at_arg[n] = code, k, a + 1
  local stop, result, group = false, nil, nil
"""

_AFTER_CHECK = """\
  if failure then
    result = {-1, failure}
    failure = nil
    stop = header % 2 == 1
    group = nil
    head[n] = 0
  elseif result then
    table.insert(result, 1, stop and 0 or 1)
  else
    result = {stop and 0 or 1}
  end
  out[n] = result
  if stop and not stop_at then stop_at, stop_guard, stop_group = n, guard, group end
  header = ARGV[a]
end
"""

_COMMIT = """\
for i = 1, (stop_at or n + 1) - 1 do
  local code, k, a = head[i], at_key[i], at_arg[i]
"""

_AFTER_COMMIT = """\
  if failure then
    out[i] = {-1, failure}
    failure = nil
  end
end
"""


class Script:
    """Lua that is called by its digest; loaded on a link just before its first call there."""

    __slots__ = ("load_payload", "sha", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        # The digest that EVALSHA wants is SHA-1 by definition; nothing relies on its strength.
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        self.load_payload: bytes = hiredis.pack_command(("SCRIPT", "LOAD", source))


class Program(Script):
    """The script of a stack: `kinds` in a fixed order; `codes` gives each its number.

    `repeatable` is true where every kind may run twice, `holds` where one takes something that must be given back.
    """

    __slots__ = ("codes", "holds", "kinds", "repeatable")

    def __init__(self, kinds: Iterable[OperationKind]) -> None:
        self.kinds = tuple(sorted(set(kinds), key=lambda kind: kind.name))
        self.codes = {kind: code * 1024 for code, kind in enumerate(self.kinds, start=1)}
        self.repeatable = all(kind.repeatable for kind in self.kinds)
        self.holds = any(kind.holds for kind in self.kinds)
        super().__init__(_compose(self.kinds))

    def arguments(self, operations: Sequence[tuple[int, bool, Operation]]) -> tuple[Any, ...]:
        """Return the EVALSHA call for `operations`, each with its guard's index and whether its failure stops."""
        keys: list[bytes] = []
        args: list[Any] = []
        codes = self.codes
        for guard, closed, (kind, op_keys, op_args) in operations:
            keys += op_keys
            args.append(codes[kind] + guard * 2 + closed)
            args += op_args
        return ("EVALSHA", self.sha, len(keys), *keys, *args)

    def __repr__(self) -> str:
        return f"<Program {self.sha[:8]}: {', '.join(kind.name for kind in self.kinds) or 'empty'}>"


@lru_cache(maxsize=256)
def program_of(kinds: frozenset[OperationKind]) -> Program:
    """Return the program for `kinds`: stacks of the same guards share one."""
    return Program(kinds)


def _compose(kinds: Sequence[OperationKind]) -> str:
    checks = "".join(_branch(number, kind, _check(kind)) for number, kind in enumerate(kinds, start=1))
    commits = "".join(_branch(number, kind, _commit(kind)) for number, kind in enumerate(kinds, start=1) if kind.commit)
    shared = "".join(f"local kept{i} = {{}}\n" for i in range(max((len(kind.keeps) for kind in kinds), default=0)))
    check = f"{_HEAD}{shared}{_CHECK}{_chain(checks)}{_AFTER_CHECK}"
    commit = f"{_COMMIT}{_chain(commits)}{_AFTER_COMMIT}" if commits else ""
    return f"{check}{commit}return out\n"


def _chain(branches: str) -> str:
    """Turn `elseif …` branches into one `if … end`."""
    return f"{branches.removeprefix('else')}end\n" if branches else ""


def _branch(number: int, kind: OperationKind, body: str) -> str:
    return f"elseif code == {number} then -- {kind.name}\n{body}"


def _bind(kind: OperationKind, key: str, arg: str) -> str:
    lines = [f"local {name} = KEYS[{key} + {i}]\n" for i, name in enumerate(kind.keys)]
    lines += [f"local {name} = ARGV[{arg} + {i}]\n" for i, name in enumerate(kind.args)]
    return "".join(lines)


def _check(kind: OperationKind) -> str:
    keep = "".join(f"kept{i}[n] = {name}\n" for i, name in enumerate(kind.keeps))
    group = f"group = '{kind.group}'\n" if kind.group else ""
    return (
        f"{_bind(kind, 'k', 'a + 1')}k = k + {len(kind.keys)}\na = a + {len(kind.args) + 1}\n{group}{kind.check}{keep}"
    )


def _commit(kind: OperationKind) -> str:
    kept = "".join(f"local {name} = kept{i}[i]\n" for i, name in enumerate(kind.keeps))
    body = f"{_bind(kind, 'k', 'a')}{kept}{kind.commit}"
    if kind.group:
        return f"if stop_group ~= '{kind.group}' then\n{body}else\nout[i][1] = 2\nend\n"
    return body
