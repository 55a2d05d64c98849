"""Refresh families over random histories: every verdict, number and key is the model's.

On all servers; time is given to the server's script, see `clockwork`.
"""

import random
from collections import Counter
from typing import Any

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.jwt.service.families import (
    FamilyLimits,
    FamilyOperations,
    Owner,
    Verdict,
    cutoff_for_all,
    mark_of,
)
from asgi_redis_guard.jwt.service.refresh_token import RefreshToken
from tests.conformance.clockwork import PASSED, Clockwork, Said
from tests.conformance.family_models import Family, UserModel

START = 1_700_000_000_123_456  # µs
SECOND = 1_000_000
KEYS = Keys()
ANN = Owner.of("", "ann")
NAMES = [f"family-{letter}-123456" for letter in "abc"]
DEVICES = ["phone", "laptop", None]

USUAL = FamilyLimits(idle=10_000, lifetime=60_000, grace=2_000, most_replays=3, keep=5_000)
SHORT = FamilyLimits(idle=4_000, lifetime=20_000, grace=500, most_replays=1, keep=1)
STRICT = FamilyLimits(idle=10_000, lifetime=60_000, grace=0, most_replays=0, keep=15_000)

PAUSES = [*[0, 1, 999, 1000] * 6, *[SECOND // 2, 1_999_000, 2 * SECOND] * 2, 4 * SECOND, 10 * SECOND, 10_001_000]
ACTIONS = [*["begin"] * 8, *["rotate"] * 14, "revoke", *["sweep"] * 3, "lose", *["repeat"] * 3]
CAUSES = {"u": "revoke_user", "d": "revoke_device", "s": "revoke_session", "o": "revoke_others"}


class History:
    """Clients that refresh, come again and are thrown out, at a server that loses what it likes to."""

    def __init__(self, manager: RedisManager, seed: int) -> None:
        self.manager, self.clockwork, self.dice = manager, Clockwork(manager), random.Random(seed)
        self.model, self.now, self.turn = UserModel(), START, 0
        self.limits = USUAL
        self.last: Any = None
        self.seen: Counter[Any] = Counter()
        self.over: set[str] = set()  # names that were ended: never to be good again, unless they are begun anew

    async def step(self) -> None:
        """Let time pass, do one thing, and compare."""
        self.turn += 1
        self.now += self.dice.choice(PAUSES)
        self.limits = self.dice.choice([USUAL, USUAL, USUAL, SHORT, STRICT])
        action = self.dice.choice(ACTIONS)
        if action == "lose":
            await self.lose()
        elif action == "repeat" and self.last is not None:
            operation, expect = self.last
            await self.compare("again", operation, expect)
        elif action in ("begin", "rotate", "revoke", "sweep"):
            self.last = getattr(self, action)(f"attempt{self.turn:04}")
            await self.compare(action, *self.last)

    async def compare(self, action: str, operation: Any, expect: Any) -> None:
        said, expected = await self.clockwork.one(self.now, operation), expect()
        assert said == expected, f"{action} {self.now - START} µs after the start"
        self.note(operation, said)
        content: dict[bytes, Any] = await self.clockwork.content()
        self.model.look(self.now)
        there = {name: content.pop(KEYS.family(ANN.tag, name.encode()), None) for name in NAMES}
        # Nobody has looked at some since they were over.
        assert {name: text for name, text in there.items() if name in self.model.families} == self.model.content()
        ends = await self.clockwork.ends()
        assert None not in ends.values()
        for name, one in self.model.families.items():
            assert ends[KEYS.family(ANN.tag, name.encode())] == one.expiry
        index = content.pop(KEYS.families(*ANN), None)
        if self.model.index:
            pairs = index if isinstance(index[0], list) else zip(index[::2], index[1::2], strict=True)
            assert {name.decode(): int(float(score)) for name, score in pairs} == self.model.index
            assert ends[KEYS.families(*ANN)] == self.model.index_expiry
        gen = content.pop(KEYS.generation(*ANN), None)
        if self.model.gen is not None:
            assert gen == b"%d:%b" % (self.model.gen[0], self.model.gen[1].encode())
            assert ends[KEYS.generation(*ANN)] == self.model.gen[2]
        assert not content

    def note(self, operation: Any, said: Said) -> None:
        """What holds whatever a model says: no refresh token comes out of what was ended."""
        if operation.kind.name == "jwt.family_rotate":
            verdict, name = said.values[0], operation.args[7].decode()
            self.seen[verdict] += 1
            assert name not in self.over or verdict not in (Verdict.ROTATED, Verdict.SAME)
            if verdict in (Verdict.REUSED, Verdict.REVOKED, Verdict.EXPIRED):
                self.over.add(name)
        elif operation.kind.name == "jwt.family_begin":
            if said.values[0]:
                self.over.discard(operation.args[1].decode())
            self.seen["begun", said.values[0]] += 1
        elif operation.kind.name == "jwt.family_sweep":
            self.over |= {name.decode() for name in said.values[1][::2]}
            self.seen[operation.args[1], bool(said.values[1])] += 1
        elif said.values[0]:
            self.over.add(operation.args[3].decode())

    @property
    def operations(self) -> FamilyOperations:
        return FamilyOperations(KEYS, self.limits)

    def begin(self, attempt: str) -> Any:
        free = [name for name in NAMES if name not in self.model.families] or NAMES
        name, note = (
            self.dice.choice([*NAMES, *free * 3]),
            self.dice.choice([b"", b"a:b:\n\x00:\xff", b'{"sub":"ann"}']),
        )
        device, session = self.dice.choice(DEVICES), self.dice.choice(["s1", "s2"])
        marks = mark_of(device).decode(), mark_of(session).decode()
        limits, owner = self.limits, ANN.rest.decode()

        def expect() -> Said:
            family = Family("a", 1, 0, 0, 0, 0, 0, 0, attempt, owner, *marks, note.decode("latin-1"))
            return self.model.begin(self.now, name, attempt, limits, family)

        whole = ANN.tag + name.encode()
        return self.operations.begin(whole, ANN, attempt.encode(), note, device, session), expect

    def rotate(self, attempt: str) -> Any:
        name, limits = self.dice.choice(NAMES), self.limits
        one = self.model.families.get(name)
        newest = one.number if one is not None else 1
        presented = max(1, newest + self.dice.choice([0, 0, 0, 0, -1, -1, -1, -1, -2, 1]))
        token = RefreshToken(ANN.tag + name.encode(), presented)
        return self.operations.rotate(token, attempt.encode()), (
            lambda: self.model.rotate(self.now, name, presented, attempt, limits)
        )

    def revoke(self, attempt: str) -> Any:
        name, limits = self.dice.choice(NAMES), self.limits
        return self.operations.revoke(ANN.tag + name.encode(), attempt.encode(), b"why: this"), (
            lambda: self.model.revoke(self.now, name, attempt, limits, "why: this")
        )

    def sweep(self, attempt: str) -> Any:
        cause, limits = self.dice.choice([*CAUSES]), self.limits
        method = getattr(self.operations, CAUSES[cause])
        meant: Any = {"u": (), "d": ("phone",), "s": ("s1",), "o": (ANN.tag + NAMES[0].encode(),)}[cause]
        what = {"u": "", "d": mark_of("phone").decode(), "s": mark_of("s1").decode(), "o": NAMES[0]}[cause]
        return method(ANN, *meant, attempt.encode(), b"why"), (
            lambda: self.model.sweep(self.now, cause, what, attempt, limits, "why")
        )

    async def lose(self) -> None:
        """The server evicts a key."""
        what = self.dice.choice(["generation", "index", *NAMES])
        if what == "generation":
            key, self.model.gen = KEYS.generation(*ANN), None
        elif what == "index":
            key, self.model.index = KEYS.families(*ANN), {}
        else:
            key = KEYS.family(ANN.tag, what.encode())
            self.model.families.pop(what, None)
            self.over.discard(what)
        await self.manager.execute("DEL", key, key + b"/ends")
        if what == "generation":
            self.over.clear()  # what nothing but the generation has ended


@pytest.mark.parametrize("seed", range(8))
async def test_every_verdict_number_and_key_is_the_models(manager: RedisManager, seed: int) -> None:
    history = History(manager, seed)
    for _ in range(600):
        await history.step()
    assert set(history.seen) >= {*range(5), ("begun", 0), ("begun", 1)}
    assert {(cause.encode(), True) for cause in CAUSES} <= set(history.seen)


async def rotate(clockwork: Clockwork, now: int, presented: int, attempt: str, limits: FamilyLimits = USUAL) -> Any:
    """Present a token of the one family; return the verdict, and the number of the one that is good then."""
    token = RefreshToken(ANN.tag + NAMES[0].encode(), presented)
    said = await clockwork.one(now, FamilyOperations(KEYS, limits).rotate(token, attempt.encode()))
    return Verdict(said.values[0]), said.values[1]


async def begun(clockwork: Clockwork, limits: FamilyLimits = USUAL) -> None:
    """Begin the one family, at START."""
    family = ANN.tag + NAMES[0].encode()
    said = await clockwork.one(START, FamilyOperations(KEYS, limits).begin(family, ANN, b"first", b"", None, None))
    assert said.values[0] == 1


async def test_the_grace_counts_from_the_first_use_and_replays_do_not_make_it_longer(clockwork: Clockwork) -> None:
    await begun(clockwork)
    first = START + SECOND
    assert await rotate(clockwork, first, 1, "a") == (Verdict.ROTATED, 2)
    for after in (0, 1_000_000, 1_999_000):
        assert await rotate(clockwork, first + after, 1, f"b{after}") == (Verdict.SAME, 2)
    assert (await rotate(clockwork, first + 2_000_000, 1, "c"))[0] == Verdict.REUSED
    assert (await rotate(clockwork, first + 2_000_000, 2, "d"))[0] == Verdict.REVOKED, "the thief's, or the owner's"
    assert (await rotate(clockwork, first + 2_000_000, 1, "e"))[0] == Verdict.REVOKED, "reuse is told once"


async def test_a_token_comes_again_only_so_often(clockwork: Clockwork) -> None:
    await begun(clockwork)
    said = [(await rotate(clockwork, START, 1, f"a{turn}"))[0] for turn in range(5)]
    assert said == [Verdict.ROTATED, *[Verdict.SAME] * 3, Verdict.REUSED]


async def test_without_a_grace_the_second_use_is_reuse_and_a_lost_reply_is_not(clockwork: Clockwork) -> None:
    await begun(clockwork, STRICT)
    for _ in range(3):
        assert await rotate(clockwork, START, 1, "asked again", STRICT) == (Verdict.ROTATED, 2)
    for _ in range(3):
        assert (await rotate(clockwork, START, 1, "another", STRICT))[0] == Verdict.REUSED
    assert (await rotate(clockwork, START, 1, "asked again", STRICT))[0] == Verdict.REVOKED


async def test_a_token_from_before_the_last_two_uses_is_reuse_at_once(clockwork: Clockwork) -> None:
    await begun(clockwork)
    assert await rotate(clockwork, START, 1, "a") == (Verdict.ROTATED, 2)
    assert await rotate(clockwork, START, 2, "b") == (Verdict.ROTATED, 3)
    assert (await rotate(clockwork, START, 1, "c"))[0] == Verdict.REUSED


async def test_a_token_that_the_server_forgot_having_made_is_good(clockwork: Clockwork) -> None:
    """A replica that had not heard of it took over: its mac says that it was made."""
    await begun(clockwork)
    assert await rotate(clockwork, START, 4, "a") == (Verdict.ROTATED, 5)
    assert await rotate(clockwork, START, 4, "b") == (Verdict.SAME, 5)


async def test_a_family_ends_idle_and_at_the_latest_whatever_is_done(clockwork: Clockwork) -> None:
    await begun(clockwork)
    now, presented = START, 1
    while now < START + 60 * SECOND:
        assert await rotate(clockwork, now, presented, f"a{now}") == (Verdict.ROTATED, presented + 1)
        now, presented = now + 9 * SECOND, presented + 1
    assert (await rotate(clockwork, START + 60 * SECOND, presented, "last"))[0] == Verdict.EXPIRED
    await begun(clockwork)
    assert (await rotate(clockwork, START + 10 * SECOND + 1000, 1, "idle"))[0] == Verdict.UNKNOWN


async def test_an_idle_time_that_is_longer_than_the_lifetime_ends_with_that(clockwork: Clockwork) -> None:
    limits = FamilyLimits(idle=90_000, lifetime=60_000, grace=0, most_replays=0, keep=1)
    await begun(clockwork, limits)
    ends = (await clockwork.ends()).values()
    assert {*ends} == {START // 1000 + 60_000}
    assert (await rotate(clockwork, START + 50 * SECOND, 1, "a", limits))[0] == Verdict.ROTATED
    assert {*(await clockwork.ends()).values()} == {START // 1000 + 60_000}


async def test_limits_that_were_made_shorter_hold_for_families_that_are_there(clockwork: Clockwork) -> None:
    await begun(clockwork)
    assert (await rotate(clockwork, START + 3 * SECOND, 1, "a", SHORT)) == (Verdict.ROTATED, 2)
    assert (await rotate(clockwork, START + 7 * SECOND, 2, "b", SHORT))[0] == Verdict.EXPIRED
    assert (await rotate(clockwork, START + 7 * SECOND, 2, "b"))[0] == Verdict.UNKNOWN


async def test_a_generation_only_grows_also_where_clocks_go_back_and_keys_are_lost(clockwork: Clockwork) -> None:
    operations, gens = FamilyOperations(KEYS, USUAL), []
    for turn, now in enumerate([START, START, START - 10 * SECOND, START + 5]):
        said = await clockwork.one(now, operations.revoke_user(ANN, b"%d" % turn))
        gens.append(said.values[0])
    assert gens == [START + 1, START + 2, START + 3, START + 6]
    assert (await clockwork.one(START + 5, operations.revoke_user(ANN, b"3"))).values[0] == START + 6, "asked again"


async def test_a_generation_is_after_that_of_every_family_whatever_was_forgotten(clockwork: Clockwork) -> None:
    """The key of the generation may be lost, and the clock set back."""
    operations = FamilyOperations(KEYS, USUAL)
    await begun(clockwork)
    assert (await clockwork.one(START - SECOND, operations.revoke_user(ANN, b"a"))).values[0] == START + 1
    said = await clockwork.one(
        START - SECOND, operations.begin(ANN.tag + b"another-family-1", ANN, b"b", b"", None, None)
    )
    assert said.values[1] == START + 1, "those that begin after it have it"


async def test_the_cutoff_for_all_is_told(clockwork: Clockwork, manager: RedisManager) -> None:
    assert await clockwork.one(START, cutoff_for_all(KEYS, "")) == Said(PASSED, (0,))
    await manager.execute("SET", KEYS.everybody(""), START, "PX", 60_000)
    assert await clockwork.one(START, cutoff_for_all(KEYS, "")) == Said(PASSED, (START,))
    assert await clockwork.one(START, cutoff_for_all(KEYS, "another")) == Said(PASSED, (0,))
