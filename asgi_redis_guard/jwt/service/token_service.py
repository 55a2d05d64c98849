"""`TokenService`: issues access and refresh tokens, gives successors, verifies, revokes: the app's side of `JWTAuth`.

What is decided about a refresh token is decided in Redis, by one script (`family_rotate.lua`); what can be told of a
token without Redis is told without it, and garbage costs no round trip. A login, a refresh and a look at a token cost
one, what ends several logins two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import isawaitable
from typing import Any, Self, Unpack

import orjson

from ...errors import RefreshRefused
from ...observability.events import emit, host_time
from ...redis.manager import RedisManager
from ...settings import Settings
from ..keys import KeyLike
from ..revocation.revocation_list import RevocationList
from ..signing import KeyRing, SigningKey
from .access import check_claims, scopes_of, text_of
from .configured import service_of
from .events import TokenEvent, TokenEventKind
from .families import Rotation, Verdict
from .family_note import FamilyNote
from .family_store import FamilyStore
from .introspection import Introspecting
from .issuing import Issuing, Life, limits_of, narrowed, with_claims
from .options import Options, TokenOptions, signature
from .pair import TokenPair
from .refresh_token import RefreshKeys, RefreshToken
from .revoking import user_name

#: Why a refresh token got no successor, as it may be told to whoever has presented it.
_REFUSALS = {
    Verdict.UNKNOWN: ("unknown", "The refresh token is not valid any more"),
    Verdict.EXPIRED: ("expired", "The refresh token expired"),
    Verdict.REVOKED: ("revoked", "The refresh token was revoked"),
    Verdict.REUSED: ("reused", "The refresh token was used before"),
}

_TOLD: dict[Verdict, TokenEventKind] = {Verdict.SAME: "replay", Verdict.REUSED: "reuse"}


class TokenService(Introspecting):
    """Issue, refresh, verify and revoke tokens.

    `redis` is a manager, a URL, or None for the shared manager of the environment's settings. `keys`: a `KeyRing`, or
    the one key to sign with. `refresh_keys`: secrets of 32 bytes or more that refresh tokens are made with; the first
    makes, all read. Both kinds are rotated without a refused token (`signing.py`, `refresh_token.py`).

    `issuer` stands in every token, `audience` (one or several; the issuer) is whom access tokens are for, `client` (the
    issuer) whom they are issued to where nobody is named. Access tokens live `access_ttl` seconds (600), a refresh
    token `refresh_ttl` (14 days) until it is used, and a login `lifetime` (90 days), however often it is refreshed.

    A refresh token that comes again within `grace` seconds (20) of its first use gets the same successor, at most
    `max_replays` (100) times; later it is reuse, which ends its family. `max_size`: bytes of an access token (8192).
    `leeway`: seconds of clock difference that are forgiven (10). `revocation`: the `RevocationList` that it writes to
    and asks, one of the same Redis; with `mode="mirror"`, `verify` costs no round trip. `claims(user)` tells what
    each new access token says of the user beside the claims of `issue`; it may be a coroutine function. `hooks` get a
    `TokenEvent` for each replay and reuse. `by_issuer`: for a `JWTAuth` that accepts several issuers, as of
    `RevocationList`. `wait_replicas`: how many replicas must have what is revoked before a call returns, as of
    `RevocationList`; None: as many as those of `revocation`, or none. `clock` tells the time, in seconds since the
    epoch.
    Raises `ConfigurationError`. What asks Redis raises `RedisUnavailable`.
    """

    __signature__ = signature()

    def __init__(
        self,
        redis: RedisManager | str | None,
        keys: KeyRing | SigningKey | KeyLike,
        *,
        refresh_keys: str | bytes | Iterable[str | bytes],
        revocation: RevocationList | None = None,
        clock: Callable[[], float] = host_time,
        **options: Unpack[TokenOptions],
    ) -> None:
        checked, manager = Options.of(options), RedisManager.of(redis)
        self._limits = limits_of(checked)
        waits = getattr(revocation, "wait_replicas", 0) if checked.wait_replicas is None else checked.wait_replicas
        families = FamilyStore(manager, self._limits, namespace=checked.namespace, replicas=waits)
        refresh = RefreshKeys(refresh_keys, checked.issuer)
        super().__init__(manager, keys, revocation, checked, clock, families, refresh)
        self._issuing = Issuing(checked, self._refresh_keys)

    @classmethod
    def from_settings(
        cls, settings: Settings | None = None, redis: RedisManager | str | None = None, **options: Any
    ) -> Self:
        """Return the service that `GUARD_TOKEN_…` describes, in the environment or in `settings`.

        `redis` as above; None is the shared manager of the settings. `options`, `keys` too, go before those of the
        environment. Raises `ConfigurationError`, with the variables in its faults.
        """
        return service_of(cls, settings or Settings(), redis, options)

    async def issue(
        self,
        user: str | int,
        claims: Mapping[str, Any] | None = None,
        scopes: str | Iterable[str] = (),
        *,
        device: str | None = None,
        session: str | None = None,
        client: str | None = None,
    ) -> TokenPair:
        """Begin a family: what a login does. Raises `ValueError` for what cannot stand in a token.

        `claims` travel with the family, in Redis, and stand in each of its access tokens; keep them few. `device` and
        `session` are names of the app's, for `revoke_device` and `revoke_session`.
        """
        note = FamilyNote(
            user=user_name(user),
            scopes=scopes_of(scopes),
            client=_named("client", client),
            device=_named("device", device),
            session=_named("session", session),
            claims=_claims(claims),
        )
        check_claims(note.claims)
        packed, said = note.pack(), await self._said_of(note)
        family, begun = await self._families.begin(note.user, packed, device=device, session=session)
        life = Life.of_first(begun, self._limits)
        try:
            return self._issuing.pair(self._access, said, RefreshToken(family, 1), begun.gen, life, self._clock())
        except ValueError:  # claims that are too long for a token
            await self._families.revoke(family)
            raise

    async def refresh(
        self, token: str | bytes, *, scopes: str | Iterable[str] | None = None, client: str | None = None
    ) -> TokenPair:
        """Return a new pair for a refresh token, which is used by that; raises `RefreshRefused`.

        A call that is repeated within the grace, as by several tabs or after a lost response, gets the same refresh
        token. `scopes`: fewer of them for this access token (RFC 6749 §6). `client`: who presents it; another than it
        was issued to ends the family.
        """
        wanted = None if scopes is None else scopes_of(scopes)
        presented = self._refresh_keys.read(text_of(token))
        if presented is None:
            raise RefreshRefused("malformed", "The refresh token is malformed")
        rotation = await self._families.rotate(presented, lambda rotation: self._tell(rotation, presented))
        note = FamilyNote.unpack(rotation.note)
        if note is None or not rotation.verdict.is_good:
            raise _refusal(rotation)
        if client is not None and client != (note.client or self.options.default_client):
            await self._families.revoke(presented.family)  # whoever presents another's token has come by it somehow
            raise RefreshRefused("wrong_client", "The refresh token was issued to another client")
        said = await self._said_of(narrowed(note, wanted))
        successor = RefreshToken(presented.family, rotation.number)
        now, replayed = self._clock(), rotation.verdict is Verdict.SAME
        life = Life.of_next(rotation, self._limits, now)
        return self._issuing.pair(self._access, said, successor, rotation.gen, life, now, replayed=replayed)

    async def _said_of(self, note: FamilyNote) -> FamilyNote:
        """Return what the next access token says: the note, and what the app has to say of the user now."""
        if self.options.claims is None:
            return note
        more = self.options.claims(note.user)
        return with_claims(note, _claims(await more if isawaitable(more) else more))

    def _tell(self, rotation: Rotation, presented: RefreshToken) -> None:
        kind = _TOLD.get(rotation.verdict)
        if kind is None:
            return
        known = FamilyNote.unpack(rotation.note) or FamilyNote(user="")
        event = TokenEvent(
            kind,
            known.user,
            presented.family.decode(),
            presented.number,
            device=known.device,
            session=known.session,
            client=known.client,
        )
        emit(tuple(self.options.hooks), event)

    def __repr__(self) -> str:
        return f"<TokenService of {self.options.issuer!r}: {self._keys!r}>"


def _claims(claims: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the claims of an app, which are names and values; raises `ValueError` for what is none."""
    if claims is None or isinstance(claims, Mapping):
        return dict(claims or {})
    raise ValueError(f"claims: a {type(claims).__name__} given; allowed is a mapping of names to values")


def _named(option: str, name: object) -> str | None:
    """Return a name of the app's, or None; raises `ValueError` for what is none."""
    if name is None or (isinstance(name, str) and 0 < len(name) <= 255):
        return name
    raise ValueError(f"{option}: {name!r} given; allowed is text of 1 to 255 characters")


def _refusal(rotation: Rotation) -> RefreshRefused:
    """Say why there is no successor; a record whose note nobody can read is as good as none."""
    reason, text = _REFUSALS.get(rotation.verdict, _REFUSALS[Verdict.UNKNOWN])
    try:
        why = orjson.loads(rotation.why or b"{}")
    except orjson.JSONDecodeError:
        why = {"reason": rotation.why.decode("utf-8", "replace")}
    return RefreshRefused(reason, text, why if isinstance(why, dict) else {"reason": why})
