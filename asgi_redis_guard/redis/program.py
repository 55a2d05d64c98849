"""The one Lua script of a round: composed from its operations in their order, compiled once for each shape of round.

Check, then commit. All checks run in guard order up to the first guard that stops the round; then the commits run: of
all operations before the stop, except those of the group that stopped it (limits are all or nothing), and of none
behind it. An operation that fails (full memory, wrong type) says so in its own slot and takes nobody with it. Where a
guard asks in `shadow`, one that stops holds back its group within that guard, and the round goes on.

    KEYS   the keys of all operations, in order
    ARGV   the arguments of all operations, in order
    reply  for each operation a status and what it returns, flat:
           1 passed | 0 stopped | 2 passed, but held back | 3 not run | text: the error it failed with
           last, the server's time in microseconds

Held back is what must not commit although it passed: its group was stopped, or its own guard by an operation before it.
A server that became a replica fails the whole script with READONLY, so that the channel learns of it. Where a check
looks at a key beside KEYS that has left this node of a cluster, or may have, the script ends with TRYAGAIN before
anything is committed, as the server does by itself for KEYS.

The operations stand one after the other, without a loop or a dispatch, and their state is in locals: on a short script,
tables and function definitions cost more than the commands. A stack has a handful of shapes (with and without a
token, say), each loaded on a link just before its first call there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import hiredis

from ..core.script import IDLE, Batch, OperationKind, Place
from ..errors import GuardProtocolError

#: Lua has 200 locals in a function; head and the scope of a single operation take up to 32 of them.
MOST_LOCALS = 168

_HEAD = """\
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local failure, unfit, apart, stop_at, stop_group
local floor, ceil = math.floor, math.ceil
local function call(...)
  local reply = redis.pcall(...)
  if type(reply) == 'table' and reply.err then
    failure = reply.err
    if type(failure) == 'string' then -- fakeredis has bytes of Python here
      failure = string.match(failure, '^@user_script: %d+: %-?([^%c]*)') or failure -- 6.2 says where it happened
      if string.find(failure, '^READONLY ') then unfit = failure end
      if string.find(failure, 'access a non local key', 1, true) then apart = failure end
    end
    return false
  end
  return reply
end
"""

#: A commit that wants to know whether its guard refuses.
REFUSED = re.compile(r"\brefused\b")

#: Between the checks and the commits.
_WHOLE = "if apart then return redis.error_reply('TRYAGAIN ' .. apart) end\n"

_TAIL = "if unfit then return redis.error_reply(unfit) end\n"


class Script:
    """Lua that is called by its digest; loaded on a link just before its first call there."""

    __slots__ = ("load_payload", "sha", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        # The digest that EVALSHA wants is SHA-1 by definition; nothing relies on its strength.
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
        self.load_payload: bytes = hiredis.pack_command(("SCRIPT", "LOAD", source))  # type: ignore[arg-type]


class Program(Script):
    """The script for one shape of round.

    `repeatable` is true where every operation may run twice, `holds` where one takes something that must be given back.
    """

    __slots__ = ("_head", "holds", "repeatable", "shape")

    def __init__(self, shape: Sequence[Place]) -> None:
        #: For whoever has to cut it.
        self.shape = tuple(shape)
        flat = [(guard, place, kind) for guard, place in enumerate(shape) for kind in place.kinds]
        if sum(kind.width + len(kind.keeps) for _, _, kind in flat) > MOST_LOCALS:
            raise GuardProtocolError(
                f"a round of {len(flat)} operations; there is room for {MOST_LOCALS} of their values"
            )
        self.repeatable = all(kind.repeatable for _, _, kind in flat)
        self.holds = any(place.holds for place in shape)
        super().__init__(_compose(flat))
        keys = sum(len(kind.keys) for _, _, kind in flat)
        args = sum(len(kind.args) for _, _, kind in flat)
        self._head = b"*%d\r\n%b" % (3 + keys + args, _bulk(("EVALSHA", self.sha, keys)))

    def call(self, batches: Sequence[Batch]) -> tuple[Any, ...]:
        """Return the EVALSHA command for `batches`, which are of this shape."""
        keys: list[bytes] = []
        args: list[Any] = []
        for batch in batches:
            keys += batch.keys
            args += batch.args
        return ("EVALSHA", self.sha, len(keys), *keys, *args)

    def payload(self, batches: Sequence[Batch]) -> bytes:
        """Return the same command as it goes over the wire; batches remember their part of it."""
        keys = args = b""
        for batch in batches:
            more_keys, more_args = batch.wire or _wire(batch)
            keys += more_keys
            args += more_args
        return self._head + keys + args


def _wire(batch: Batch) -> tuple[bytes, bytes]:
    batch.wire = wire = (_bulk(batch.keys), _bulk(batch.args))
    return wire


def _bulk(words: tuple[Any, ...]) -> bytes:
    """Return `words` as RESP bulk strings, without the header of an array."""
    packed: bytes = hiredis.pack_command(words) if words else b"\r\n"
    return packed[packed.index(b"\r\n") + 2 :]


@lru_cache(maxsize=512)
def program_of(shape: tuple[Place, ...]) -> Program:
    """Return the program for `shape`; all stacks share them."""
    return Program(shape)


def _compose(shape: Sequence[tuple[int, Place, OperationKind]]) -> str:
    checks, commits, replies = [], [], []
    key, arg = 1, 1
    for number, (guard, place, kind) in enumerate(shape, start=1):
        binding = _bind(kind, key, arg)
        own = [other for other, (its, _, _) in enumerate(shape, start=1) if its == guard]
        shadow = f"shadow_{guard}" if place.shadow else None
        checks.append(_check(number, kind, binding, place.closed, shadow, own))
        if kind.commit:
            commits.append(_commit(number, kind, binding, shadow, own))
        replies += [f"s{number}", *_numbered(number, kind.returns)]
        key, arg = key + len(kind.keys), arg + len(kind.args)
    declared = "".join(_declare(number, kind) for number, (_, _, kind) in enumerate(shape, start=1))
    declared += "".join(f"local shadow_{guard}\n" for guard in sorted({g for g, place, _ in shape if place.shadow}))
    work = f"{''.join(checks)}{_WHOLE}{''.join(commits)}"
    return f"{_HEAD}{declared}{work}{_TAIL}return {{{', '.join([*replies, 'now'])}}}\n"


def _numbered(number: int, names: Sequence[str]) -> list[str]:
    return [f"{name}_{number}" for name in names]


def _declare(number: int, kind: OperationKind) -> str:
    """Declare what outlives an operation's own scope: its status, results and what its commit needs."""
    lines = [f"local s{number} = 3\n"]
    lines += [f"local {name} = 0\n" for name in _numbered(number, kind.returns)]
    lines += [f"local {name}\n" for name in _numbered(number, kind.keeps)]
    return "".join(lines)


def _bind(kind: OperationKind, key: int, arg: int) -> str:
    lines = [f"local {name} = KEYS[{key + i}]\n" for i, name in enumerate(kind.keys)]
    lines += [f"local {name} = ARGV[{arg + i}]\n" for i, name in enumerate(kind.args)]
    return "".join(lines)


def _check(
    number: int, kind: OperationKind, binding: str, closed: bool, shadow: str | None, guard: Sequence[int]
) -> str:
    """The check of one operation. All of one `guard` are run, so that a refusal knows of every limit it violates."""
    outputs = (*kind.keeps, *kind.returns)
    own = f"local {', '.join(kind.returns)} = {', '.join('0' for _ in kind.returns)}\n" if kind.returns else ""
    own += f"local {', '.join(kind.keeps)}\n" if kind.keeps else ""
    save = f"{', '.join(_numbered(number, outputs))} = {', '.join(outputs)}\n" if outputs else ""
    group = f"'{kind.stops}'" if kind.stops else "nil"
    looked, passed = "", "1"
    if kind.idle and not kind.commit:  # one that is only looked at, where a round is cut
        looked = f"local unneeded\nif not stop and not failure then\n{kind.idle}end\n"
        passed = f"unneeded and {IDLE} or 1"
    on_failure = f"if not stop_at then stop_at, stop_group = {number}, nil end\n" if closed else ""
    on_stop = f"{shadow} = true" if shadow else f"if not stop_at then stop_at, stop_group = {number}, {group} end"
    return (
        f"{'if not stop_at then' if number == guard[0] else ''}\n"
        f"do -- {kind.name}\nlocal stop\n{binding}{own}{kind.check}{looked}{save}"
        f"if failure then\ns{number} = failure\nfailure = nil\n{on_failure}"
        f"elseif stop then\ns{number} = 0\n{on_stop}\n"
        f"else\ns{number} = {passed}\nend\nend\n"
        f"{'end' if number == guard[-1] else ''}\n"
    )


def _commit(number: int, kind: OperationKind, binding: str, shadow: str | None, guard: Sequence[int]) -> str:
    kept = "".join(f"local {name} = {name}_{number}\n" for name in kind.keeps)
    if REFUSED.search(kind.commit):
        within = f"stop_at and stop_at >= {guard[0]} and stop_at <= {guard[-1]}"
        kept += f"local refused = {shadow or within}\n"
    held_back = f"stop_at and (stop_at < {number}" + (f" or stop_group == '{kind.group}')" if kind.group else ")")
    if shadow and kind.group:
        held_back += f" or {shadow}"
    return (
        f"if s{number} == 1 then\nif {held_back} then s{number} = 2 else\n"
        f"{binding}{kept}{kind.commit}if failure then s{number} = failure failure = nil end\nend\nend\n"
    )
