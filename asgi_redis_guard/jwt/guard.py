"""`JWTAuth`: lets requests with a verified, unrevoked token through. Pure: time comes with the exchange.

Order of checks: size, header, signature, claims, then the blacklist, so that garbage never reaches Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Literal, NamedTuple

from ..core.checks import several
from ..core.exchange import Exchange
from ..core.guard import OneRoundGuard, OnRefused
from ..core.keys import Keys
from ..core.origin import is_cross_origin, origin_faults
from ..core.problem import foreign_cookie, unavailable
from ..core.script import Replies
from ..core.steps import Admission, Answer, Ask, Pass
from ..errors import ConfigurationError, RedisUnavailable
from ..users import credentials_of, nobody
from .credentials import BadCredentials, TokenSources
from .key_source import ExchangeVerifier, KeysAway, KeySource, KeysWanted, when_fetched
from .keys import KeyLike, KeySet
from .options import check_options, issuers_of
from .policy import MAX_LIFETIME, Challenges
from .revocation.blacklist import Blacklist, LegacyKeys, blacklist_faults
from .revocation.questions import KINDS, MISSING, Questions
from .sockets import SocketRules
from .tenant import Tenancy
from .user import VerifiedUser
from .verify import ClaimRules, TokenRefused, VerifiedToken, Verifier


class Granted(NamedTuple):
    """What a verified token comes to: what is asked about it, what it gets if not revoked, and its tenant."""

    questions: Questions
    verdict: Pass
    tenant: str | None = None


class JWTAuth(OneRoundGuard):
    """Authenticate by JSON Web Tokens (RFC 7519) and refuse revoked ones.

    `key`: a secret, PEM text, a JWK, a JWK set, several of them, or a mapping of `kid` to key. `algorithms`: what is
    accepted; without it, the one that the key is for. `keys` instead of both: `JWKSKeys`, for tokens that others
    issue, 503 while theirs cannot be had; or a `TokenService`, whose `guard` sets what belongs to it. `issuer`,
    `audience`: what `iss` and `aud` must be, one or several. `leeway`: seconds of clock difference that are forgiven,
    at most 600. `required`: claims that must be there. `typ`: the header's type, such as `at+jwt`. `scopes`: what
    every token must grant.

    Tokens come from `Authorization: Bearer`, and where named from `cookie` (then refused across origins, except from
    `origins`), and for WebSockets from the `query` parameter or a `subprotocol` `<name>.<token>`. `exempt`: path
    patterns that need no token. `optional`: no token is no fault, a bad one is.

    `revocation`: ask the blacklist; a `RevocationList` that mirrors it answers without a round trip. `legacy`: keys
    that other software marks revoked tokens with, such as `token:blacklist:{jti}`, are looked for as well.
    `without_jti`: `hash` knows a token without `jti` by what was signed, `refuse` refuses it. `max_lifetime`: seconds;
    tokens that live longer or have no `exp` are refused, since they could outlive a revocation.
    `on_outage`: `closed` answers 503 while Redis is away, `open` lets unrevoked and revoked tokens pass, `last_known`
    goes by the mirror as long as that was current at most `max_age` seconds ago, then answers 503. The same holds while
    Redis is there and is known to have lost what was revoked (`RedisManager.accept_loss`).
    `tenant`: in a stack with `key_tag`, the claim that must equal the tag, or be missing where there is none; else 401,
    for the client may have chosen the tag, and in another tenant's keys its revocation would not be found.
    A WebSocket is closed (4401) when its token is revoked or over, unless `keep_sockets`.
    `on_refused(exchange, answer)` may return another answer. `cache_size`: verified tokens that are remembered.
    Raises `ConfigurationError`.
    """

    kind = "jwt"
    unique = True
    operations = KINDS
    provides = frozenset(("user", "auth"))
    known_early = provides

    def __init__(
        self,
        key: KeyLike | Sequence[KeyLike] | Mapping[str, KeyLike] = (),
        *,
        keys: KeySource | None = None,
        algorithms: Iterable[str] = (),
        issuer: str | Iterable[str] | None = None,
        audience: str | Iterable[str] | None = None,
        leeway: float = 0.0,
        required: Iterable[str] = ("exp",),
        typ: str | None = None,
        scopes: Iterable[str] = (),
        cookie: str | None = None,
        origins: Iterable[str] = (),
        query: str | None = None,
        subprotocol: str | None = None,
        exempt: Iterable[str] = (),
        exempt_preflight: bool = True,
        optional: bool = False,
        revocation: bool | Blacklist = True,
        legacy: str | Iterable[str] = (),
        without_jti: Literal["hash", "refuse"] = "hash",
        max_lifetime: float = MAX_LIFETIME,
        on_outage: Literal["closed", "open", "last_known"] = "closed",
        max_age: float = 300.0,
        keep_sockets: bool = False,
        on_refused: OnRefused | None = None,
        max_size: int = 8192,
        cache_size: int = 4096,
        realm: str = "api",
        tenant: str | None = None,
        name: str = "jwt",
    ) -> None:
        wanted = tuple(" ".join(several(scopes)).split())
        trusted, foreign = several(origins), several(legacy)
        ConfigurationError.raise_for(origin_faults(trusted))
        issuers = issuers_of(keys, key, algorithms, issuer)
        faults = blacklist_faults(revocation, foreign, on_outage, max_age, several_issuers=len(issuers) > 1)
        check_options(faults, cookie or None, leeway, without_jti, max_size, max_lifetime, realm, wanted, on_refused)
        audiences, claims = frozenset(several(audience)), frozenset(several(required))
        rules = ClaimRules(frozenset(issuers), audiences, claims, typ, leeway, max_lifetime if revocation else None)
        self.concern(name, exempt, exempt_preflight, on_refused)
        make = _verifier_by(key, algorithms) if keys is None else keys.verifier
        self.verifier = make(rules, max_size=max_size, cache_size=cache_size)
        self._sources = TokenSources(cookie.encode() if cookie else None, query, subprotocol)
        self._origins = frozenset(trusted)
        self._scopes = wanted
        self._optional = optional
        self._revocation = revocation is not False
        self._mirror = None if isinstance(revocation, bool) or revocation.mode != "mirror" else revocation
        self._tenancy = Tenancy(tenant, revocation=self._revocation, mirrored=self._mirror is not None)
        self.store = getattr(revocation, "redis", None)
        self._legacy = LegacyKeys(foreign)
        self._several_issuers = len(issuers) > 1
        self._remembered = lru_cache(maxsize=cache_size)(self._make_ask)
        self._without_jti = without_jti
        self._closed = on_outage != "open"
        self._max_age = max_age if on_outage == "last_known" else None
        self._challenges = Challenges(realm)
        self._sockets = None if keep_sockets else self._socket_rules(leeway, quiet=bool(foreign))

    def _socket_rules(self, leeway: float, *, quiet: bool) -> SocketRules:
        return SocketRules(self._revocation, quiet, leeway, self._closed, self._max_age, self._mirror)

    def ask(self, exchange: Exchange) -> Ask | Pass | Answer | Admission:
        """Verify locally, then ask the blacklist; what fails locally costs no round trip."""
        found = self._authenticate(exchange)
        return self._later(exchange, found) if isinstance(found, KeysWanted) else self._proceed(exchange, found)

    def _later(self, exchange: Exchange, wanted: KeysWanted) -> Admission:
        """Go on when the keys are there that a token of others may have been signed with."""
        found = yield from when_fetched(wanted, lambda final: self._authenticate(exchange, final))
        return (yield from self.go_on(exchange, self._proceed(exchange, found)))

    def _proceed(self, exchange: Exchange, found: Ask | Answer | None) -> Ask | Pass | Answer:
        """Return what comes of a token that was verified, or of what is wrong with it."""
        if not isinstance(found, Ask):
            return self.exempted(exchange) if found is None else self.refuse(exchange, found)
        if self._revocation:
            revoked = None if self._mirror is None else self._mirror.look(exchange.keys, found.about.questions)
            if revoked is not False:
                return self._revoked(exchange) if revoked else self._asked(exchange, found)
        granted = self._grant(exchange, found)
        return Pass(found.facts, scope=granted.scope, edits=granted.edits, responder=granted.responder)

    def _asked(self, exchange: Exchange, ask: Ask) -> Ask | Pass | Answer:
        """Ask, unless the answer is known already to count for nothing; `decide` looks again."""
        if exchange.data_lost and self._closed and self._max_age is None:
            return self.without_redis(exchange, ask, RedisUnavailable(MISSING))
        return ask

    def decide(self, exchange: Exchange, replies: Replies) -> Pass | Answer:
        """Let pass what is not revoked. Called where the blacklist has answered; own checks belong into `admit`."""
        mirror, questions = self._mirror, replies.ask.about.questions
        if not replies.passed or (mirror is not None and mirror.remembers(exchange.keys, questions)):
            return self._revoked(exchange)
        if exchange.data_lost:  # it may have come back empty since it was asked
            return self.without_redis(exchange, replies.ask, RedisUnavailable(MISSING))
        return self._grant(exchange, replies.ask)

    def _revoked(self, exchange: Exchange) -> Answer:
        return self.refuse(exchange, self._challenges.invalid("The access token was revoked"))

    def without_redis(self, exchange: Exchange, ask: Ask, error: RedisUnavailable) -> Pass | Answer:
        """Follow `on_outage`."""
        revoked = None
        if self._mirror is not None and self._max_age is not None:
            revoked = self._mirror.recall(exchange.keys, ask.about.questions, self._max_age)
        if revoked:
            return self._revoked(exchange)
        if self._closed and revoked is None:
            return self.refuse(exchange, unavailable("Whether the access token is revoked cannot be told now."))
        return self._grant(exchange, ask)

    def _grant(self, exchange: Exchange, ask: Ask) -> Pass:
        """Return what a token that is not revoked comes to; a WebSocket's may have to be hidden from the app."""
        granted: Pass = ask.about.verdict
        if not exchange.is_websocket:
            return granted
        keeper = None if self._sockets is None else self._sockets.responder(ask, exchange.keys)
        return Pass(scope=granted.scope, edits=self._sources.subprotocols(exchange), responder=keeper)

    def exempted(self, exchange: Exchange) -> Pass:
        """Let it pass as nobody, so that `request.user` is there; what another middleware has established stays."""
        facts = {name: value for name, value in nobody().items() if name not in exchange.scope}
        return Pass(facts, scope=facts)

    def _authenticate(self, exchange: Exchange, final: bool = False) -> Ask | Answer | KeysWanted | None:
        """Find and verify the token; return what to ask about it, or None if there is none and none is needed.

        What tells to wait for keys does not come back where it is `final`.
        """
        try:
            credential = self._sources.find(exchange)
        except BadCredentials as error:
            return self._challenges.malformed(str(error))
        if credential is None:
            return None if self._optional else self._challenges.missing()
        encoded, ambient = credential
        if ambient and is_cross_origin(exchange, self._origins):
            return foreign_cookie()
        try:
            verifier = self.verifier
            if isinstance(verifier, Verifier):
                token = verifier.verify(encoded, exchange.now)
            else:
                token = verifier.verify(encoded, exchange, final=final)
            if token.token_id is None and self._without_jti == "refuse" and self._revocation:
                raise TokenRefused("The access token lacks a required claim")
        except TokenRefused as error:
            return self._challenges.invalid(str(error))
        except KeysAway as error:
            return unavailable("Whether the access token is genuine cannot be told now.", retry_after=error.retry_after)
        except KeysWanted as wanted:
            return wanted
        if self._scopes and not set(self._scopes).issubset(token.scopes):
            return self._challenges.insufficient(self._scopes)
        ask = self._remembered(exchange.keys, token)
        if not self._tenancy.is_at_home(exchange, ask.about.tenant):
            return self._challenges.invalid("The access token is another tenant's")
        return ask

    def tag_faults(self, tagged: bool) -> list[str]:
        """What is wrong with it in a stack whose keys go by a tag, or in one without."""
        return self._tenancy.faults(tagged)

    def _make_ask(self, keys: Keys, token: VerifiedToken) -> Ask:
        """Make what all requests with `token` share: what is asked of the blacklist, and about it what is granted.

        The facts are known when it is asked, and need not be told again with the verdict.
        A token goes by its `jti`, else by the hash of what was signed, and by its issuer too if there are several.
        """
        name = token.token_id if token.token_id is not None else token.signed
        user = VerifiedUser(token, (token.issuer if self._several_issuers else "", name))
        found = {"user": user, "auth": credentials_of(user.scopes)}
        facts = MappingProxyType(found)
        asked = Questions.about(token, keys, user.namespace)
        asked = asked._replace(marks=asked.marks + self._legacy.of(token))
        granted = Granted(asked, Pass(scope=found), self._tenancy.of(user.claims))
        return Ask(asked.operations(), facts, closed=self._closed, about=granted)

    def __repr__(self) -> str:
        return f"<JWTAuth {self.name}: {', '.join(self.verifier.algorithms)}>"


def _verifier_by(
    key: KeyLike | Sequence[KeyLike] | Mapping[str, KeyLike], algorithms: Iterable[str]
) -> Callable[..., Verifier | ExchangeVerifier]:
    return partial(Verifier, KeySet(key, several(algorithms)))
