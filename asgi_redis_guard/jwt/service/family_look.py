"""What would become of a refresh token if it was presented now: asked without presenting it. Pure.

Law: nothing is changed by a look. A token that was used before ends its family where it is presented, not here.
"""

from __future__ import annotations

from typing import NamedTuple

from ...core.keys import Keys
from ...core.script import Operation, OperationKind, Reply
from .families import USER, FamilyLimits, Verdict
from .family_note import FamilyNote
from .refresh_token import TAG, RefreshToken

LOOK = OperationKind.load(__package__, "family_look.lua")


class Look(NamedTuple):
    """A refresh token and its family, as they stand. `born` in µs, others in ms, of the server's clock; 0 for unknown.

    `made` and `till` are those of the family's newest token. `ended_by` is how a family that is over was ended.
    """

    verdict: Verdict
    born: int
    made: int
    till: int
    ended_by: bytes
    note: FamilyNote | None

    @classmethod
    def of(cls, reply: Reply, cutoff: int) -> Look:
        """Read the reply; `cutoff` as in `Verdict.under`."""
        state, born, made, till, ended_by, note = reply.values
        verdict = Verdict(state).under(cutoff, born)
        return cls(verdict, born, made, till, ended_by or b"", FamilyNote.unpack(note or b""))

    @property
    def is_good(self) -> bool:
        """True if the token would get a successor."""
        return self.verdict.is_good and self.note is not None

    @property
    def was_ended_everywhere(self) -> bool:
        """True if all logins of its user were ended, this one among them."""
        return self.verdict is Verdict.REVOKED and self.ended_by == USER


def looking(keys: Keys, limits: FamilyLimits, token: RefreshToken) -> Operation:
    """Ask what would become of a token; the reply is read by `Look.of`."""
    tag, name = token.family[:TAG], token.family[TAG:]
    times = (limits.grace, limits.most_replays, limits.idle, limits.lifetime)
    return Operation(LOOK, (keys.family(tag, name), keys.generation(tag, b"")), (token.number, *times))
