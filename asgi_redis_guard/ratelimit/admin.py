"""`RateLimitAdmin`: who is limited, banned or busy at a `RateLimit`, and changes to it while all processes run."""

from __future__ import annotations

import re
from datetime import datetime
from math import ceil

from ..core.keys import digest
from ..core.lua import read_lua
from ..core.steps import Ask
from ..errors import ConfigurationError
from ..middleware.trips import RoundTrips
from ..observability.events import host_time
from ..redis.manager import RedisManager
from ..redis.program import Script
from .changes import KEPT, changed_word, forget_word
from .direct import look
from .guard import RateLimit
from .ledger import HOURS
from .plan import Asked, Plan
from .policy import standing
from .rules import Notations
from .status import LimitedIdentity, LimitStatus, LimitTotals, ban_end, moment, names, sums, totals

_BAN = Script(read_lua(__package__, "ban_set.lua"))
_CHANGE = Script(read_lua(__package__, "changes_set.lua"))
_STATISTICS = Script(read_lua(__package__, "statistics.lua"))

_DIGEST = re.compile(rb"[A-Za-z0-9+/]{20}")


class RateLimitAdmin:
    """Look at what `guard` counts, and change it: `await admin.reset("alice")`.

    A key is given as the values of the guard's own `key`, in its order (`"alice"` for `key="user"`), or as the digest
    that a list has told. What is changed reaches every process at once. `redis` is that of the stack. Methods raise
    `RedisUnavailable`, and ValueError for what the guard is not made for.
    """

    def __init__(self, guard: RateLimit, redis: RedisManager | str | None = None) -> None:
        if not isinstance(guard, RateLimit):
            raise ConfigurationError(f"guard: {guard!r} given; allowed is a RateLimit")
        self._guard = guard
        self._redis = redis

    @property
    def redis(self) -> RedisManager:
        """The manager in use."""
        return RedisManager.of(self._redis)

    async def inspect(self, *key: str | bytes, rule: str = "", limits: Notations = None) -> LimitStatus:
        """Return how somebody stands at the limits of `rule`, as it was written; without one, those of no rule.

        Where a function tells these, `limits` are what it told.
        """
        return await self._status(self._identity(key), self._plan(rule, limits))

    async def reset(self, *key: str | bytes, limits: Notations = None) -> None:
        """Forget what was counted for somebody, at all limits that the guard knows beforehand, and at `limits`."""
        identity, keys = self._identity(key), self.redis.keys
        plans = [*self._guard.rules.plans, *([self._plan("", limits)] if limits is not None else [])]
        names = {limit.key_name for plan in plans for limit in plan.limits}
        if names:
            await self.redis.execute("DEL", *[keys.limit(name, identity) for name in names])
        await self._tell(forget_word(self._guard.group, identity))

    async def ban(self, *key: str | bytes, seconds: float) -> datetime:
        """Refuse somebody for so many seconds; return when that ends."""
        policy = self._guard.ledger.ban
        if policy is None:
            raise ValueError(f"{self._guard!r} bans nobody; give it ban=Ban(after=0) to ban by hand")
        if not 0 < seconds <= 366 * 86_400:
            raise ValueError(f"seconds: {seconds!r} given; allowed are more than 0, up to 366 days")
        lasts, known = ceil(seconds * 1_000_000), round(policy.longest * 1_000_000)
        ends = await self.redis.run_script(_BAN, (self._ban_key(key),), (lasts, known))
        return moment(int(ends))

    async def unban(self, *key: str | bytes) -> bool:
        """Lift somebody's ban, and forget its breaches; return whether there was anything to forget."""
        found = await self.redis.execute("DEL", self._ban_key(key))
        await self._tell(forget_word(self._guard.group, self._identity(key)))
        return bool(found)

    async def change(self, limits: Notations, rule: str = "") -> None:
        """Put `limits` (None for none) in the place of those of `rule`, in all processes; counts are kept.

        A `rule` is named as it was written; `""` are the limits of no rule, also those that a function tells. Raises
        `ConfigurationError`.
        """
        written = self._guard.rules.checked(limits, rule)
        key = self._changes_key()
        await self.redis.run_script(_CHANGE, (key,), (rule, ";".join(written), KEPT), repeatable=True)
        await self._tell(changed_word(self._guard.group))

    async def restore(self) -> None:
        """Take all changes back."""
        await self.redis.execute("DEL", self._changes_key())
        await self._tell(changed_word(self._guard.group))

    async def statistics(self, hours: int = 24) -> list[LimitTotals]:
        """Return what was allowed and denied in each of the last `hours`, the present one first."""
        now = int(host_time() // 3600)
        return [totals(now - ago, found[0]) for ago, found in enumerate(await self._hours(hours))]

    async def busiest(self, most: int = 20, hours: int = 1) -> list[LimitedIdentity]:
        """Return who has sent the most requests in the last `hours`; a count may be too high, never too low."""
        return await self._heaviest(most, hours)

    async def refused(self, most: int = 20, hours: int = 1) -> list[LimitedIdentity]:
        """Return who was refused most often in the last `hours`."""
        return await self._heaviest(most, hours, refused=True)

    async def blocked(
        self, most: int = 20, hours: int = 1, rule: str = "", limits: Notations = None
    ) -> list[LimitStatus]:
        """Return who of those refused in the last `hours` would be refused now; see `inspect`."""
        plan = self._plan(rule, limits)
        found = await self.refused(most, hours)
        statuses = [await self._status(one.identity, plan) for one in found]
        return [status for status in statuses if status.blocked]

    def _identity(self, key: tuple[str | bytes, ...]) -> bytes:
        if len(key) == 1 and isinstance(key[0], bytes) and _DIGEST.fullmatch(key[0]):
            return key[0]
        return digest(*self._guard.identity.named(key), *self.redis.keys.salt)

    def _plan(self, rule: str, limits: Notations) -> Plan:
        plan = self._guard.rules.plan_of(rule, limits)
        if plan is None:
            raise ValueError(f"rule: {rule!r} has no limits that are known beforehand; say which in limits=")
        return plan

    def _ban_key(self, key: tuple[str | bytes, ...]) -> bytes:
        return self.redis.keys.ban(self._guard.group.encode(), self._identity(key))

    def _changes_key(self) -> bytes:
        if not self._guard.options.changeable:
            raise ValueError(f"{self._guard!r} does not listen to changes; give it changeable=True")
        return self.redis.keys.limit_changes(self._guard.group.encode())

    async def _tell(self, word: bytes) -> None:
        """Tell all processes; the guard that is here does not wait for word to come back."""
        if self._guard.told(word):
            trips = RoundTrips(self.redis)
            for flow, result in await trips.converse([self._guard.missed(self.redis.keys)]):
                await trips.finish(flow, result)
        await self.redis.pubsub.feed.tell(RateLimit.topic, [word])

    async def _status(self, identity: bytes, plan: Plan) -> LimitStatus:
        keys, now = self.redis.keys, host_time()
        ask = Ask(plan.operations(keys, identity, 1, now), about=Asked(plan, keys, (), identity, 1, now))
        replies = await look(self.redis, ask)
        strikes = await self.redis.execute("GET", keys.ban(self._guard.group.encode(), identity))
        return LimitStatus(identity, tuple(map(standing, ask.about.states(replies))), ban_end(strikes, replies.clock))

    async def _hours(self, hours: int) -> list[list[list[bytes]]]:
        """Return what is known of the last hours, the present one first."""
        if not self._guard.options.statistics:
            raise ValueError(f"{self._guard!r} keeps no statistics; give it statistics=True")
        if not 1 <= hours <= HOURS:
            raise ValueError(f"hours: {hours!r} given; allowed are 1 to {HOURS}")
        keys, group, now = self.redis.keys, self._guard.group.encode(), int(host_time() // 3600)
        places = [keys.limit_statistics(group, now - ago) for ago in range(hours)]
        return [await self.redis.run_script(_STATISTICS, place, repeatable=True) for place in places]

    async def _heaviest(self, most: int, hours: int, *, refused: bool = False) -> list[LimitedIdentity]:
        """Return who has sent the most requests, or was refused most often, with all that is known of them."""
        found = await self._hours(hours)
        busy, denied = sums(hour[1] for hour in found), sums(hour[2] for hour in found)
        labels = names(hour[3] for hour in found)
        chosen = (denied if refused else busy).most_common(most)
        return [LimitedIdentity(one, labels.get(one), busy[one], denied[one]) for one, _ in chosen]
