"""Where in a cluster a command belongs: to the node of its key, to any node, or to all of them.

Pure: it reads the words of a command and joins replies. What is not named here has its key right behind its name, as
nearly all commands do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .slots import slot_of

Words = tuple[Any, ...]
Join = Callable[[Sequence[Any]], Any]

#: Commands without a key, which any node can answer.
_ANYWHERE = frozenset(
    """
    ACL BGREWRITEAOF BGSAVE CLIENT CLUSTER COMMAND CONFIG DEBUG ECHO INFO LASTSAVE LATENCY LOLWUT MODULE PING PUBLISH
    PUBSUB RANDOMKEY ROLE SAVE SLOWLOG TIME WAIT WAITAOF
    """.split()  # noqa: SIM905  (a page of quotes)
)
#: Commands whose second word is the key's.
_SECOND = frozenset(["BITOP", "MEMORY", "OBJECT", "XGROUP", "XINFO"])
#: Commands that say how many keys follow: behind their name, and behind a script.
_COUNTED = frozenset(["LMPOP", "SINTERCARD", "ZDIFF", "ZINTER", "ZINTERCARD", "ZMPOP", "ZUNION"])
_SCRIPTS = frozenset(["EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"])
_STREAMS = frozenset(["XREAD", "XREADGROUP"])


def verb_of(words: Words) -> str:
    """Return the name of a command, in capitals."""
    return as_bytes(words[0]).decode("latin-1").upper()


def as_bytes(word: Any) -> bytes:
    """Return a word as it goes over the wire."""
    return word if isinstance(word, bytes) else str(word).encode()


def key_of(words: Words) -> bytes | None:
    """Return the first key of a command; None where it has none."""
    verb = verb_of(words)
    place = 1
    if verb in _ANYWHERE or verb in EVERYWHERE:
        return None
    if verb in _SCRIPTS:
        place = 3 if len(words) > 2 and int(words[2]) else len(words)
    elif verb in _SECOND or verb in _COUNTED:
        place = 2
    elif verb in _STREAMS:
        names = [as_bytes(word).upper() for word in words]
        place = names.index(b"STREAMS") + 1 if b"STREAMS" in names else len(words)
    return as_bytes(words[place]) if place < len(words) else None


# What concerns several nodes.


def _first(replies: Sequence[Any]) -> Any:
    return replies[0]


def _all(replies: Sequence[Any]) -> list[Any]:
    return [item for reply in replies for item in reply]


def _every(replies: Sequence[Any]) -> list[int]:
    """SCRIPT EXISTS: there is what is there everywhere."""
    return [min(column) for column in zip(*replies, strict=True)]


#: Commands for all primaries, and how their replies become one.
EVERYWHERE: dict[str, Join] = {
    "DBSIZE": sum,
    "FLUSHALL": _first,
    "FLUSHDB": _first,
    "FUNCTION": _first,
    "KEYS": _all,
    "SCRIPT": _first,
}

#: Commands of many keys that are as good as one for each of them.
_DIVISIBLE = frozenset(["DEL", "EXISTS", "MGET", "TOUCH", "UNLINK"])


def join_of(words: Words) -> Join | None:
    """Return how the replies of all primaries become one; None where a command is not for all of them."""
    verb = verb_of(words)
    if verb == "SCRIPT" and len(words) > 1 and verb_of(words[1:]) == "EXISTS":
        return _every
    return EVERYWHERE.get(verb)


def cut(words: Words) -> tuple[list[Words], Join] | None:
    """Return the commands, one for each slot, that together do what a command of keys in several slots asks.

    None where all keys are in one slot, or the command is not one that can be cut.
    """
    if len(words) < 3 or verb_of(words) not in _DIVISIBLE:
        return None
    places: dict[int, list[int]] = {}
    for place, key in enumerate(words[1:]):
        places.setdefault(slot_of(as_bytes(key)), []).append(place)
    if len(places) == 1:
        return None
    parts = [(words[0], *(words[1 + place] for place in own)) for own in places.values()]
    if verb_of(words) != "MGET":
        return parts, sum

    def put_back(replies: Sequence[Any]) -> list[Any]:
        values: list[Any] = [None] * (len(words) - 1)
        for own, reply in zip(places.values(), replies, strict=True):
            for place, value in zip(own, reply, strict=True):
                values[place] = value
        return values

    return parts, put_back


# SCAN through all nodes, one after the other.

_NODES, _VERSIONS = 1 << 14, 1 << 16


def pack_cursor(cursor: int, node: int, version: int) -> bytes:
    """Return the cursor for the caller: that of a node, which node, and the map's version when the walk began.

    Nodes are counted in the order of the map, so that a cursor is worth nothing after that has changed.
    """
    return b"%d" % ((cursor * _NODES + node) * _VERSIONS + version % _VERSIONS + 1)


def unpack_cursor(cursor: Any, version: int) -> tuple[int, int]:
    """Return the cursor of a node and which node that is; a walk that the map has overtaken begins anew."""
    packed = int(as_bytes(cursor))
    if packed <= 0:
        return 0, 0
    place, began = divmod(packed - 1, _VERSIONS)
    return divmod(place, _NODES) if began == version % _VERSIONS else (0, 0)
