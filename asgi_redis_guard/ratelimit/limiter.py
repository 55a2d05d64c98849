"""`RateLimiter`: limits for the app's own use, outside of requests: mails, jobs, calls to somebody else's service."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from ..core.keys import digest, is_short
from ..core.script import Operation, Replies, place_of
from ..core.steps import Ask
from ..errors import RedisUnavailable
from ..observability.events import host_time
from ..redis.asking import carry_out, replies_of
from ..redis.manager import RedisManager
from ..redis.program import program_of
from .calendar import quarter
from .direct import look
from .headers import HeaderStyle
from .local import LocalLimits
from .notation import Style, make_limits
from .options import Options, checked_cost
from .plan import Asked, Plan
from .policy import Algorithm, LimitStanding, LimitState, most_restrictive, standing


class LimitResult:
    """What was decided on one hit; true where it is `allowed`.

    `limit`, `remaining`, `reset_after` and `retry_after` (seconds; the last 0 if it is allowed) are of the tightest
    limit; `states` has all of them. `cost` is what was asked for. `degraded` is true where Redis did not answer.
    """

    __slots__ = (
        "_asked",
        "_counted",
        "_states",
        "_taken",
        "allowed",
        "cost",
        "degraded",
        "limit",
        "remaining",
        "reset_after",
        "retry_after",
    )

    def __init__(
        self, asked: Asked, states: list[LimitState], taken: int, *, degraded: bool = False, looks: bool = False
    ) -> None:
        tightest = states[0] if len(states) == 1 else most_restrictive(states)
        #: As what it counts now: settled, no more as `cost`.
        self._asked = asked
        #: When it was counted (µs), by the server's clock, or this host's where it is `degraded`.
        self._taken = taken
        self.cost = asked.cost
        self._states = states
        self.degraded = degraded
        self.allowed: bool = tightest.allowed
        #: Whether there is something to settle.
        self._counted = self.allowed and not looks
        self.limit = tightest.limit.amount
        self.remaining = tightest.remaining
        self.reset_after = tightest.reset_after / 1_000_000
        self.retry_after = tightest.retry_after / 1_000_000

    @property
    def states(self) -> tuple[LimitStanding, ...]:
        """How each of the limits stands."""
        return tuple([standing(state) for state in self._states])

    @property
    def delay(self) -> float:
        """Seconds until an allowed hit has its turn, in a leaky bucket; 0 otherwise."""
        return self._asked.plan.delay(self._states, self.cost) if self.allowed and not self.degraded else 0.0

    def __bool__(self) -> bool:
        return self.allowed

    def __repr__(self) -> str:
        word = "allowed" if self.allowed else f"refused for {self.retry_after:g} s"
        return f"<LimitResult {word}, {self.remaining} of {self.limit} left{', degraded' * self.degraded}>"


class RateLimiter:
    """Count against `limits`, such as `"100/minute"`, whatever a key stands for: `await limiter.hit("mail", "ann")`.

    Several limits are decided all or nothing, in one round trip. `name` stands in the keys: limiters of one name,
    period and algorithm share their counts. `algorithm`, `burst`, `timezone`: see `RateLimit`. `redis`: a manager, a
    URL, or None for that of the environment. `on_outage`: `local` counts in this process while Redis is away, its part
    among `workers`, for at most `local_keys` keys; `open` allows, `closed` raises `RedisUnavailable`. Raises
    `ConfigurationError`.
    """

    def __init__(
        self,
        *limits: str,
        redis: RedisManager | str | None = None,
        name: str = "default",
        algorithm: Algorithm = "gcra",
        burst: int | None = None,
        timezone: str | None = None,
        on_outage: Literal["local", "open", "closed"] = "local",
        workers: int = 1,
        local_keys: int = 10_000,
    ) -> None:
        Options(on_outage=on_outage, workers=workers, local_keys=local_keys)  # they are those of a guard
        self._redis = redis
        self._manager: RedisManager | None = None
        self._on_outage = on_outage
        self._plan = Plan(make_limits(limits, Style(algorithm, burst, name, name, timezone)), HeaderStyle())
        self._local = LocalLimits(max_keys=local_keys, workers=workers)
        self._place = place_of(False, tuple(limit.kind for limit in self._plan.limits))
        self._program = program_of((self._place,))
        self._made = lru_cache(maxsize=8192, typed=True)(self._make)

    @property
    def redis(self) -> RedisManager:
        """The manager in use; found when it is first needed."""
        if self._manager is None:
            self._manager = RedisManager.of(self._redis)
        return self._manager

    async def hit(self, *key: str | bytes, cost: int = 1) -> LimitResult:
        """Count `cost` units for `key`, if they fit. Raises `RedisUnavailable` with `on_outage="closed"` alone."""
        manager = self._manager or self.redis
        ask = self._ask(key, cost)
        if self._local.windows and (owed := self._local.owed(self._plan, ask.about.hashed, host_time())):
            return await self._hit_and_tell(ask, owed)
        try:
            raw = await manager.evaluate(self._program, (ask.batch,))
            if self._place.statuses(raw) == self._place.all_passed:
                return LimitResult(ask.about, self._plan.passed_states(raw), raw[-1])
            return _result(ask, replies_of(ask, raw))
        except RedisUnavailable as error:
            return self._away(ask.about, error)

    async def peek(self, *key: str | bytes, cost: int = 1) -> LimitResult:
        """Tell what `hit` would say now, and count nothing; `remaining` is what is left before it."""
        ask = self._ask(key, cost)
        try:
            return _result(ask, await look(self.redis, ask), looks=True)
        except RedisUnavailable as error:
            return self._away(ask.about, error, looks=True)

    async def settle(self, result: LimitResult, actual: int) -> None:
        """Make `actual` units of those that `hit` has counted; of a refused hit, or a peek, there is nothing to make.

        What comes on top counts from now on, and may not all be given back later. Raises `RedisUnavailable`.
        """
        checked_cost(actual, what="actual")
        asked = result._asked
        if not result._counted or actual == asked.cost:
            return
        result._asked = asked._replace(cost=actual)  # before it is awaited: somebody else may settle it meanwhile
        if result.degraded:
            self._local.settle(asked.plan, asked.hashed, asked.cost, actual, result._taken / 1_000_000)
            return
        try:
            await self._do(asked._replace(when=host_time()).settle(result._taken, actual))
        except RedisUnavailable:
            result._asked = asked
            raise

    async def refund(self, result: LimitResult) -> None:
        """Take it as if there had been no such hit. Raises `RedisUnavailable`."""
        await self.settle(result, 0)

    async def penalize(self, *key: str | bytes, units: int) -> None:
        """Count `units` for `key`, whether they fit or not. Raises `RedisUnavailable`."""
        asked: Asked = self._ask(key, 0).about
        await self._do(asked.charge([checked_cost(units, what="units")] * len(self._plan.limits)))

    async def reset(self, *key: str | bytes) -> None:
        """Forget what was counted for `key`. Raises `RedisUnavailable`."""
        asked: Asked = self._ask(key, 0).about
        self._local.forget(lambda hashed: hashed == asked.hashed)
        keys = [self.redis.keys.limit(limit.key_name, asked.hashed) for limit in self._plan.limits]
        await self.redis.execute("DEL", *keys)

    def _ask(self, key: tuple[str | bytes, ...], cost: int) -> Ask:
        when = quarter(host_time()) if self._plan.is_calendar else 0.0
        try:
            return (self._made if is_short(key) else self._make)(key, cost, when)
        except TypeError:
            if all(isinstance(part, str | bytes) for part in key):
                raise
            raise TypeError(f"key: {key!r} given; allowed are str and bytes") from None

    def _make(self, key: tuple[str | bytes, ...], cost: int, when: float) -> Ask:
        if not key:
            raise ValueError("key: empty; name at least one part")
        hashed, keys = digest(*key, *self.redis.keys.salt), self.redis.keys
        asked = Asked(self._plan, keys, key, hashed, checked_cost(cost), when)
        return Ask(self._plan.operations(keys, hashed, cost, when), about=asked)

    async def _hit_and_tell(self, ask: Ask, owed: list[int]) -> LimitResult:
        """Hit, and tell Redis what was counted here while it was away: once, however many hits come at a time."""
        asked: Asked = ask.about
        plan, hashed = asked.plan, asked.hashed
        operations = [*plan.operations(asked.keys, hashed, asked.cost, asked.when), *asked.charge(owed)]
        ask = Ask(operations, about=asked)
        told: list[int] | None = None
        try:
            result = _result(ask, await carry_out(self.redis, ask))
            told = owed if result.allowed else None
        except RedisUnavailable as error:
            return self._away(asked, error)
        finally:
            self._local.told(plan, hashed, told)
        return result

    def _away(self, asked: Asked, error: RedisUnavailable, looks: bool = False) -> LimitResult:
        """Decide while Redis is away."""
        if self._on_outage == "closed":
            raise error
        taken = round(host_time() * 1_000_000)
        if self._on_outage == "open":
            states = [LimitState(limit, True, limit.amount, 0, 0) for limit in self._plan.limits]
        else:
            decide = self._local.look if looks else self._local.decide
            states = decide(asked.plan, asked.hashed, asked.cost, taken / 1_000_000)
        return LimitResult(asked, states, taken, degraded=True, looks=looks)

    async def _do(self, operations: list[Operation]) -> None:
        await carry_out(self.redis, Ask(operations))

    def __repr__(self) -> str:
        return f"<RateLimiter {self._plan!r}>"


def _result(ask: Ask, replies: Replies, looks: bool = False) -> LimitResult:
    return LimitResult(ask.about, ask.about.states(replies), replies.clock, looks=looks)
