"""Stacks: neighbours that become one, orders that are refused, and how a stack prints its rounds."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from ..core.guard import Guard
from ..core.key_tag import KeyTag
from ..core.warnings import Warnings
from ..errors import ConfigurationError
from ..redis.manager import RedisManager

logger = logging.getLogger("asgi_redis_guard.middleware")
_warnings = Warnings(logger)

#: Middlewares in one another.
_DEEPEST = 100


def check_order(guards: Sequence[Guard]) -> None:
    """Raise `ConfigurationError` with everything that is surely wrong with a stack, outermost guard first."""
    faults: list[str] = []
    for place, guard in enumerate(guards):
        outside, behind = guards[:place], guards[place + 1 :]
        if guard.unique and any(other.kind == guard.kind for other in outside):
            faults.append(f"guards: {guard.kind} stands twice in one stack; allowed is one")
        for position, other in enumerate(behind, place + 1):
            others = (*outside, *guards[place + 1 : position])
            if guard.claims & other.claims:
                faults.append(
                    f"guards: {guard!r} and {other!r} count under the same key; give one of them a name of its own"
                )
            if other.kind in guard.inside:
                faults.append(
                    f"guards: {guard.name} stands outside of {other.name}; add it before, so that it runs after "
                    "(in a list of guards, name it after)"
                )
            hidden = sorted(need for need in other.needs if need in guard.withholds and not _provided(need, others))
            faults += [
                f"guards: {other!r} needs {need}, which {guard!r} does not know before the app asks for it: "
                f"{guard.withholds[need]}"
                for need in hidden
            ]
            told = other.provides - other.offers
            unmet = sorted(need for need in guard.needs if need in told and not _provided(need, outside))
            if unmet:
                faults.append(
                    f"guards: {guard.name} needs {', '.join(unmet)}, which only {other.name} behind it can tell; "
                    "middlewares added later run first"
                )
    ConfigurationError.raise_for(faults)


def warn_of_doubles(guards: Sequence[Guard], app: object) -> None:
    """Warn of guards that count under a key which a stack further in counts under as well, and of wrong orders.

    Within one stack that is a `ConfigurationError`; here it may be meant, of two mounted apps say.
    """
    for other in guards_inside(app):
        for guard in guards:
            if guard is other or guard.claims & other.claims:
                _warnings.tell(
                    "limited-twice",
                    f"{guard!r} and {other!r}, in two stacks, count under the same key: each request counts twice",
                )
            if other.kind in guard.inside:
                _warnings.tell(
                    "wrong-order",
                    f"{guard!r} stands outside of {other!r}, in another stack: it does not know what that one finds "
                    "out, and answers without asking it",
                )
            elif other.kind == guard.kind and guard.inside and guard.unique:
                _warnings.tell("stands-twice", f"{guard!r} and {other!r}, in two stacks: one of them is enough")


def guards_inside(app: object) -> list[Guard]:
    """Return the guards of the stacks inside, as far as middlewares call what they wrap `app`, as is the custom."""
    found: list[Guard] = []
    for _ in range(_DEEPEST):
        found += [one for one in getattr(app, "guards", ()) if isinstance(one, Guard)]
        app = getattr(app, "app", None)
        if app is None:
            break
    return found


def check_store(guards: Sequence[Guard], manager: RedisManager, key_tag: KeyTag | None = None) -> None:
    """Tell where a stack asks another Redis than the app writes to by what it gave a guard: it would find nothing.

    Raises `ConfigurationError` where that is sure, and warns of two addresses, which may lead to the same server.
    """
    faults = []
    for guard in guards:
        store = guard.store
        if not isinstance(store, RedisManager):
            continue
        if store.root is manager.root:
            if key_tag is None and store.keys is not manager.keys:
                said = f"{guard!r} was made for the keys of the tag {store.keys.key_tag!r}"
                faults.append(
                    f"redis: {said}, and the stack for those of {manager.keys.key_tag!r}; allowed is the same"
                )
            continue
        said = f"the stack asks {_place(manager)}, and {guard!r} was made with {_place(store)}"
        if _surely_differ(manager, store):
            faults.append(f"redis: {said}; allowed is the same manager for both")
        elif str(manager.address) != str(store.address):
            _warnings.tell("other-redis", f"{said}: what is written to one is not found in the other")
    ConfigurationError.raise_for(faults)


def check_tags(guards: Sequence[Guard], key_tag: KeyTag | None) -> None:
    """Raise `ConfigurationError` for guards that would not be right where keys go by a tag, or where they do not."""
    ConfigurationError.raise_for([fault for guard in guards for fault in guard.tag_faults(key_tag is not None)])


def same_tags(one: KeyTag | None, other: KeyTag | None) -> bool:
    """Tell whether two stacks go by the same tags, or both by none."""
    return one is other or (one is not None and one.is_the_same(other))


def _surely_differ(one: RedisManager, other: RedisManager) -> bool:
    own = {"memory", "embedded"}.intersection((one.address.scheme, other.address.scheme))
    return bool(own) or one.address.db != other.address.db or one.settings.prefix != other.settings.prefix


def _place(manager: RedisManager) -> str:
    return f"{manager.address} with the prefix {manager.settings.prefix!r}"


def _provided(need: str, guards: Sequence[Guard]) -> bool:
    return any(need in guard.provides for guard in guards)


def same_handle(one: object, other: object) -> bool:
    """Compare two `redis=` arguments as they were given: the same object, equal URLs, or both left out."""
    return one is other or (isinstance(one, str) and one == other)


def rounds_of(guards: Sequence[Guard]) -> list[list[Guard]]:
    """Return the guards by the round in which they ask at the latest; a need that a reply must meet starts the next."""
    rounds: list[list[Guard]] = [[]]
    for guard in guards:
        late = {fact for other in rounds[-1] for fact in other.provides if fact not in other.known_early}
        if guard.needs & late:
            rounds.append([])
        rounds[-1].append(guard)
    return rounds


def describe(guards: Sequence[Guard]) -> str:
    """Return `[jwt + ratelimit]`, one pair of brackets a round trip; guards that never ask stand in parentheses."""
    return " → ".join(
        f"[{' + '.join(guard.name if guard.operations else f'({guard.name})' for guard in group)}]"
        for group in rounds_of(guards)
    )
