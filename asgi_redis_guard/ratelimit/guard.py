"""`RateLimit`: counts requests against one or more limits. Pure: the server's clock decides, in the program."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Unpack

from ..core.client_ip import TrustedProxies
from ..core.exchange import Exchange
from ..core.guard import OneRoundGuard
from ..core.identity import Identity
from ..core.keys import Keys, digest, is_short
from ..core.problem import nobody, unavailable
from ..core.script import Replies
from ..core.steps import PASS, Admission, Answer, Ask, Asking, Pass, Wait
from ..errors import ConfigurationError, RedisUnavailable
from .asking import Asker
from .calendar import quarter
from .changes import Changes
from .denials import Denial, Denials
from .door import Door
from .headers import HeaderStyle, expose_ours
from .ledger import Ledger
from .local import LocalLimits
from .notation import Style
from .options import Options, RateLimitOptions, checked_cost, signature_with
from .plan import Asked, Plan
from .policy import KINDS, SETTLES, LimitState
from .refusals import banned, beyond, denied, for_group
from .responder import BytesResponder, Charge, LimitResponder, SettlingResponder, without_files
from .rules import LimitsFor, Rules

#: Limits whose local counts are told to Redis when it is back; a round has room for so many operations.
_MOST_OWED = 6


class RateLimit(OneRoundGuard):
    """Refuse requests beyond `limits`, such as `"100/minute", "1000/hour"`, with 429.

    All limits of a stack are decided together: a request that any of them refuses is counted by none. `limits` may be
    one function over the exchange that tells them (None: no limit); `rules` maps path patterns (`/search/*`,
    `POST /users/{id}`) to limits that stand there instead, None for none. `paths`: only these path patterns, counted
    together unless `path` is part of the key. `algorithm`: `gcra` (evenly spaced, `burst` at once), `leaky` (the same,
    but what comes at once waits for its turn), `fixed` (windows that begin with a first request), `counter` (the same,
    with the part of the window before that is not older than a period), `log` (exact, one entry a request), `calendar`
    (per hour, day, month or year of `timezone`). `name` stands in headers, `group` (the name, where it is not given) in
    keys: limits of one group, period and key share their count.

    `key` says whose requests are counted together: see `KeyPart`. `unidentified`: what happens to a request whose key
    cannot be told, `refuse` (400) or `allow`. `trusted_proxies`: whose `X-Forwarded-For` is believed. `allow`, `deny`:
    addresses and networks, or functions over the exchange, that are not counted, or refused (403). `bypass`: scopes of
    a verified user that free from the limits.

    `cost`: how many units a request takes, a number or a function over the exchange; 0 only looks. `settle`: the app
    sets that right in `scope["rate_limits"][name]`, a `Charge`; `"bytes"`: it becomes the bytes of the body.
    `count_if`: only responses of these statuses count, or those that a function of exchange and head tells. `ban`: who
    breaks the limits too often is refused for longer and longer.

    `on_outage`: `local` counts in this process while Redis is away, its part of the limits among `workers` processes,
    for at most `local_keys` identities; `open` lets pass; `closed` answers 503. `deny_cache`: seconds that a refusal is
    repeated without asking. `draft`, `legacy_headers`: see `HeaderStyle`; `expose_headers` names them for browsers.
    `shadow` decides and reports, and refuses nobody. `changeable`: `RateLimitAdmin.change` reaches it. `statistics`
    counts for `RateLimitAdmin`, with `labels` under readable names. `on_refused(exchange, answer)` may return another
    answer. Raises `ConfigurationError`.
    """

    kind = "ratelimit"
    topic = "limits"
    __signature__ = signature_with()
    refunds = True

    def __init__(self, *limits: str | LimitsFor, **options: Unpack[RateLimitOptions]) -> None:
        given = self.options = Options.of(options)
        proxies = TrustedProxies.of(given.trusted_proxies)
        self.concern(given.name or "ratelimit", given.exempt, given.exempt_preflight, given.on_refused)
        #: Whose counts are shared, and what changes at run time are known by.
        self.group = given.group or self.name
        style = Style(given.algorithm, given.burst, given.name, given.group, given.timezone)
        headers = HeaderStyle(given.draft, given.legacy_headers)
        self.rules = Rules(limits, given.rules, given.paths, style, headers)
        self.identity = Identity(given.key, proxies)
        self._identify = self.identity.single
        self.needs = self.identity.needs | ({"user"} if given.bypass else frozenset())
        self.claims = self._claimed()
        door = Door(given.allow, given.deny, given.bypass, proxies)
        self._door = None if door.is_open else door
        self.ledger = Ledger(self.group, given.ban, given.statistics, given.labels)
        self.operations = (*self.ledger.kinds, *dict.fromkeys((*KINDS.values(), *SETTLES.values())))
        self.local = LocalLimits(max_keys=given.local_keys, workers=given.workers)
        keep = given.ban.within if given.ban is not None else 0
        self.denials = Denials(0 if given.shadow else given.deny_cache, given.local_keys, keep)
        self.changes = Changes(self, given.changeable)
        self.expose_headers = given.expose_headers
        self.shows = not given.shadow
        self.eager = given.changeable
        if not (given.deny_cache or given.changeable or given.on_outage == "local"):
            self.topic = ""  # nothing is kept here that could be told to be otherwise
        self._cost = given.cost if callable(given.cost) else self._fitting(given.cost)
        #: Whether there is nothing to look at but whose the request is, and nothing to do but to count it.
        self._is_plain = self._door is None and not callable(given.cost) and not self.ledger.count
        self._may_settle = bool(given.settle) or given.count_if is not None
        self._refused, self._uncounted = self.denials.held, self.local.windows
        self._asker = Asker(self.ledger, closed=given.on_outage == "closed", shadow=given.shadow)
        self._made = lru_cache(maxsize=8192)(self._asker.make)
        self.one_round = given.algorithm != "leaky" and type(self).admit is RateLimit.admit  # type: ignore[misc]

    def _fitting(self, cost: int) -> int:
        """Return a cost that is the same for all requests; raises `ConfigurationError` where it never fits."""
        limits = [limit for plan in self.rules.plans for limit in plan.limits]
        ConfigurationError.raise_for(
            [
                f"cost: {cost} given; the limit {one.name!r} never has room for more than {one.most}"
                for one in limits
                if checked_cost(cost) > one.most
            ]
        )
        return checked_cost(cost)

    def _claimed(self) -> frozenset[Hashable]:
        """What no other guard of a stack may have: bans of one group are meant to be shared, and nothing else is."""
        claims: set[Hashable] = {(key_name, self.identity.parts) for key_name in self.rules.claims}
        if self.options.settle is True:
            claims.add(("charge", self.name))
        claims |= {(option, self.group) for option in ("changeable", "statistics") if getattr(self.options, option)}
        return frozenset(claims)

    def ask(self, exchange: Exchange) -> Ask | Pass | Answer:
        """Count the request against all limits, or refuse it."""
        plan = self.rules.only
        if plan is not None and self._is_plain and not (plan.is_calendar or self._refused or self._uncounted):
            identity = self._identify(exchange)
            if identity is not None and is_short(identity):
                return self._made(plan, exchange.keys, identity, self._cost, 0.0)
        found = self.whose(exchange)
        if not isinstance(found, tuple):
            return found
        plan, identity = found
        cost = self._cost
        return self.count(exchange, plan, identity, checked_cost(cost(exchange)) if callable(cost) else cost)

    def whose(self, exchange: Exchange) -> tuple[Plan, tuple[str | bytes, ...]] | Pass | Answer:
        """Return the limits that are for an exchange and whose requests are counted, or a verdict without that."""
        plan = self.rules.find(exchange)
        if plan is None:
            return self._free(exchange)
        if self._door is not None and (word := self._door.word(exchange)):
            allowed = word == "allowed" or self.options.shadow
            return self._free(exchange) if allowed else self.refuse(exchange, denied())
        identity = self.identity.of(exchange, plan.pattern)
        if identity is None:
            allowed = self.options.unidentified == "allow" or self.options.shadow
            return self._free(exchange) if allowed else self.refuse(exchange, nobody())
        return plan, identity

    def count(
        self, exchange: Exchange, plan: Plan, identity: tuple[str | bytes, ...], cost: int
    ) -> Ask | Pass | Answer:
        """Ask for so many units of somebody, or refuse what is remembered to be refused."""
        if self._refused or self._uncounted:
            return self._exceptional(exchange, plan, identity, cost)
        now = quarter(exchange.now) if plan.is_calendar or self.ledger.count else 0.0
        make = self._made if is_short(identity) else self._asker.make
        return make(plan, exchange.keys, identity, cost, now)

    def decide(self, exchange: Exchange, replies: Replies) -> Pass | Answer:
        """Let pass what is within all limits."""
        asked: Asked = replies.ask.about
        if asked.owed:
            self.local.told(asked.plan, asked.hashed, asked.owed if asked.is_told(replies) else None)
        if not replies.passed:
            return self._judge(exchange, asked, asked.states(replies), replies)
        if self._may_settle:
            return self._passed(exchange, asked, replies)
        return Pass(responder=LimitResponder(self, exchange, asked, replies))

    def without_redis(self, exchange: Exchange, ask: Ask, error: RedisUnavailable) -> Pass | Answer:
        """Follow `on_outage`."""
        if self.options.on_outage == "open" or (self.options.on_outage == "closed" and self.options.shadow):
            return self._free(exchange)
        if self.options.on_outage == "closed":
            return self.refuse(exchange, unavailable("Requests cannot be counted now."))
        asked: Asked = ask.about
        self.local.told(asked.plan, asked.hashed, None)
        return self._judge(exchange, asked, self.local.decide(asked.plan, asked.hashed, asked.cost, exchange.now))

    def admit(self, exchange: Exchange) -> Admission:
        """Ask and decide; a request in a leaky bucket waits for its turn."""
        verdict = yield from super().admit(exchange)
        responder = verdict.responder if isinstance(verdict, Pass) else None
        if isinstance(responder, LimitResponder) and (delay := responder.delay) and not self.options.shadow:
            yield Wait(None, delay)
        return verdict

    def exempted(self, exchange: Exchange) -> Pass:
        """What an exchange gets that is not counted."""
        return self._free(exchange)

    def tag_faults(self, tagged: bool) -> list[str]:
        """What is wrong with it in a stack whose keys go by a tag: limits of a guard are the same for all tags."""
        given = self.options
        faults = ["changeable: given; under key_tag limits are the same for all tags"] if given.changeable else []
        if given.statistics and given.deny_cache:
            faults.append(
                "statistics: given with deny_cache, which tells of other tags' refusals; under key_tag one of the two"
            )
        return faults if tagged else []

    def told(self, word: bytes) -> bool:
        """Take what is said on the topic; true if the limits must be looked at again."""
        return self.changes.told(word)

    def missed(self, keys: Keys) -> Asking:
        """Look at what may have been said while nobody listened."""
        return self.changes.missed(keys)

    def _exceptional(
        self, exchange: Exchange, plan: Plan, identity: tuple[str | bytes, ...], cost: int
    ) -> Ask | Pass | Answer:
        """Ask, where something is remembered of somebody: refusals, or what was counted while Redis was away."""
        hashed, now = digest(*identity, *exchange.keys.salt), exchange.now
        denial = self.denials.find(plan, hashed, cost, now)
        if denial is not None:
            return self.refusal(exchange, plan, denial)
        hidden = self.denials.take(plan, hashed)
        owed = self.local.owed(plan, hashed, now) if len(plan.limits) <= _MOST_OWED else ()
        overdue = self.denials.overdue(now)
        return self._asker.make(plan, exchange.keys, identity, cost, now, hidden, tuple(owed), overdue)

    def _judge(
        self, exchange: Exchange, asked: Asked, states: list[LimitState], replies: Replies | None = None
    ) -> Pass | Answer:
        """Refuse what is not within all limits; without replies it was decided in this process."""
        violated = [state for state in states if not state.allowed]
        wait = 0  # of a ban
        if replies is not None and self.ledger.ban is not None:
            (wait,) = list(replies)[asked.before - 1].values
        if not wait and not violated:
            return self._passed(exchange, asked, states, local=replies is None)
        if self.options.shadow:
            return self._free(exchange, LimitResponder(self, exchange, asked, states), "would_be_rate_limited")
        if wait:
            denial = Denial(exchange.now, 0, asked.cost, wait, None)
        else:
            denial = Denial(exchange.now, 0, asked.cost, max(state.retry_after for state in violated), states)
        if replies is not None:
            self.denials.add(asked.plan, asked.hashed, denial)
        return self.refusal(exchange, asked.plan, denial)

    def refusal(self, exchange: Exchange, plan: Plan, denial: Denial) -> Answer:
        """Return the answer for a refusal."""
        states = denial.states
        answer = banned(denial.wait) if states is None else beyond(states, plan.headers(states, exchange.now))
        if self.expose_headers and exchange.has(b"origin"):
            expose_ours(answer.headers)
        return for_group(self.refuse(exchange, answer))

    def _passed(
        self, exchange: Exchange, asked: Asked, states: Replies | list[LimitState], local: bool = False
    ) -> Pass:
        given = self.options
        if not self._may_settle:
            return Pass(responder=LimitResponder(self, exchange, asked, states, local))
        kind = BytesResponder if given.settle == "bytes" else SettlingResponder
        responder = kind(self, exchange, asked, states, local, count_if=given.count_if)
        if given.settle is True:
            return self._charged(exchange, responder.charge, responder)
        return Pass(scope=without_files(exchange) if given.settle else None, responder=responder)

    def _free(self, exchange: Exchange, responder: LimitResponder | None = None, reason: str = "") -> Pass:
        """Let pass what is not counted; the app finds a charge all the same, of which nothing comes."""
        if self.options.settle is True:
            return self._charged(exchange, Charge(0), responder, reason)
        return Pass(responder=responder, reason=reason) if responder is not None else PASS

    def _charged(
        self, exchange: Exchange, charge: Charge, responder: LimitResponder | None = None, reason: str = ""
    ) -> Pass:
        charges = exchange.fact("rate_limits")
        if charges is None:
            charges = {}
        charges[self.name] = charge  # one mapping for all limits of an exchange, whichever of them comes first
        told = {"rate_limits": charges}
        return Pass(told, scope=told, responder=responder, reason=reason)

    def __repr__(self) -> str:
        limits = "; ".join(map(repr, self.rules.plans)) or "limits by a function"
        return f"<RateLimit {self.name}: {limits} by {', '.join(map(str, self.identity.parts))}>"
