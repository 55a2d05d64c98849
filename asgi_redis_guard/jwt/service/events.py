"""What a token service tells an app's hooks: one frozen value each time. Pure. No token and no secret is in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

#: `reuse`: a refresh token came that had been used for longer than is forgiven, so that its family was ended.
#: `replay`: one came again within the grace, and got the answer of the first time.
TokenEventKind = Literal["reuse", "replay"]


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One thing that happened to a family of refresh tokens, told where it was noticed.

    `number` tells which of the family's tokens had come, counted from 1. `user` is empty where the record of the family
    did not tell.
    """

    kind: TokenEventKind
    user: str
    family: str
    number: int
    device: str | None = None
    session: str | None = None
    client: str | None = None


class TokenHook(Protocol):
    """Gets each event, in the event loop, before the caller does; what it raises is logged and goes no further."""

    def __call__(self, event: TokenEvent, /) -> object: ...
