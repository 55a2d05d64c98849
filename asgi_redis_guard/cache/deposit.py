"""What becomes of a fill: it is stored, or given back, and who waits for it hears which. Pure."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.responder import Control
from ..core.script import Replies
from ..core.steps import Ask, Asking
from ..errors import EntryRefused, OperationFailed, RedisUnavailable
from .conditional import validators
from .entry import Entry, encode_pass
from .found import Filled, Miss
from .operations import LEASE, Place, generation, release, renew, store
from .plan import Plan, Refusal
from .policy import LONGEST
from .tags import hints_of, tag_text

if TYPE_CHECKING:
    from .guard import ResponseCache

logger = logging.getLogger("asgi_redis_guard.cache")


class Deposit:
    """One request's part in filling a variant. It ends once: with `store`, `refuse` or `give_up`."""

    def __init__(self, cache: ResponseCache, miss: Miss) -> None:
        self._cache = cache
        self._miss = miss
        self._exchange = exchange = miss.exchange
        self._found = miss.found
        self._lead = miss.lead
        self._left = False
        self._control: Control | None = None
        self.asked_at = exchange.now if exchange.services is None else exchange.services.clock()
        self.over = False
        #: What is left to be done at the end, where nobody could do it before.
        self.rest: Asking | None = None

    def bind(self, control: Control) -> None:
        """Keep the fill, as long as it lasts."""
        self._control = control
        if self._found.claimed:
            control.keep(renew(self._found.place, self._found.token), LEASE, _nothing)

    def has_body(self) -> bool:
        """Tell whether the app has got a body with the request, of which no key says anything."""
        return self._control is not None and self._control.has_body()

    # Time.

    def host_time(self) -> float:
        """Return the present time of this host."""
        return self.asked_at if self._control is None else self._control.clock()

    def clock(self) -> int:
        """Return the server's µs, as far as they are known here."""
        return self._found.clock + round((self.host_time() - self.asked_at) * 1e6)

    def entry(self, plan: Plan, status: int, body: bytes, received_at: float) -> Entry:
        """Return an entry, in times of the server's clock."""
        received = self._found.clock + round((received_at - self.asked_at) * 1e6)
        born = received - round(plan.age * 1e6)
        left = plan.lifetime * self._cache.jittered(self._exchange) - plan.age
        fresh = received + round(min(left, LONGEST) * 1e6)
        return Entry(
            began=self._found.clock,
            fresh_until=fresh,
            delta=round((self.host_time() - self.asked_at) * 1e6),
            generation=self._found.generation,
            tags=b"",
            born=born,
            stale_until=fresh + round(min(plan.swr, LONGEST) * 1e6),
            error_until=fresh + round(min(plan.sie, LONGEST) * 1e6),
            status=status,
            headers=self._cache.client_fields.stored(plan, status, body),
            body=body,
            must_validate=plan.must_validate,
            never_stale=plan.never_stale,
            private=plan.private,
            heuristic=plan.heuristic,
        )

    # Storing.

    def store(self, entry: Entry, plan: Plan, templates: tuple[str, ...] = ()) -> Asking:
        """Store an entry unless what it was made of was invalidated meanwhile; give the fill back in any case."""
        self.over = True
        try:
            yield from self._store(entry, plan, hints_of(templates))
        except (EntryRefused, ValueError) as error:
            logger.debug("a response cannot be kept: %s", error)
            yield from self._unfit(entry, "entry")
        except OperationFailed as error:
            logger.warning("a response could not be stored: %s", error)
            yield from self._given_back(None)
        except RedisUnavailable:
            self._give_back_later()
            raise
        except Exception:
            yield from self._given_back(None)
            raise
        finally:
            self._scatter()
        yield from self._left_over()

    def _unfit(self, entry: Entry, reason: str) -> Asking:
        """Give the fill back of what cannot be kept, this time or the next."""
        self._cache.telling.event(self._exchange, "refused", reason, status=entry.status)
        yield from self._given_back(Refusal(reason))

    def _store(self, entry: Entry, plan: Plan, hints: bytes) -> Asking:
        cache, found, keys = self._cache, self._found, self._exchange.keys
        grown, place = cache.variants.grown(self._exchange, found.place, found.names, plan, self._miss.route)
        life = self._life(entry, plan)
        if place is None or life < 1:
            yield from self._unfit(entry, "variants" if place is None else "stale")
            return
        tags = {keys.tag(name)[-20:]: b"" for name in plan.tags}
        checks = []
        if tags.keys() <= found.tags.keys():
            tags = {tag: found.tags[tag] for tag in tags}
        else:
            # Of these nobody knew before the handler ran: they are from before it if nothing was invalidated since.
            read = yield Ask([generation(keys.tag_of(tag), b"") for tag in tags])
            tags = {tag: reply.values[0] for tag, reply in zip(tags, read, strict=True)}
            checks.append(generation(keys.every_tag, found.tags.get(b"*", b"-")))
        checks += [generation(keys.tag_of(tag), stamp, life) for tag, stamp in tags.items()]
        entry.tags = tag_text(tags.items())
        value = cache.codec.encode(place.entry, entry)
        writes = [store(place, found.generation, found.names, grown, entry.began, value, life, hints)]
        if found.claimed:
            writes.append(release(keys, found.place, found.token))
        replies: Replies = yield Ask([*checks, *writes], shadow=True)
        reply = list(replies)[len(checks)]
        if reply.passed and reply.committed:
            cache.variants.remember(found.place.resource, place, grown, tags)
            self._stored(entry, place, replies.clock)
        else:
            cache.telling.event(self._exchange, "refused", "invalidated", status=entry.status)
            self._hand_over()

    def _stored(self, entry: Entry, place: Place, clock: int) -> None:
        """Let everybody have it who waits; where it has another place than they thought, they look again."""
        seconds = self.host_time() - self.asked_at
        self._cache.telling.event(
            self._exchange, "stored", self._miss.reason, status=entry.status, size=len(entry.body), seconds=seconds
        )
        filled = Filled(entry, clock) if place.entry == self._found.place.entry else None
        if self._lead is not None and self._lead.land(filled):
            self._left = True

    def _life(self, entry: Entry, plan: Plan) -> int:
        """Milliseconds that it is kept; what can be validated some time longer."""
        keep = plan.keep if validators(entry.headers) else 0.0
        now = self.clock()
        last = max(entry.fresh_until, now) + round(keep * 1e6)
        return min((max(last, entry.stale_until, entry.error_until) - now) // 1000, round(LONGEST * 1000))

    # Giving up.

    def refuse(self, refusal: Refusal, status: int) -> None:
        """Keep nothing: let everybody go who waits, and the client's leaving count again."""
        if self.over:
            return
        self.over = True
        self._cache.telling.event(self._exchange, "refused", refusal.reason, status=status or None)
        self._scatter()
        if self._leaves_old(refusal, status):
            refusal = replace(refusal, reason="failed")
        flow = self._given_back(refusal) if self._found.claimed or not refusal.idle else None
        if self._control is None:  # the answer of a guard behind this one: no app runs
            self.rest = flow
            return
        self._control.release()
        if flow is not None:
            self._control.spawn(flow)

    def _leaves_old(self, refusal: Refusal, status: int) -> bool:
        """Whether what is stored stays: failures may be over soon, and what is fresh was not asked about.

        What was somebody's own says nothing of what all get stale, or once it was validated.
        """
        if refusal.reason == "validator" or self._found.entry is None:
            return False
        if refusal.is_personal and (self._found.entry.must_validate or self.clock() < self._found.entry.stale_until):
            return True
        return status >= 500 or self._found.is_fresh

    def give_up(self, *, cancelled: bool) -> Asking | None:
        """Give the fill back: where it was cancelled, to the next who waits."""
        self.over = True
        if self._found.claimed:
            return self._gave_up(cancelled)
        self._let_go(cancelled)
        return None

    def _gave_up(self, cancelled: bool) -> Asking:
        """Give it back first: whoever in this process is the next takes it under the same token."""
        try:
            yield from self._given_back(None)
        finally:
            self._let_go(cancelled)
        yield from self._left_over()

    def _let_go(self, cancelled: bool) -> None:
        if cancelled:
            self._hand_over()
        else:
            self._scatter()

    # The flight. What another request of this process was given meanwhile, and has left here, is to be given back.

    def _hand_over(self) -> None:
        if self._lead is not None and self._lead.hand_over():
            self._left = True

    def _scatter(self) -> None:
        if self._lead is not None and self._lead.scatter():
            self._left = True

    def _left_over(self) -> Asking:
        if self._left:
            yield from self._given_back(None)

    def _is_to_be_told(self, refusal: Refusal) -> bool:
        """Whether nobody is to wait for it the next time; of what nobody waits for anyway, there is nothing to say."""
        if refusal.idle or refusal.reason == "failed" or self._found.alone:
            return False
        return self._found.claimed or not refusal.is_personal

    def _given_back(self, refusal: Refusal | None) -> Asking:
        """Give the fill back; of what may not be kept, say that nobody is to wait for it."""
        found, keys = self._found, self._exchange.keys
        operations = []
        if refusal is not None and self._is_to_be_told(refusal):
            pass_for = self._cache.pass_for
            value = encode_pass(self.clock() + round(pass_for * 1e6), found.clock, found.generation)
            names = found.names
            operations.append(
                store(found.place, found.generation, names, names, found.clock, value, round(pass_for * 1000))
            )
        if found.claimed:
            idle = found.generation if refusal is not None and refusal.idle else b""
            operations.append(release(keys, found.place, found.token, idle))
        if not operations:
            return
        try:
            yield Ask(operations, shadow=True)
        except OperationFailed:
            raise
        except RedisUnavailable:
            self._give_back_later()
            raise

    def _give_back_later(self) -> None:
        """Give the fill back when Redis can be told: other processes would wait for it until its time is up."""
        found, services = self._found, self._exchange.services
        if found.claimed and services is not None:
            services.give_back(Ask([release(self._exchange.keys, found.place, found.token)]), LEASE)


def _nothing() -> None:
    """A fill that was lost is stored all the same, unless another one has been faster."""
