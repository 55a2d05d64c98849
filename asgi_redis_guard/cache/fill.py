"""The app's answer on its way to the client, seen by the cache: kept if it may be. Pure.

Nothing is held back: what is to be kept is copied as it goes by, and stored when it was whole. Who waits for it is told
what came of it, whatever that is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.asgi import Headers
from ..core.exchange import Exchange
from ..core.responder import Control, Head, Outcome, Responder
from ..core.script import Replies
from ..core.steps import Answer, Ask, Asking
from ..errors import EntryRefused
from .conditional import same_representation
from .declaring import MAKING
from .entry import Entry, encode_pass
from .found import Landed
from .operations import LEASE, generation, release, renew, store
from .plan import Plan, Refusal
from .policy import LONGEST, CachePolicy
from .rules import Answered, client_control, outside
from .status import Reason, append, forward
from .storing import freshened
from .tags import tag_text
from .variants import named_tags

if TYPE_CHECKING:
    from .found import Found
    from .guard import ResponseCache

#: The app failed, as far as stale-if-error is concerned (RFC 5861 §4).
FAILURES = frozenset((500, 502, 503, 504))


class Told(Responder):
    """Says in `Cache-Status` why the cache had no part in a response."""

    __slots__ = ("_cache", "_detail", "_reason")

    def __init__(self, cache: ResponseCache, exchange: Exchange, reason: Reason, detail: str | None) -> None:
        self._cache = cache
        self._reason = reason
        self._detail = detail

    def start(self, head: Head) -> None:
        """Add the field."""
        if self._cache.cache_status is not None:
            append(head.headers, forward(self._cache.cache_status, self._reason, detail=self._detail))


class Passing(Responder):
    """Keeps a response that nobody waits for: of a route that was not cacheable when it was last seen."""

    def __init__(
        self,
        cache: ResponseCache,
        exchange: Exchange,
        found: Found,
        lead: Any,
        reason: Reason,
        route: bytes,
        *,
        validated: bool,
    ) -> None:
        self._cache = cache
        self._exchange = exchange
        self._found = found
        self._lead = lead
        self._reason = reason
        self._route = route
        self._validated = validated
        self._control: Control | None = None
        self._asked_at = exchange.now if exchange.services is None else exchange.services.clock()
        self._received_at = self._asked_at
        self._policy: CachePolicy | None = None
        self._tags: tuple[str, ...] = ()
        self._word: Plan | Refusal | None = None
        self._kept: list[bytes] | None = None
        self._size = 0
        self._whole = False
        self._status = 0
        self._scope: Any = None
        self._refreshed: Entry | None = None
        self._answering = False
        self._released = False
        self.over = False

    # What the route declares.

    def declare(self, policy: CachePolicy, tags: tuple[str, ...]) -> None:
        """Take what is to be kept."""
        self._policy, self._tags = policy, tags

    def invalidate(self, tags: tuple[str, ...]) -> None:
        """A request that only reads invalidates nothing."""

    def bind(self, control: Control) -> None:
        """Be found by the route's declaration, and keep the fill."""
        self._control = control
        MAKING.set(self)
        found = self._found
        if found.claimed:
            control.keep(renew(found.place, found.token), LEASE, _nothing)

    # The head.

    def start(self, head: Head) -> None:
        """Decide what is to be kept, or answer from what is stored: where it still holds, and where the app failed."""
        if self._answering:
            return None
        entry = self._found.entry
        self._status, self._scope = head.status, head.scope
        if head.status == 304 and self._validated and entry is not None:
            return self._revalidated(head, entry)
        if head.status in FAILURES and (answer := self._instead(head.status)) is not None:
            head.replace(answer)
            return None
        if self._word is None:
            self._received_at = self._now()
            self._word = self._judge(head.status, head.headers, head)
            self._learn(self._word)
            if isinstance(self._word, Refusal):
                self._refuse(self._word)
            else:
                self._kept = []
        self._tell(head)
        return None

    def _judge(self, status: int, headers: Headers, head: Head) -> Plan | Refusal:
        user = getattr(self._exchange.fact("user"), "identity", None)
        tags = named_tags(self._tags, user)
        if tags is None:
            return Refusal("tags", warn="its tags have values that make no tags")
        word = self._cache.rules.judge(
            Answered(
                self._exchange,
                status,
                headers,
                head.trailers,
                head.scope,
                self._policy,
                tags,
                self._asked_at,
                self._received_at,
            )
        )
        if isinstance(word, Refusal) and word.warn:
            self._cache.warn(self._exchange, head.scope, word.warn)
        return word

    def _learn(self, word: Plan | Refusal) -> None:
        names = word.names if isinstance(word, Plan) else frozenset()
        self._cache.variants.learn(self._route, names, self._tags, self._policy, word, self._exchange.now)

    def _tell(self, head: Head) -> None:
        """Edit the head for the client."""
        word, cache = self._word, self._cache
        if self._policy is not None:
            head.headers[:] = outside(head.headers, self._policy)
        kept = isinstance(word, Plan)
        if isinstance(word, Plan) and word.client_ttl is not None:
            head.headers.append((b"cache-control", client_control(0, word.private, word.client_ttl)))
        if cache.cache_status is not None:
            detail = word.reason.replace("_", "-") if isinstance(word, Refusal) else None
            append(head.headers, forward(cache.cache_status, self._reason, stored=kept, detail=detail))

    def _revalidated(self, head: Head, entry: Entry) -> None:
        """The app says that what is stored still holds: freshen it, and send the whole to a client that wants it."""
        if not same_representation(entry.headers, head.headers):
            self._refuse(Refusal("validator"))
            head.replace(self._cache.answer(self._exchange, entry, self._found.clock, stale=True))
            return
        if self._refreshed is None:
            self._received_at = self._now()
            self._refreshed = self._freshened(entry, head)
        fresh = self._refreshed or entry
        head.replace(
            self._cache.answer(self._exchange, fresh, self._clock(), forwarded=(self._reason, 304), quiet=True)
        )

    def _freshened(self, entry: Entry, head: Head) -> Entry | None:
        """Return the stored response with what a 304 says anew (RFC 9111 §4.3.4), None if it may be kept no longer."""
        word = self._word = self._judge(entry.status, freshened(entry.headers, head.headers), head)
        self._learn(word)
        if isinstance(word, Refusal):
            self._refuse(word)
            return None
        return self.entry_of(word, entry.status, entry.body)

    def rescue(self, error: Exception) -> Answer | None:
        """An app that raises has failed as well (RFC 5861 §4)."""
        answer = self._instead(None)
        self._answering = answer is not None
        return answer

    def _instead(self, status: int | None) -> Answer | None:
        """Return what is sent stale where the app failed."""
        entry, clock = self._found.entry, self._clock()
        if entry is None or entry.never_stale or not clock < entry.error_until:
            return None
        self._refuse(Refusal("failed"))
        return self._cache.answer(self._exchange, entry, clock, stale=True, forwarded=("stale", status))

    # The body.

    def body(self, chunk: bytes, more: bool) -> None:
        """Keep a chunk."""
        if self._kept is None or not isinstance(self._word, Plan):
            return
        if chunk:
            self._size += len(chunk)
            if self._size > self._word.max_body:
                self._kept = None
                self._refuse(Refusal("size"))
                return
            self._kept.append(chunk)
        self._whole = not more

    # The end.

    def end(self, outcome: Outcome) -> Asking | None:
        """Store it if it was whole; tell who waits."""
        self.over = True
        if self._released:
            return None
        entry = self._refreshed or self._entry()
        if entry is not None:
            return self._store(entry)
        self._released = True
        if self._lead is not None:
            if outcome.kind == "cancelled":
                self._lead.hand_over()
            else:
                self._lead.scatter()
        return self._give_back(None) if self._found.claimed else None

    def _entry(self) -> Entry | None:
        """Return what is to be stored, None if it is not whole, or not what it said it would be."""
        word = self._word
        if not isinstance(word, Plan) or self._kept is None or not self._whole:
            return None
        body = b"".join(self._kept)
        lengths = {value for name, value in word.headers if name == b"content-length"}
        if lengths and lengths != {b"%d" % len(body)}:
            return None
        if (
            self._policy is not None
            and not self._policy.user_aware
            and self._cache.became_personal(self._exchange, self._scope)
        ):
            return None
        return self.entry_of(word, self._status, body)

    def entry_of(self, plan: Plan, status: int, body: bytes) -> Entry:
        """Return an entry, in times of the server's clock."""
        received = self._found.clock + round((self._received_at - self._asked_at) * 1e6)
        born = received - round(plan.age * 1e6)
        lifetime = min(plan.lifetime, LONGEST) * self._cache.jittered(self._exchange)
        fresh = born + round(lifetime * 1e6)
        return Entry(
            began=self._found.clock,
            fresh_until=fresh,
            delta=round((self._now() - self._asked_at) * 1e6),
            generation=self._found.generation,
            tags=b"",
            born=born,
            stale_until=fresh + round(min(plan.swr, LONGEST) * 1e6),
            error_until=fresh + round(min(plan.sie, LONGEST) * 1e6),
            status=status,
            headers=self._cache.tagged(plan, status, body),
            body=body,
            must_validate=plan.must_validate,
            never_stale=plan.never_stale,
            private=plan.private,
            heuristic=plan.heuristic,
        )

    def _store(self, entry: Entry) -> Asking:
        """Store an entry unless what it was made of was invalidated meanwhile; give the fill back in any case."""
        self._released = True
        cache, found, keys = self._cache, self._found, self._exchange.keys
        try:
            grown, place = cache.variants.grown(self._exchange, found.place, found.names, self._names(), self._route)
            expected = {keys.tag(name)[-20:]: b"" for name in self._tag_names()}
            if not expected.keys() <= found.tags.keys():
                # Not known before the handler ran: valid if nothing at all was invalidated since.
                read = yield Ask([generation(keys.tag_of(tag), b"") for tag in expected])
                expected = {tag: reply.values[0] for tag, reply in zip(expected, read, strict=True)}
                guards = {keys.every_tag: found.tags.get(b"*", b"-")}
            else:
                expected = {tag: found.tags[tag] for tag in expected}
                guards = {}
            entry.tags = tag_text(expected.items())
            life = self._life(entry)
            if place is None or life < 1:
                yield from self._give_back(None)
                return
            checks = [generation(key, stamp) for key, stamp in guards.items()]
            checks += [generation(keys.tag_of(tag), stamp, life) for tag, stamp in expected.items()]
            value = cache.codec.encode(place.entry, entry)
            writes = [store(place, found.generation, found.names, grown, entry.began, value, life)]
            if found.claimed:
                writes.append(release(keys, found.place, found.token))
            replies: Replies = yield Ask([*checks, *writes], shadow=True)
            self._stored(entry, place, grown, expected, replies, len(checks))
        except (EntryRefused, ValueError):
            yield from self._give_back(None)
        finally:
            if self._lead is not None:
                self._lead.scatter()

    def _stored(
        self, entry: Entry, place: Any, grown: bytes, tags: dict[bytes, bytes], replies: Replies, place_of_store: int
    ) -> None:
        """Hear whether it was stored; who waits gets it then, and looks again otherwise."""
        cache, found = self._cache, self._found
        reply = list(replies)[place_of_store]
        if not (reply.passed and reply.committed):
            cache.tell(self._exchange, "refused", "invalidated", status=entry.status)
            if self._lead is not None:
                self._lead.hand_over()
            return
        cache.variants.remember(found.place.resource, place, grown, tags)
        seconds = self._now() - self._asked_at
        cache.tell(self._exchange, "stored", self._reason, status=entry.status, size=len(entry.body), seconds=seconds)
        if self._lead is not None:
            self._lead.land(Landed(entry, replies.clock) if place.entry == found.place.entry else None)

    def _names(self) -> frozenset[bytes]:
        return self._word.names if isinstance(self._word, Plan) else frozenset()

    def _tag_names(self) -> tuple[str, ...]:
        return self._word.tags if isinstance(self._word, Plan) else ()

    def _life(self, entry: Entry) -> int:
        """Milliseconds that it is kept."""
        word = self._word
        keep = word.keep if isinstance(word, Plan) and _can_be_validated(entry) else 0.0
        last = max(entry.fresh_until + round(keep * 1e6), entry.stale_until, entry.error_until)
        return min((last - self._clock()) // 1000, round(LONGEST * 1000))

    # Giving up.

    def _refuse(self, refusal: Refusal) -> None:
        """Keep nothing: let everybody go who waits, and the client's leaving count again."""
        if self._released:
            return
        self._released = True
        self._kept = None
        self._cache.tell(self._exchange, "refused", refusal.reason, status=self._status or None)
        if self._lead is not None:
            self._lead.scatter()
        if self._control is None:
            return
        self._control.release()
        if self._found.claimed or not refusal.idle:
            self._control.perform(self._give_back(refusal))

    def _give_back(self, refusal: Refusal | None) -> Asking:
        """Give the fill back; of what may not be kept, say that nobody is to wait for it."""
        found, cache, keys = self._found, self._cache, self._exchange.keys
        idle = found.generation if refusal is not None and refusal.idle else b""
        operations = [release(keys, found.place, found.token, idle)] if found.claimed else []
        if refusal is not None and not refusal.idle and refusal.reason != "failed" and not found.alone:
            until = self._clock() + round(cache.pass_for * 1e6)
            value = encode_pass(until, found.clock, found.generation)
            life = round(cache.pass_for * 1000)
            operations.insert(
                0, store(found.place, found.generation, found.names, found.names, found.clock, value, life)
            )
        if operations:
            yield Ask(operations, shadow=True)

    def _now(self) -> float:
        return self._asked_at if self._control is None else self._control.clock()

    def _clock(self) -> int:
        """The server's clock, as far as it is known here."""
        return self._found.clock + round((self._now() - self._asked_at) * 1e6)


class Fill(Passing):
    """Keeps a response that others may wait for: it is made to its end although its own client may leave."""

    outlives = True


def _nothing() -> None:
    """A fill that was lost is stored all the same, unless another one has been faster."""


def _can_be_validated(entry: Entry) -> bool:
    return any(name in (b"etag", b"last-modified") for name, _ in entry.headers)
