"""Claim: what a request costs Redis does not grow with the cluster; this tells where a fleet of 1 M requests/s bends.

On paper, from counters: the whole stack (JWT, blacklist, a session, two limits) runs on a cluster of 3 masters on this
machine, with 64 connections and with one (nothing is batched: what a process of a large fleet comes to, whose commands
are spread over many links), without `key_tag` and with it. What its servers and the app's process have used for a
request is multiplied out for clusters of 1, 3, 12 and 100 masters. CPU times are this machine's.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from statistics import median

from _clusters import Store, cluster
from _common import arguments, header, stop_cleanly_on_sigterm, table
from _load import USERS, Load, token, wrk_script
from _servers import uvicorn_app
from cluster import turn
from session_stack import login, prove

REQUESTS = 1_000_000  # a second, of the whole fleet
MASTERS = (1, 3, 12, 100)
BUSY = 0.8  # of one core: what a server that runs commands on one thread may be asked for
REFRESH = 45.0  # seconds between two looks at the map, of each process
SHARD = 120  # bytes of a master in a reply of CLUSTER SLOTS, about
LANES = 2


@dataclass(frozen=True)
class Cost:
    """What a request comes to: programs, commands, bytes, µs of CPU of all servers, and of the app, `alone` too."""

    name: str
    programs: float
    commands: float
    size: float
    server: float
    app: float
    alone: float

    @property
    def program(self) -> float:
        """Server µs of one program."""
        return self.server / self.programs

    @property
    def masters(self) -> int:
        """How many masters the fleet needs at the least."""
        return ceil(REQUESTS * self.server / 1e6 / BUSY)

    @property
    def processes(self) -> tuple[int, int]:
        """How many processes it needs, each with a core: where commands are batched, and where they are not."""
        return ceil(REQUESTS * self.app / 1e6), ceil(REQUESTS * self.alone / 1e6)

    @property
    def in_a_slot(self) -> float:
        """Programs a second that one slot takes."""
        return BUSY * 1e6 / self.program


def measure(store: Store, name: str, options: object) -> Cost:
    """One app on the cluster: turns with many connections and with one; the medians."""
    tokens = [token(number) for number in range(1000, 1000 + USERS)]
    tagged = str(int(name == "key_tag"))
    with ExitStack() as running:
        app = running.enter_context(uvicorn_app("ours_session", redis_url=store.url, name=name, BENCH_KEY_TAG=tagged))
        lines = [login(app, bearer) for bearer in tokens]
        prove(app, lines[0])
        script = running.enter_context(wrk_script(lines, "/cart/7"))
        many, one = (Load(script, options.seconds, connections) for connections in (64, 1))
        turn(app, many, store)
        busy = [turn(app, many, store) for _ in range(options.rounds)]
        lone = [turn(app, one, store) for _ in range(options.rounds)]
    units = ("programs", "commands", "bytes", "Redis us", "CPU us")
    return Cost(name, *(_middle(busy, unit) for unit in units), _middle(lone, "CPU us"))


def _middle(turns: Sequence[Mapping[str, float]], unit: str) -> float:
    return median(one[unit] for one in turns)


def show(cost: Cost) -> None:
    """Print what each number of masters comes to."""
    few, many = cost.processes
    rows = []
    for masters in MASTERS:
        share = REQUESTS / masters
        maps = many / REFRESH * masters * SHARD
        rows.append(
            {
                "masters": masters,
                "commands/request": cost.commands,
                "programs/s/node": share * cost.programs,
                "commands/s/node": share * cost.commands,
                "MB/s/node": share * cost.size / 1e6,
                "cores/node": share * cost.server / 1e6,
                "links/node": many * LANES,
                "links/process": masters * LANES,
                "programs/s/link": share * cost.programs / many,
                "maps kB/s": maps / 1e3,
            }
        )
    print(f"\n## {cost.name}: {cost.programs:.2f} programs, {cost.size:,.0f} bytes a request")
    print(f"{few:,} to {many:,} processes ({cost.app:.0f} to {cost.alone:.0f} us of CPU a request)\n")
    table(list(rows[0]), [list(row.values()) for row in rows])


def bends(plain: Cost, tagged: Cost) -> list[str]:
    """Say where it bends, each with what helps."""
    enough = [str(masters) for masters in MASTERS if masters >= plain.masters]
    links, most = plain.processes[1] * LANES, MASTERS[-1]
    return [
        f"It bends first where servers have no core left: fewer than {plain.masters} masters ({tagged.masters} with "
        f"key_tag) do not carry {REQUESTS:,} requests/s; of the sizes above, {', '.join(enough) or 'none'} do.",
        "One key is in one slot, on one core, however many masters there are: about "
        f"{plain.in_a_slot:,.0f} programs/s. Only tokens of a TokenService ask for such a key with each request, the "
        'cutoff for everybody: beyond that rate RevocationList(mode="mirror"), or key_tag, which gives each tenant its '
        "own.",
        f"A tenant with key_tag is one slot too: {tagged.in_a_slot:,.0f} requests/s of one tenant.",
        "Written at log-ins, refreshes and revocations alone are {stats}, {families} and {revoked}, a slot each: so "
        "many of these a second as programs above.",
        f"Classic PUBLISH goes to all nodes: at {most} masters 1,000 words a second (revocations, invalidations, "
        f"releases of locks that are waited for) are {most * 1000:,} messages a second on the bus.",
        f"Links are processes x masters x {LANES}: {links:,} at each node (maxclients is 10,000 by default), "
        f"{links * most:,} in all at {most} masters. A link carries so little then that each program is a write of "
        f"its own: {plain.alone:.0f} us of the app's CPU instead of {plain.app:.0f}, with key_tag {tagged.alone:.0f} "
        f"instead of {tagged.app:.0f}.",
        f"A new link loads each shape of program on first use: at a roll-out {plain.processes[1]:,} SCRIPT LOADs at "
        "each node for each of a handful of shapes.",
    ]


def main() -> None:
    """Measure, multiply out, say where it bends."""
    options = arguments(__doc__, rounds=5, seconds=1).parse_args()
    stop_cleanly_on_sigterm()
    with cluster(3) as store:
        header(f"a fleet of {REQUESTS:,} requests/s on paper", store.nodes[0].banner, ("httptools",))
        plain, tagged = (measure(store, name, options) for name in ("no tag", "key_tag"))
    for cost in (plain, tagged):
        show(cost)
    print("Where it bends:")
    for sentence in bends(plain, tagged):
        print(f"- {sentence}")


if __name__ == "__main__":
    main()
