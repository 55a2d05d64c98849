"""What the blacklist is asked about a token: of Redis as operations, of a mirror in memory. Pure.

mark      the token's own, by its `jti`; of tokens with `fam`, that of their family too: present while it is revoked
cutoff    its user's, by `iat`; of tokens with `fam`, by generation (`gen`), and everybody's by `iat`: what is not
          after one is revoked
"""

from __future__ import annotations

from typing import NamedTuple

import orjson

from ...core.keys import Keys
from ...core.script import Operation, OperationKind
from ..verify import VerifiedToken

MARK, CUTOFF = (OperationKind.load(__package__, f"{name}.lua") for name in ("mark", "not_after"))

#: The topic of the feed on which it is said what was revoked; its channel is `Keys.tokens_channel`.
TOPIC = "tokens"

#: What a guard or a service that asks them may ask for.
KINDS = (MARK, CUTOFF)

#: Why Redis cannot be asked although it answers.
MISSING = "Redis has lost revocations: what is revoked cannot be told"


class Questions(NamedTuple):
    """What one token is revoked by: the keys of marks; the keys of cutoffs, each with what must be after it."""

    marks: tuple[bytes, ...]
    cutoffs: tuple[tuple[bytes, int], ...]

    @classmethod
    def about(cls, token: VerifiedToken, keys: Keys, namespace: str) -> Questions:
        """Return what there is to ask about `token`; `namespace` tells whose name its subject is."""
        name = token.token_id if token.token_id is not None else token.signed
        marks, cutoffs = [keys.token(namespace, name)], []
        issued, user = int((token.issued_at or 0) * 1_000_000), token.subject
        if user:
            cutoffs.append((keys.user(namespace, user), issued))
        family, generation = _family(token)
        if family:
            marks.append(keys.family_mark(namespace, family))
            cutoffs.append((keys.everybody(namespace), issued))
            if generation is not None:
                cutoffs.append((keys.generation_cutoff(namespace, user), generation))
        return cls(tuple(marks), tuple(cutoffs))

    def operations(self) -> tuple[Operation, ...]:
        """Return what asks Redis; one that stops says that the token is revoked."""
        marks = [Operation(MARK, (key,)) for key in self.marks]
        return (*marks, *(Operation(CUTOFF, (key,), (at,)) for key, at in self.cutoffs))

    @property
    def words(self) -> tuple[bytes, ...]:
        """What is said on the topic `tokens` where something of it is set; see `Marks`."""
        return tuple(key[-20:] for key in (*self.marks, *(key for key, _ in self.cutoffs)))


def _family(token: VerifiedToken) -> tuple[str, int | None]:
    """Return the family that a token says it comes from, empty for none, and the generation."""
    if b'"fam"' not in token.payload:  # as this package's tokens have it; what others may mean by it asks in vain
        return "", None
    claims = orjson.loads(token.payload)
    family, generation = claims.get("fam"), claims.get("gen")
    return (
        family if isinstance(family, str) else "",
        generation if generation.__class__ is int and token.subject else None,
    )
