"""Which node of a cluster has a key: the slot of a key, and the map of slots to nodes.

Pure: a map is read from a reply of CLUSTER SLOTS or CLUSTER SHARDS, and corrected by redirections. Whoever asks the
servers is `cluster.py`. A node is known by its place, host and port, as the cluster itself gives it.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..core.keys import hash_tag

#: Slots of every cluster.
SLOTS = 16384


class Place(NamedTuple):
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Shard(NamedTuple):
    """Who serves some slots: the primary, and replicas that are not known to have failed."""

    primary: Place
    replicas: tuple[Place, ...] = ()


def slot_of(key: bytes) -> int:
    """Return the slot of a key: CRC16 (XMODEM) of what decides on it (cluster specification, "Key distribution")."""
    return crc_hqx(hash_tag(key), 0) % SLOTS


class Redirection(NamedTuple):
    """What MOVED and ASK say: the slot is served, or looked for, at that place."""

    slot: int
    place: Place

    @classmethod
    def parse(cls, error: str, asked: Place) -> Redirection:
        """Read `MOVED 3999 127.0.0.1:6381`; an empty host is that of the node which was `asked`.

        Raises `ValueError` for what is neither MOVED nor ASK.
        """
        _, slot, where = error.split(" ")[:3]
        host, _, port = where.rpartition(":")
        if not 0 <= int(slot) < SLOTS:
            raise ValueError(f"slot {slot}")
        return cls(int(slot), Place(_host(host, asked), int(port)))


class SlotMap:
    """Who serves each slot, as far as it is known. `version` changes with every change of a slot's primary."""

    __slots__ = ("_primaries", "_shards", "version")

    def __init__(self, shards: Iterable[tuple[int, int, Shard]] = (), version: int = 0) -> None:
        self._shards: list[Shard | None] = [None] * SLOTS
        self._primaries: dict[Place, Shard] | None = None  # until a slot moves
        self.version = version
        for first, last, shard in shards:
            self._shards[first : last + 1] = [shard] * (last - first + 1)

    def __getitem__(self, slot: int) -> Shard | None:
        return self._shards[slot]

    @property
    def primaries(self) -> list[Place]:
        """All primaries, in the order of the first slots that they serve."""
        return list(self._by_primary())

    def _by_primary(self) -> dict[Place, Shard]:
        found = self._primaries
        if found is None:
            shards = dict.fromkeys(self._shards)
            found = self._primaries = {shard.primary: shard for shard in shards if shard is not None}
        return found

    @property
    def replicas(self) -> list[Place]:
        """All replicas of them."""
        return list(dict.fromkeys(place for shard in self._by_primary().values() for place in shard.replicas))

    @property
    def missing(self) -> int:
        """How many slots nobody serves."""
        return self._shards.count(None)

    def slots_of(self, primary: Place) -> int:
        """How many slots a primary serves."""
        return sum(shard is not None and shard.primary == primary for shard in self._shards)

    def moved(self, slot: int, place: Place) -> bool:
        """Note that a slot is served at `place` now; tell whether that is news."""
        former = self._shards[slot]
        if former is not None and former.primary == place:
            return False
        known = self._by_primary().get(place)
        self._shards[slot] = known or Shard(place)
        if known is None or former is None or former not in self._shards:
            self._primaries = None
        self.version += 1
        return True

    def follow(self, former: SlotMap) -> None:
        """Go on counting versions where `former`, which this map replaces, has stopped."""
        self.version = former.version + (not self._agrees(former))

    def _agrees(self, other: SlotMap) -> bool:
        """Tell whether all slots have the same primary."""
        pairs = zip(self._shards, other._shards, strict=True)
        return all(mine is its or (mine and mine.primary) == (its and its.primary) for mine, its in pairs)

    @classmethod
    def of_slots(cls, reply: Any, asked: Place) -> SlotMap:
        """Read a reply of CLUSTER SLOTS, which the node at `asked` gave. Raises `ValueError`."""
        try:
            return cls(_read_slots(reply, asked))
        except (TypeError, IndexError, KeyError, AttributeError) as error:
            raise ValueError(f"not a reply of CLUSTER SLOTS: {error}") from error

    @classmethod
    def of_shards(cls, reply: Any, asked: Place, *, tls: bool = False) -> SlotMap:
        """Read a reply of CLUSTER SHARDS (Redis 7), in which `tls` selects the port. Raises `ValueError`."""
        try:
            return cls(_read_shards(reply, asked, tls))
        except (TypeError, IndexError, KeyError, AttributeError) as error:
            raise ValueError(f"not a reply of CLUSTER SHARDS: {error}") from error

    def __repr__(self) -> str:
        served = ", ".join(f"{place} ({self.slots_of(place)})" for place in self.primaries)
        return f"<SlotMap {self.version}: {served or 'empty'}>"


def _read_slots(reply: Any, asked: Place) -> Iterator[tuple[int, int, Shard]]:
    for first, last, *nodes in reply:
        primary, *replicas = [Place(_preferred(node, asked), int(node[1])) for node in nodes]
        yield *_range(first, last), Shard(primary, tuple(replicas))


def _range(first: Any, last: Any) -> tuple[int, int]:
    if not 0 <= int(first) <= int(last) < SLOTS:
        raise ValueError(f"slots {first} to {last}")
    return int(first), int(last)


def _preferred(node: Sequence[Any], asked: Place) -> str:
    """The host that CLUSTER SLOTS gives; where that is a host name which is not known, its address."""
    host = _text(node[0])
    if host == "?" and len(node) > 3:
        host = _text(_fields(node[3]).get("ip"))
    return _host(host, asked)


def _read_shards(reply: Any, asked: Place, tls: bool) -> Iterator[tuple[int, int, Shard]]:
    for entry in reply:
        shard = _fields(entry)
        slots = shard["slots"]
        nodes = [_fields(node) for node in shard["nodes"]]
        # A primary that has failed keeps its role, beside that of the replica which follows it.
        by_fitness = sorted(
            nodes, key=lambda node: (_text(node["role"]) != "master", _text(node["health"]) != "online")
        )
        if not slots or not nodes:
            continue
        primary, *others = [(_place(node, asked, tls), _text(node["health"])) for node in by_fitness]
        replicas = tuple(place for place, health in others if health == "online")
        for first, last in zip(slots[::2], slots[1::2], strict=True):
            yield *_range(first, last), Shard(primary[0], replicas)


def _place(node: Mapping[str, Any], asked: Place, tls: bool) -> Place:
    host = _text(node.get("endpoint"))
    if host == "?":
        host = _text(node.get("ip"))
    port = node.get("tls-port") if tls else node.get("port")
    return Place(_host(host, asked), int(port or node.get("port") or node["tls-port"]))


def _host(host: str, asked: Place) -> str:
    return asked.host if host in ("", "?") else host


def _fields(entry: Any) -> dict[str, Any]:
    """A map of RESP3, or the flat list that it is in RESP2."""
    pairs = entry.items() if isinstance(entry, dict) else zip(entry[::2], entry[1::2], strict=True)
    return {_text(name): value for name, value in pairs}


def _text(value: Any) -> str:
    return "" if value is None else value.decode() if isinstance(value, bytes) else str(value)
