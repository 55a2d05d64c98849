"""What a limit is: so many requests in such a time, counted by one of the algorithms. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from limits import RateLimitItem, parse_many

from ..core.keys import Keys, digest
from ..core.script import Operation, OperationKind, Reply
from ..errors import ConfigurationError

Algorithm = Literal["gcra", "fixed", "counter", "log"]

KINDS: dict[str, OperationKind] = {
    name: OperationKind.load(__package__, f"{name}.lua") for name in ("gcra", "fixed", "counter", "log")
}

#: Entries of one sorted set; a log of more is a server stalled, not a limit.
_LONGEST_LOG = 100_000

#: Characters; what is longer holds numbers that nobody means.
_LONGEST_NOTATION = 500


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount` requests in `period` seconds. `burst` is how many may come at once (GCRA alone; `amount` by default).

    `name` stands in the headers, `key_name` in the Redis key; the latter has no amount in it, so that a changed limit
    keeps what was used.
    """

    amount: int
    period: int
    algorithm: Algorithm
    burst: int
    name: str
    key_name: bytes
    kind: OperationKind = field(init=False, repr=False)
    numbers: tuple[int, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        span = self.period * 1_000_000
        step = -(-span // self.amount)  # µs from one request to the next at the sustained rate, rounded up
        numbers = (step, step * self.burst) if self.algorithm == "gcra" else (self.amount, span)
        object.__setattr__(self, "kind", KINDS[self.algorithm])
        object.__setattr__(self, "numbers", numbers)

    def operation(self, keys: Keys, identity: bytes, cost: int = 1) -> Operation:
        """Return the operation that counts a request of so many units for `identity`; of none, it only looks."""
        return Operation(self.kind, (keys.limit(self.key_name, identity),), (*self.numbers, cost))


class LimitState(NamedTuple):
    """How one limit stands after a decision. Times in microseconds.

    `remaining` requests may come at once; in `reset_after` the quota is whole again; in `retry_after` this request
    would have fitted (0 if it did).
    """

    limit: Limit
    allowed: bool
    remaining: int
    reset_after: int
    retry_after: int


def read_states(limits: Sequence[Limit], replies: Sequence[Reply]) -> list[LimitState]:
    """Read what the program said of `limits`; what another limit's refusal kept from being counted is left over."""
    return [
        LimitState(limit, passed, values[0] + (not committed), values[1], values[2])
        for limit, (passed, committed, values) in zip(limits, replies, strict=True)
    ]


def make_limits(
    notations: Sequence[str], algorithm: Algorithm, burst: int | None, name: str | None, paths: Sequence[str] = ()
) -> tuple[Limit, ...]:
    """Read limits such as `100/minute; 1000 per 2 hours`; raises `ConfigurationError` with all faults.

    Limits without a name that count different paths must not share their counts, so these stand in the key instead.
    """
    faults: list[str] = []
    if algorithm not in KINDS:
        raise ConfigurationError(
            f"algorithm (GUARD_LIMIT_ALGORITHM): {algorithm!r} given; allowed are {', '.join(map(repr, KINDS))}"
        )
    if burst is not None and algorithm != "gcra":
        faults.append(f"burst: given with algorithm {algorithm!r}; allowed with 'gcra' alone")
    if name is not None and not _printable(name):
        faults.append(f"name: {name!r} given; allowed are 1 to 64 printable ASCII characters")
    items = [item for notation in notations for item in _parse(notation, faults)]
    if not items and not faults:
        faults.append("limits (GUARD_LIMITS): none given; name at least one, such as '100/minute'")
    space = name or (digest(*paths).decode() if paths else "default")
    limits = [_limit(item, place, items, algorithm, burst, name, space, faults) for place, item in enumerate(items)]
    ConfigurationError.raise_for(faults)
    return tuple(limits)


def _parse(notation: str, faults: list[str]) -> list[RateLimitItem]:
    try:
        if len(notation) > _LONGEST_NOTATION:
            raise ValueError
        return list(parse_many(notation))
    except (ValueError, TypeError, OverflowError):
        said = f"limits (GUARD_LIMITS): {repr(notation)[:_LONGEST_NOTATION]} given;"
        faults.append(f"{said} allowed are forms such as '100/minute', '10 per 5 seconds'")
        return []


def _limit(
    item: RateLimitItem,
    place: int,
    items: Sequence[RateLimitItem],
    algorithm: Algorithm,
    burst: int | None,
    name: str | None,
    space: str,
    faults: list[str],
) -> Limit:
    period, amount = item.get_expiry(), item.amount
    said = f"limits (GUARD_LIMITS): {amount} per {period} s given;"
    if not (0 < amount <= 1_000_000_000 and 0 < period <= 366 * 86_400):
        faults.append(f"{said} allowed are 1 to 1,000,000,000 in 1 second to 366 days")
        amount, period = max(1, burst or 1), 1
    elif amount > period * 1_000_000:
        faults.append(f"{said} allowed is at most one a microsecond")
    elif algorithm == "log" and amount > _LONGEST_LOG:
        faults.append(f"{said} algorithm 'log' keeps every request; allowed are {_LONGEST_LOG} at most")
    if burst is not None and not 1 <= burst <= amount:
        faults.append(f"burst: {burst} given; allowed are 1 to the amount of each limit ({amount})")
    same = [other.get_expiry() for other in items[:place]].count(period)
    suffix = f"-{same + 1}" if same else ""
    header = f"{name}-{_span(period)}{suffix}" if name and len(items) > 1 else name or f"{_span(period)}{suffix}"
    key_name = f"{space}.{algorithm}.{period}{suffix}".encode()
    return Limit(amount, period, algorithm, burst or amount, header, key_name)


def _span(period: int) -> str:
    for seconds, word in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if period % seconds == 0:
            count = period // seconds
            return word if count == 1 else f"{count}-{word}s"
    raise AssertionError(period)  # whole seconds always divide by one


def _printable(name: str) -> bool:
    return 0 < len(name) <= 64 and name.isascii() and name.isprintable()


def seconds_up(microseconds: int) -> int:
    """Whole seconds, rounded up, at least 1: nobody is told to come back too early."""
    return -(-microseconds // 1_000_000) or 1


def most_restrictive(states: Sequence[LimitState]) -> LimitState:
    """Return the state that says the least: a violated limit with the longest wait, else the fewest remaining."""
    violated = [state for state in states if not state.allowed]
    if violated:
        return max(violated, key=lambda state: state.retry_after)
    return min(states, key=lambda state: state.remaining)
