"""Browsers of a few users who do at once whatever chance tells them: logins, logouts, new ids, changes, revocations.

Law: a seed tells what is done, never what comes of it.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from tests.sessions.accounts import Accounts, Visitor


def become(user: str) -> Any:
    """What a request does that logs in as another user in the place of this one."""
    return lambda session: (session.clear(), session.update(user_id=user))


class Crowd:
    """Browsers of a few users, who do whatever chance tells them."""

    users = ("alice", "bob", "carol")

    def __init__(self, site: Accounts, seed: int) -> None:
        self.site, self.chance = site, random.Random(seed)
        self.visitors = [Visitor(site) for _ in range(8)]

    async def act(self) -> None:
        """Let one of them do one thing, sometimes from another tab."""
        chance, site = self.chance, self.site
        visitor, user, number = chance.choice(self.visitors), chance.choice(self.users), chance.random()
        acts: tuple[Any, ...] = (
            lambda session: session.update(user_id=user),
            lambda session: session.update(n=number),
            lambda session: session.clear(),
            lambda session: session.rotate(),
            lambda session: session.pop("user_id", None),
            become(user),
        )
        what = chance.randrange(9)
        if what < 6:
            await (Visitor(site, visitor.cookie) if number < 0.3 else visitor).visit(acts[what])
        elif what == 6:
            await site.store.revoke_all(user)
        elif what == 7 and visitor.cookie is not None:
            await site.store.revoke_others(user, visitor.handle)
        else:
            await asyncio.gather(site.made(user), return_exceptions=True)  # it may be denied
