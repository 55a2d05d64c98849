"""The load: requests sent through the stacks of some processes, and what came of each.

Law: notes, and never judges an answer; who asked for it does (`callers.py`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from asgi_redis_guard.core.asgi import Message, Receive, Scope, Send
from tests.drive import Response, call
from tests.faults.campaign.lag import Lag
from tests.faults.campaign.oracle import Oracle
from tests.faults.campaign.site import Site, refusal


class Sample(NamedTuple):
    """One request: when it had ended, how long it took, whether it got what was asked for."""

    ended: float
    took: float
    served: bool


class Load:
    """What all callers have sampled, and why some were not served; they choose one of the `sites` for each request."""

    def __init__(self, sites: Sequence[Site], oracle: Oracle, *, timeout: float) -> None:
        self.sites, self.oracle, self.timeout, self.lag = sites, oracle, timeout, Lag()
        #: Seconds that a revocation may take besides, to connect to who says that replicas have it.
        self.confirming = max(site.confirming for site in sites)
        self.samples: list[Sample] = []
        self.errors: Counter[str] = Counter()
        self.late: list[str] = []
        self.stopped = False

    async def send(self, site: Site, scope: Scope, most: float) -> Response:
        """Send one request, and note what came of it; nobody may wait for longer than `most` seconds."""
        refusal.set("")
        began, lag = time.perf_counter(), self.lag.total()
        ended = began

        async def timed(scope: Scope, receive: Receive, send: Send) -> None:
            async def sending(message: Message) -> None:
                nonlocal ended
                await send(message)
                ended = time.perf_counter()  # what comes after the last byte, nobody waits for

            await site.app(scope, receive, sending)

        response = await call(timed, scope, b"{}")
        took, lag = ended - began, self.lag.total() - lag
        if response.status != 200:
            self.errors[f"{response.status} {refusal.get() or 'not written'}"] += 1
        if took - lag > most:
            self.late.append(f"{scope['path']} took {took:.3f} s ({lag:.3f} s of lag) of {most:.3f}: {response.status}")
        served = response.status < 500  # a refusal that somebody has asked for is a service too
        self.samples.append(Sample(ended, took - lag, served))
        return response
