"""The program of a round under a clock that tests set, on a real server.

The source is the one that production composes, with two substitutions in its text: `redis.call('TIME')` becomes a time
that is given as the last argument, and `redis.pcall` goes through a layer that keeps every key's expiry by that time,
in a key beside it, with the server's own rules: milliseconds, alive up to and including the last one. Nothing
expires by the server's clock then, and an expiry of zero or less, or none at all on a write, is an error.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.script import Batch, Operation, place_of
from asgi_redis_guard.redis.cutting import Cutter
from asgi_redis_guard.redis.program import Program, program_of
from asgi_redis_guard.redis.undoing import Undoing
from tests.redis.tools import PATIENCE as _PATIENCE

_LAYER = """\
local given_us = tonumber(ARGV[#ARGV])
local given_ms = math.floor(given_us / 1000)
local function whole(number) return string.format('%.0f', number) end
local function given_time() return {whole(math.floor(given_us / 1000000)), whole(given_us % 1000000)} end
local function keep(key, ms)
  ms = tonumber(ms)
  if not ms or ms < 1 or ms ~= math.floor(ms) then return {err = 'ERR invalid expire time'} end
  redis.call('SET', key .. '/ends', whole(given_ms + ms))
  return {ok = 'OK'}
end
local function virtual(command, key, ...)
  local args = {...}
  local ends = tonumber(redis.call('GET', key .. '/ends'))
  if ends and (given_ms > ends or redis.call('EXISTS', key) == 0) then
    redis.call('DEL', key, key .. '/ends')
    ends = nil
  end
  if command == 'PTTL' then return ends and ends - given_ms or redis.call('EXISTS', key) - 2 end
  if command == 'PEXPIRE' then return redis.call('EXISTS', key) == 1 and keep(key, args[1]) or 0 end
  if command == 'SET' then
    if args[2] ~= 'PX' or #args ~= 3 then return {err = 'ERR a write without an expiry'} end
    redis.call('SET', key, args[1])
    return keep(key, args[3])
  end
  return redis.pcall(command, key, ...)
end
"""

PASSED, STOPPED, HELD_BACK, NOT_RUN = 1, 0, 2, 3


class Said(NamedTuple):
    """What the program said of one operation."""

    status: int
    values: tuple[Any, ...] = ()


class Clockwork:
    """Carries out rounds at times in microseconds; `cut` by hash tags, as a cluster with a node for each would."""

    def __init__(self, manager: RedisManager, *, cut: bool = False) -> None:
        self._manager = manager
        self._cut = cut

    async def at(self, now: int, *guards: Sequence[Operation]) -> list[list[Said]]:
        """Run one round, each guard with its operations; return what was said of each."""
        batches = [Batch(asked) for asked in guards]
        program = program_of(tuple(place_of(False, batch.kinds) for batch in batches))

        def send(slot: Any, program: Program, batches: Sequence[Batch], timeout: float) -> asyncio.Future[Any]:
            _, _, *given = program.call(batches)
            call = self._manager.execute("EVAL", in_given_time(program.source), *given, now)
            return asyncio.ensure_future(call)

        if self._cut:
            undo = Undoing(send, self._manager.spawn, _PATIENCE)
            raw = await Cutter(asyncio.get_running_loop(), bytes, send, undo, _PATIENCE).evaluate(program, batches)
        else:
            raw = await send(None, program, batches, _PATIENCE)
        words = iter(raw)
        return [[Said(_status(next(words)), _values(words, kind)) for kind, _, _ in asked] for asked in guards]

    async def one(self, now: int, operation: Operation) -> Said:
        """Run one operation alone."""
        return (await self.at(now, [operation]))[0][0]

    async def content(self) -> dict[bytes, object]:
        """Return every key and what is in it: a text, or the members of a sorted set with their scores."""
        held: dict[bytes, object] = {}
        for key in await self.ends():
            is_text = await self._manager.execute("TYPE", key) in (b"string", "string")
            held[key] = await self._manager.execute(
                *(("GET", key) if is_text else ("ZRANGE", key, 0, -1, "WITHSCORES"))
            )
        return held

    async def ends(self) -> dict[bytes, int | None]:
        """Return every key and when it ends, in milliseconds of the given clock; None for never."""
        keys = [key for key in await self._manager.execute("KEYS", "*") if not key.endswith(b"/ends")]
        found = [await self._manager.execute("GET", key + b"/ends") for key in keys]
        return {key: None if end is None else int(end) for key, end in zip(keys, found, strict=True)}


def in_given_time(source: str) -> str:
    """Substitute the clock in a program's text; fails if the program tells time in another way."""
    assert "redis.call('TIME')" in source
    assert "redis.pcall(" in source
    changed = source.replace("redis.call('TIME')", "given_time()").replace("redis.pcall(", "virtual(")
    assert "redis.call(" not in changed
    assert "redis.pcall(" not in changed
    return _LAYER + changed


def _status(word: Any) -> int:
    assert isinstance(word, int), f"the operation failed: {word!r}"
    return word


def _values(words: Any, kind: Any) -> tuple[Any, ...]:
    values = tuple(next(words) for _ in kind.returns)
    for value in values:
        assert all(isinstance(one, int | bytes) for one in (value if isinstance(value, list) else [value])), values
    return values
