"""Clusters of the servers of `_servers.py`, and what all servers of a side have counted."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import redis
from _servers import Valkey, valkey

SLOTS = 16384

#: Commands that clients send; the others in the statistics run inside of scripts.
_OWN = ("info", "config", "client", "ping", "hello", "cluster", "script", "command", "select", "auth", "role")


@dataclass(frozen=True, slots=True)
class Store:
    """One server, or the masters of one cluster, and the URL by which an app reaches it."""

    name: str
    url: str
    nodes: tuple[Valkey, ...]

    def reset(self) -> None:
        """Let all servers count from zero."""
        for node in self.nodes:
            with node.client() as client:
                client.config_resetstat()

    def counted(self, sent: Sequence[str] = ("evalsha", "get")) -> dict[str, float]:
        """What all servers have counted: programs, commands inside of them too, bytes, and CPU microseconds."""
        programs = commands = busy = size = 0
        for node in self.nodes:
            with node.client() as client:
                stats, net = client.info("commandstats"), client.info("stats")
            of = {name.removeprefix("cmdstat_"): entry for name, entry in stats.items()}
            of = {name: entry for name, entry in of.items() if name.partition("|")[0] not in _OWN}
            programs += sum(entry["calls"] for name, entry in of.items() if name in sent[:1])
            commands += sum(entry["calls"] for entry in of.values())
            busy += sum(entry["usec"] for name, entry in of.items() if name in sent[:1])
            size += net["total_net_input_bytes"] + net["total_net_output_bytes"]
        return {"programs": programs, "commands": commands, "server us": busy, "bytes": size}

    def cpu_seconds(self) -> float:
        """CPU time of all servers so far."""
        return sum(node.cpu_seconds() for node in self.nodes)


@contextmanager
def single() -> Iterator[Store]:
    """One server that is no cluster."""
    with valkey() as node:
        yield Store("single", node.url, (node,))


@contextmanager
def cluster(masters: int) -> Iterator[Store]:
    """A cluster of so many masters, which share the slots evenly."""
    with ExitStack() as running:
        nodes = tuple(running.enter_context(valkey(clustered=True)) for _ in range(masters))
        clients = [running.enter_context(node.client()) for node in nodes]
        _introduce(nodes, clients)
        _wait_for(clients)
        hosts = ",".join(urlsplit(node.url).netloc for node in nodes)
        yield Store(f"{masters} masters" if masters > 1 else "1 master", f"redis+cluster://{hosts}", nodes)


def _introduce(nodes: Sequence[Valkey], clients: "Sequence[redis.Redis[bytes]]") -> None:
    for number, client in enumerate(clients):
        first, end = (SLOTS * place // len(clients) for place in (number, number + 1))
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
    first_port = urlsplit(nodes[0].url).port
    bus = int(clients[0].config_get("cluster-port")["cluster-port"])
    for client in clients[1:]:
        client.execute_command("CLUSTER", "MEET", "127.0.0.1", first_port, bus)


def _wait_for(clients: "Sequence[redis.Redis[bytes]]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if all(_is_well(client.execute_command("CLUSTER", "INFO"), len(clients)) for client in clients):
            return
        time.sleep(0.05)
    raise SystemExit("the benchmark's cluster does not come up")


def _is_well(info: Mapping[str, str] | bytes, nodes: int) -> bool:
    told = dict(info) if isinstance(info, Mapping) else dict(line.split(":", 1) for line in info.decode().split())
    return told["cluster_state"] == "ok" and int(told["cluster_known_nodes"]) >= nodes
