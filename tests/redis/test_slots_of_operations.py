"""On a cluster all keys of one operation, or of one script, lie in one slot: for each of them that the package has."""

import inspect
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import asgi_redis_guard
from asgi_redis_guard.cache import operations as cached
from asgi_redis_guard.core.keys import Keys, digest, hash_tag
from asgi_redis_guard.core.lua import includes_of
from asgi_redis_guard.core.script import Operation, OperationKind
from asgi_redis_guard.idempotency.operations import Claim as OnceClaim
from asgi_redis_guard.jwt.service.families import FamilyLimits, FamilyOperations, Owner
from asgi_redis_guard.jwt.service.family_counts import STATS as FAMILY_STATS
from asgi_redis_guard.jwt.service.family_counts import TALLY as FAMILY_TALLY
from asgi_redis_guard.locks.operations import LOCK, SEMAPHORE
from asgi_redis_guard.locks.operations import Claim as LockClaim
from asgi_redis_guard.sessions.ids import SessionId, SessionIds
from tests.conformance.operations import Bound

PACKAGE = Path(asgi_redis_guard.__file__).parent
LUA = {str(path.relative_to(PACKAGE)): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.lua"))}
PARTS = {str(Path(name).parent / part) for name, source in LUA.items() for part in includes_of(source)}
#: What is sent by itself: operations, and scripts of services.
SENT = sorted(name for name, source in LUA.items() if "-- @check\n" in source or name not in PARTS)

#: What a single server gets alone, and clusters in parts. Two more of sessions are, where the user is another
#: (`sessions/rotating.py`, `sessions/reuse.py`).
WHOLE = {"cache/peek.lua", *[f"jwt/revocation/{name}.lua" for name in ("revoke", "unrevoke", "cutoff")]}

KEYS = Keys()
IDS = SessionIds(b"", KEYS)
ALICE, AGAIN, NOBODY, BOB = (IDS.make(os.urandom, user) for user in ("alice", "alice", None, "bob"))
ISSUER = "https://issuer"
REVOKED = (KEYS.revoked, KEYS.revoked_mirrors, KEYS.revoked_stream)
TOKENS = tuple(KEYS.token(ISSUER, name) for name in ("a", "b", "c"))
USER = KEYS.user(ISSUER, "alice")

Sample = Operation | Iterable[bytes]


def stands(one: SessionId) -> tuple[bytes, bytes, bytes]:
    return one.record, one.owner, one.notes


@cache
def families() -> dict[str, list[Sample]]:
    makes = FamilyOperations(KEYS, FamilyLimits(idle=1, lifetime=1, grace=1, most_replays=1, keep=1))
    owner = Owner.of(ISSUER, "alice")
    family = owner.tag + b"f" * 24
    return {
        "begin": [makes.begin(family, owner, b"a" * 8, b"", None, None)],
        "revoke": [makes.revoke(family, b"a" * 8)],
        "sweep": [makes.revoke_user(owner, b"a" * 8), makes.revoke_others(owner, family, b"a" * 8)],
    }


def locks(name: str) -> list[Sample]:
    claim = LockClaim.of(KEYS, ("x", "y"), "token", 5, 3 if name.startswith("semaphore_") else None)
    made = getattr(claim, name.removeprefix("semaphore_"))
    return [made(), made(all_or_none=True)] if "acquire" in name else [made()]


def samples() -> dict[str, list[Sample]]:
    """The keys of each, as the package gives them; where it can be asked, the operation itself."""
    place = cached.Place.of(KEYS, digest("resource"), digest("variant"))
    asker = cached.Asker(b"a" * 16, 1, 1000)
    once = OnceClaim.of(KEYS, digest("once"), b"p" * 20, os.urandom, 5, 5)
    hour, who = KEYS.limit_statistics(b"guard", 3), digest("who")
    stream, devices = (
        KEYS.events(*IDS.place("alice")),
        (KEYS.devices(*IDS.place("alice")), KEYS.device_notes(*IDS.place("alice"))),
    )
    listed = IDS.keys_of("alice")
    found: dict[str, list[Sample]] = {
        "cache/begin.lua": [cached.begin(place)],
        "cache/drop.lua": [cached.drop(place)[1]],
        "cache/find.lua": [cached.find(place, b"", b"", asker)],
        "cache/generation.lua": [cached.generation(KEYS.tag("tag"), b"")],
        "cache/invalidate.lua": [
            *cached.invalidate_tags(KEYS, ["a", "b"]),
            cached.invalidate_resource(KEYS, digest("r")),
        ],
        "cache/peek.lua": [(place.mark, place.entry, KEYS.tag("tag"))],
        "cache/release.lua": [cached.release(KEYS, place, b"t")],
        "cache/renew.lua": [cached.renew(place, b"t")],
        "cache/replace.lua": [cached.replace(place, b"")[0]],
        "cache/store.lua": [cached.store(place, b"", b"", b"", 0, b"", 1)],
        "idempotency/attend.lua": [once.attend()],
        "idempotency/begin.lua": [once.begin()],
        "idempotency/complete.lua": [once.complete(b"D", b"")],
        "idempotency/release.lua": [once.release()],
        "idempotency/renew.lua": [once.renew()],
        "ratelimit/ban.lua": [(KEYS.ban(b"guard", who),)],
        "ratelimit/ban_set.lua": [(KEYS.ban(b"guard", who),)],
        "ratelimit/changes.lua": [(KEYS.limit_changes(b"guard"),)],
        "ratelimit/changes_set.lua": [(KEYS.limit_changes(b"guard"),)],
        "ratelimit/tally.lua": [hour],
        "ratelimit/hidden.lua": [hour],
        "ratelimit/statistics.lua": [hour],
        "redis/written.lua": [(TOKENS[0],)],
        "redis/incarnation.lua": [(KEYS.incarnation(7),)],
        "redis/incarnation_whole.lua": [(KEYS.incarnation(7),)],
        "jwt/revocation/mark.lua": [(TOKENS[0],), (KEYS.family_mark(ISSUER, "family"),)],
        "jwt/revocation/not_after.lua": [
            (USER,),
            (KEYS.generation_cutoff(ISSUER, "alice"),),
            (KEYS.everybody(ISSUER),),
        ],
        "jwt/revocation/revoke.lua": [(*REVOKED, KEYS.incarnation(0), *TOKENS)],
        "jwt/revocation/unrevoke.lua": [(*REVOKED, TOKENS[0])],
        "jwt/revocation/cutoff.lua": [(KEYS.revoked_users, *REVOKED[1:], USER, KEYS.incarnation(0))],
        "jwt/revocation/revoked_count.lua": [(KEYS.revoked,)],
        "jwt/revocation/mirror_begin.lua": [(*REVOKED, KEYS.revoked_users)],
        "jwt/revocation/mirror_index.lua": [(KEYS.revoked, KEYS.revoked_users)],
        "jwt/revocation/marks_set.lua": [(TOKENS[0],)],  # by slot, see Marks
        "jwt/revocation/marks_told.lua": [REVOKED],
        "jwt/revocation/unmark.lua": [(TOKENS[0],)],
        "jwt/revocation/unmark_told.lua": [REVOKED],
        "jwt/revocation/cutoff_set.lua": [(USER,)],
        "jwt/revocation/cutoff_told.lua": [(KEYS.revoked_users, *REVOKED[1:])],
        "jwt/service/family_begin.lua": families()["begin"],
        "jwt/service/family_cutoff.lua": [(KEYS.everybody(ISSUER),)],
        "jwt/service/family_look.lua": [(KEYS.family(b"tagtagta", b"name"), KEYS.generation(b"tagtagta", b""))],
        "jwt/service/family_rotate.lua": [
            (KEYS.family(b"tagtagta", b"n"), KEYS.families(b"tagtagta", b""), KEYS.generation(b"tagtagta", b""))
        ],
        "jwt/service/family_revoke.lua": families()["revoke"],
        "jwt/service/family_sweep.lua": families()["sweep"],
        "jwt/service/family_tally.lua": [Operation(FAMILY_TALLY, KEYS.family_counts)],
        "jwt/service/family_stats.lua": [Operation(FAMILY_STATS, KEYS.family_counts)],
        "sessions/count.lua": [KEYS.session_counts],
        "sessions/uncount.lua": [KEYS.session_counts],
        "sessions/stats.lua": [KEYS.session_counts],
        "sessions/create.lua": [stands(ALICE), stands(NOBODY)],
        "sessions/destroy.lua": [stands(ALICE), stands(NOBODY)],
        "sessions/load.lua": [(ALICE.record,)],
        "sessions/save.lua": [stands(ALICE)[:2], stands(NOBODY)[:2]],
        "sessions/swap.lua": [stands(ALICE)[:2], stands(NOBODY)[:2]],
        "sessions/rotate.lua": [(*stands(ALICE), *stands(AGAIN))],
        "sessions/heir.lua": [stands(BOB), stands(NOBODY)],
        "sessions/leave.lua": [stands(ALICE), stands(NOBODY)],
        "sessions/record.lua": [(stream,)],
        "sessions/repeated.lua": [(stream,)],
        "sessions/reused.lua": [(KEYS.replaced(ALICE.record), stream)],
        "sessions/unmark.lua": [(KEYS.replaced(NOBODY.record),)],
        "sessions/events.lua": [(stream,)],
        "sessions/publish.lua": [()],
        "sessions/list.lua": [listed],
        "sessions/revoke.lua": [listed],
        "sessions/trust.lua": [devices],
        "sessions/trusted.lua": [devices],
        "sessions/devices.lua": [devices],
        "sessions/untrust.lua": [devices],
    }
    for name in ("gcra", "fixed", "counter", "log", "calendar"):
        bound = Bound(name, 3, 60, 3)
        found |= {f"ratelimit/{name}.lua": [bound.take()], f"ratelimit/{name}_settle.lua": [bound.settle(0, 1, 0)]}
    for name in ("concurrency", "concurrency_release", "concurrency_renew"):
        found[f"ratelimit/{name}.lua"] = [(KEYS.concurrency(b"x", who),)]
    for name, kinds in (("undo", LOCK), ("semaphore_undo", SEMAPHORE)):
        claim = LockClaim.of(KEYS, ("x", "y"), "token", 5, 3 if kinds is SEMAPHORE else None).acquire()
        undo = kinds.acquire.undoing(claim, 0)
        found[f"locks/{name}.lua"] = [undo] if undo is not None else []
    for name in ("acquire", "attend", "peek", "release", "renew"):
        found |= {f"locks/{name}.lua": locks(name), f"locks/semaphore_{name}.lua": locks(f"semaphore_{name}")}
    return found


def slots_of(sample: Sample) -> set[bytes]:
    return {hash_tag(key) for key in (sample.keys if isinstance(sample, Operation) else sample)}


def test_every_operation_and_every_script_is_looked_at() -> None:
    assert sorted(samples()) == SENT


@pytest.mark.parametrize("name", [name for name in SENT if name not in WHOLE])
def test_all_its_keys_lie_in_one_slot(name: str) -> None:
    package = f"asgi_redis_guard.{'.'.join(Path(name).parent.parts)}"
    for sample in samples()[name]:
        assert len(slots_of(sample)) <= 1, sample
        if "-- @check\n" in LUA[name]:
            kind = OperationKind.load(package, Path(name).name)
            keys = sample.keys if isinstance(sample, Operation) else tuple(sample)
            assert len(keys) == len(kind.keys)
            if isinstance(sample, Operation):
                assert sample.kind.name == kind.name


# Builders: what a feature may touch together.

#: What shares a slot by the part of the key that is given: the user's place, the resource, the identity, the name.
TOGETHER: list[list[Any]] = [
    [KEYS.session, KEYS.sessions, KEYS.session_notes, KEYS.events, KEYS.devices, KEYS.device_notes],
    [KEYS.family, KEYS.families, KEYS.generation],
    [KEYS.resource, KEYS.variant, KEYS.fill],
    [KEYS.limit, KEYS.ban, KEYS.concurrency],
    [KEYS.lock, KEYS.semaphore],
]
#: What stands by itself.
ALONE = {
    "token",
    "user",
    "family_mark",
    "generation_cutoff",
    "everybody",
    "token_of",
    "user_of",
    "tag",
    "tag_of",
    "limit_changes",
    "idempotent",
    "incarnation",
}
#: What shares a slot whatever is given.
ALWAYS = {"limit_statistics", "revoked_in", "replaced"}


@pytest.mark.parametrize("builders", TOGETHER, ids=lambda builders: builders[0].__name__)
def test_keys_that_are_made_of_the_same_place_share_its_slot(builders: list[Any]) -> None:
    place, slots = digest("place"), set()
    for build in builders:
        words = {"identity", "tag", "resource", "name"} & {*inspect.signature(build).parameters}
        where = "identity" if "identity" in words else "tag" if "tag" in words else words.pop()
        made = build(**{word: place if word == where else b"other" for word in inspect.signature(build).parameters})
        slots |= slots_of(made if isinstance(made, tuple) else (made,))
    assert slots == {place}


def test_every_builder_of_keys_is_looked_at() -> None:
    builders = {name for name, one in vars(Keys).items() if inspect.isfunction(one) and not name.startswith("_")}
    together = {build.__name__ for builders in TOGETHER for build in builders}
    assert together | ALONE | ALWAYS == builders
    assert slots_of(KEYS.limit_statistics(b"x", 1)) == slots_of(KEYS.limit_statistics(b"x", 2))
    assert slots_of((KEYS.revoked_in(1), *REVOKED, KEYS.revoked_users)) == {b"revoked"}
    assert slots_of((KEYS.replaced(ALICE.record),)) == slots_of((ALICE.record,))
    assert len(slots_of(KEYS.session_counts)) == len(slots_of(KEYS.family_counts)) == 1


def test_a_prefix_with_a_hash_tag_puts_everything_into_one_slot() -> None:
    """What a tenant's keys need, or an app's whose load one node can bear: nothing of it is cut then."""
    keys = Keys("guard:{acme}:")
    made: list[Any] = [*keys.session_counts, *keys.family_counts, keys.every_tag]
    made += [keys.revoked, keys.revoked_users, keys.revoked_mirrors, keys.revoked_stream]
    for name, builder in vars(Keys).items():
        if inspect.isfunction(builder) and not name.startswith("_"):
            kinds = [one.annotation for one in inspect.signature(builder).parameters.values()][1:]
            values = [7 if kind == "int" else "text" if kind in ("str", "str | bytes") else b"bytes" for kind in kinds]
            built = builder(keys, *values)
            made += built if isinstance(built, tuple) else [built]
    assert len(made) > 40
    made.remove(keys.replaced(b"bytes"))  # it stands behind the key that it is given
    assert slots_of(made) == {b"acme"}
