"""Every Redis key the package uses is built here.

    key                        type     TTL                              what
    <p>t:<digest>              string   the token's remaining life       a revoked token, by issuer and `jti` or hash
    <p>t:<digest>              string   the longest life of its tokens   a family that was ended: its access tokens are
    <p>u:<digest>              string   the longest life of a token      a user's cutoff: older tokens are revoked
    <p>u:<digest>              string   the longest life of a token      the same, exactly: by the generation of tokens
    <p>u:<digest>              string   the longest life of a token      a cutoff for all users of an issuer
    <p>{revoked}               hash     the longest life of a token      how many are revoked, by hour of expiry
    <p>{revoked}:<hour>        set      that hour and two more           which ones, where somebody mirrors them
    <p>{revoked}:users         zset     the longest life of a token      which users have a cutoff, likewise
    <p>{revoked}:mirrors       hash     1 day from the last of them      what mirrors go by: epoch, last entry
    <p>{revoked}:stream        stream   1 hour from the last entry       what was revoked, told to mirrors
    <p>f:{<place>}<name>       string   idle or absolute, the earlier    a refresh family, and how it ended
    <p>fi:{<place>}<rest>      zset     that of the last of them         a user's families by when their records end
    <p>fg:{<place>}<rest>      string   the longest life of a token      a user's generation: older tokens are revoked
    <p>{families}alive         hash     that of the last family, 1 hour  how many families live, by hour of their end
    <p>{families}hours         hash     7 days                           refreshes, replays, reuse … by the hour
    <p>tokens                  channel  –                                digests of `t:` and `u:` that were set
    <p>l:<limit>:{<digest>}    string   until the quota is whole again   one limit for one identity (gcra, fixed)
    <p>l:<limit>:{<digest>}    zset     the window                       one limit for one identity (log)
    <p>b:<guard>:{<digest>}    string   the ban and the longest one      one identity's breaches and bans
    <p>ls:{<guard>}<hour>:<what> hash, zset 2 days                       statistics of limits, four keys an hour
    <p>lc:<guard>              hash     a year from the last change      limits that were changed at run time
    <p>c:<limit>:{<digest>}    zset     that of the longest lease        what runs at once: leases by when they end
    <p>s:{<tag>}<handle>       hash     idle or absolute, the earlier    a session, by the hash of its id
    <p>s:{<tag>}<handle>:replaced hash  1 day                            what has replaced it, for who comes with it
    <p>i:{<tag>}<digest>       zset     that of the last of them         a user's sessions: handles by when they end
    <p>n:{<tag>}<digest>       hash     the last absolute end of them    where each of them began: handles to notes
    <p>{stats}sessions         zset     that of the last of them         all sessions by when they end: statistics
    <p>{stats}online           hash     that of the last session         users to how many of those are theirs
    <p>{stats}hours            hash     7 days                           how many began and ended, by the hour
    <p>sessions                channel  –                                handles of sessions that were ended
    <p>e:{<tag>}<digest>       stream   the retention, from the last one a user's security events
    <p>d:{<tag>}<digest>       zset     that of the last of them         a user's trusted devices by when trust ends
    <p>dn:{<tag>}<digest>      hash     that of the last of them         notes on them: times, name
    <p>r:{<digest>}            string   that of the longest variant      a stored resource: generation, what varies it
    <p>r:{<digest>}<digest>    string   until it may not be used at all  one variant of it: a stored response
    <p>rf:{<digest>}<digest>   string   that of the fill's lease         who fills a variant now
    <p>g:<digest>              string   the longest life of what has it  a tag's generation: what is older is invalid
    <p>g:*                     string   the longest life of anything     the generation of everything that is stored
    <p>cache                   channel  –                                what was invalidated
    <p>k:{<digest>}            string   that of the lock                 a lock: waiters, fence, who holds it
    <p>ks:{<digest>}           zset     that of the longest holder       a semaphore: its holders by when they end
    <p>kf:{<digest>}           string   an hour, or the lock's            the last fence of a lock or semaphore
    <p>y:<digest>              string   the lease, then the record's     an idempotent request: under way, or its answer
    <p>inc:{<number>}          hash     by when all marks have ended     which incarnation of its data a server has
    <p>locks                   channel  –                                locks that were released while some waited
    <p>idempotency             channel  –                                idempotent requests that others waited for

`<p>` is the prefix, `guard:` by default. A digest is 120 bits of BLAKE2b over length-prefixed parts, so that two
different inputs never share a key and neither secrets nor personal data stand in one; a user's may be cut in two, the
place where the user's keys lie and the rest. Keys that one operation touches
together share a {hash tag}. With a tag, such as a tenant's, there is one more in front of all, `<p>{<digest>}`, and
whatever is said here but `inc:` lies in one slot for each tag. Every key has a TTL.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b


def digest(*parts: str | bytes) -> bytes:
    """Return 20 ASCII characters that stand for `parts`, in this order and division."""
    return _remembered(*parts) if is_short(parts) else _digest(*parts)


def hash_tag(key: bytes) -> bytes:
    """Return what decides on a key's slot on a cluster: its hash tag, or all of it where it has none.

    The tag is what stands between the first `{` and the next `}`, unless that is nothing (cluster specification, "Hash
    tags").
    """
    begin = key.find(b"{") + 1
    end = key.find(b"}", begin)
    return key[begin:end] if begin and end > begin else key


def is_short(parts: Iterable[str | bytes]) -> bool:
    """Tell whether what is made of `parts` may be remembered: clients choose the length of some."""
    return sum(map(len, parts)) <= 256


def _digest(*parts: str | bytes) -> bytes:
    hasher = blake2b(digest_size=15)
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        hasher.update(b"%d:" % len(data))
        hasher.update(data)
    return b2a_base64(hasher.digest(), newline=False)


_remembered = lru_cache(maxsize=8192)(_digest)

#: Tags whose keys are remembered.
_MOST_TAGS = 4096


class Keys:
    """The keys below one prefix; with a `tag`, which is a tenant's name say, those that are in its slot.

    With a tag every key begins with `<p>{<digest>}`: the first hash tag is what counts (cluster specification, "Hash
    tags"), so that all of them lie together. What stands for a thing in memory or on a channel, the digests in keys,
    is another one for each tag; the channels are the same for all.
    """

    __slots__ = (
        "_ban",
        "_concurrency",
        "_device_notes",
        "_devices",
        "_events",
        "_families",
        "_family",
        "_fence",
        "_fill",
        "_generation",
        "_incarnation",
        "_index",
        "_limit",
        "_limit_changes",
        "_limit_statistics",
        "_lock",
        "_notes",
        "_once",
        "_resource",
        "_semaphore",
        "_session",
        "_tag",
        "_token",
        "_user",
        "cache_channel",
        "every_tag",
        "family_counts",
        "idempotency_channel",
        "key_tag",
        "locks_channel",
        "prefix",
        "revoked",
        "revoked_mirrors",
        "revoked_stream",
        "revoked_users",
        "root",
        "salt",
        "session_counts",
        "sessions_channel",
        "tagged",
        "tokens_channel",
    )

    def __init__(self, prefix: str = "guard:", tag: str | None = None, root: Keys | None = None) -> None:
        self.prefix = prefix
        plain = head = prefix.encode()
        #: The tag, None for none.
        self.key_tag = tag
        #: What every digest of something has behind its parts.
        self.salt: tuple[bytes, ...] = ()
        if tag is not None:
            self.salt = (b"tag", mark := digest(b"tag", tag))
            head = b"%b{%b}" % (head, mark)
        #: Those without a tag.
        self.root = root or self
        #: Returns those of a tag; the last ones are remembered.
        self.tagged: Callable[[str], Keys] = self.root.tagged if root else lru_cache(maxsize=_MOST_TAGS)(self._of_tag)
        self._token = head + b"t:"
        self._user = head + b"u:"
        self._limit = head + b"l:"
        self._ban = head + b"b:"
        self._limit_statistics = head + b"ls:"
        self._limit_changes = head + b"lc:"
        self._concurrency = head + b"c:"
        self._session = head + b"s:"
        self._index = head + b"i:"
        self._notes = head + b"n:"
        #: Statistics of sessions; no user's keys are in their slot.
        self.session_counts = (head + b"{stats}sessions", head + b"{stats}online", head + b"{stats}hours")
        self.sessions_channel = plain + b"sessions"
        self._events = head + b"e:"
        self._devices = head + b"d:"
        self._device_notes = head + b"dn:"
        #: The blacklist as a whole; all of it in one slot.
        self.revoked = head + b"{revoked}"
        self.revoked_users = head + b"{revoked}:users"
        self.revoked_mirrors = head + b"{revoked}:mirrors"
        self.revoked_stream = head + b"{revoked}:stream"
        self._family = head + b"f:"
        self._families = head + b"fi:"
        self._generation = head + b"fg:"
        #: Statistics of refresh families; no user's keys are in their slot.
        self.family_counts = (head + b"{families}alive", head + b"{families}hours")
        self.tokens_channel = plain + b"tokens"
        self._resource = head + b"r:"
        self._fill = head + b"rf:"
        self._tag = head + b"g:"
        self.every_tag = head + b"g:*"
        self.cache_channel = plain + b"cache"
        self._lock = head + b"k:"
        self._semaphore = head + b"ks:"
        self._fence = head + b"kf:"
        self._once = head + b"y:"
        self.locks_channel = plain + b"locks"
        self.idempotency_channel = plain + b"idempotency"
        self._incarnation = plain + b"inc:"  # of a server, not of a tag

    def _of_tag(self, tag: str) -> Keys:
        return Keys(self.prefix, tag, self)

    def token(self, issuer: str, token_id: str | bytes) -> bytes:
        """The mark of one revoked token, known by its `jti`, or in bytes by the hash of what was signed."""
        return self._token + digest(b"raw" if isinstance(token_id, bytes) else b"jti", issuer, token_id, *self.salt)

    def user(self, issuer: str, subject: str) -> bytes:
        """The cutoff of one user's tokens."""
        return self._user + digest(issuer, subject, *self.salt)

    def family_mark(self, issuer: str, family: str) -> bytes:
        """The mark of a family that was ended: of all its access tokens."""
        return self._token + digest(b"fam", issuer, family, *self.salt)

    def generation_cutoff(self, issuer: str, subject: str) -> bytes:
        """The cutoff of one user's tokens by their generation."""
        return self._user + digest(b"gen", issuer, subject, *self.salt)

    def everybody(self, issuer: str) -> bytes:
        """The cutoff of all users' tokens."""
        return self._user + digest(b"all", issuer, b"", *self.salt)

    def token_of(self, known: bytes) -> bytes:
        """The mark of a token, or a family, that is known by the digest in it: its last 20 characters."""
        return self._token + known

    def user_of(self, known: bytes) -> bytes:
        """A cutoff that is known by the digest in it."""
        return self._user + known

    def revoked_in(self, hour: int) -> bytes:
        """Which tokens' marks end in an hour since the epoch: the digests in them."""
        return b"%b:%d" % (self.revoked, hour)

    def family(self, tag: bytes, name: bytes) -> bytes:
        """A refresh family; `tag` is the place of its user, so that a user's keys are together."""
        return b"%b{%b}%b" % (self._family, tag, name)

    def families(self, tag: bytes, user: bytes) -> bytes:
        """The index of one user's families; the user is given as a digest cut in two."""
        return b"%b{%b}%b" % (self._families, tag, user)

    def generation(self, tag: bytes, user: bytes) -> bytes:
        """The generation of one user's tokens; the user is given as above."""
        return b"%b{%b}%b" % (self._generation, tag, user)

    def limit(self, name: bytes, identity: bytes) -> bytes:
        """The state of limit `name` for an identity, given as a digest."""
        return b"%b%b:{%b}" % (self._limit, name, identity)

    def ban(self, guard: bytes, identity: bytes) -> bytes:
        """Breaches and bans of an identity, given as a digest, at the limits of one guard."""
        return b"%b%b:{%b}" % (self._ban, guard, identity)

    def limit_statistics(self, guard: bytes, hour: int) -> tuple[bytes, bytes, bytes, bytes]:
        """Totals, busiest, refused ones and labels of one guard's limits, in an hour since the epoch."""
        head = b"%b{%b}%d:" % (self._limit_statistics, guard, hour)
        return head + b"totals", head + b"busiest", head + b"refusals", head + b"labels"

    def limit_changes(self, guard: bytes) -> bytes:
        """The limits of one guard that were changed at run time."""
        return self._limit_changes + guard

    def concurrency(self, name: bytes, identity: bytes) -> bytes:
        """The leases of concurrency limit `name` for an identity, given as a digest."""
        return b"%b%b:{%b}" % (self._concurrency, name, identity)

    def session(self, tag: bytes, handle: bytes) -> bytes:
        """One session; `tag` is of its user, so that a user's keys are together, or random for nobody's."""
        return b"%b{%b}%b" % (self._session, tag, handle)

    def replaced(self, record: bytes) -> bytes:
        """What a session leaves that was replaced, given as its own key."""
        return record + b":replaced"

    def sessions(self, tag: bytes, user: bytes) -> bytes:
        """The index of one user's sessions; the user is given as a digest."""
        return b"%b{%b}%b" % (self._index, tag, user)

    def session_notes(self, tag: bytes, user: bytes) -> bytes:
        """Where one user's sessions began; the user is given as a digest."""
        return b"%b{%b}%b" % (self._notes, tag, user)

    def events(self, tag: bytes, user: bytes) -> bytes:
        """One user's security events."""
        return b"%b{%b}%b" % (self._events, tag, user)

    def devices(self, tag: bytes, user: bytes) -> bytes:
        """The index of one user's trusted devices."""
        return b"%b{%b}%b" % (self._devices, tag, user)

    def device_notes(self, tag: bytes, user: bytes) -> bytes:
        """What is known of one user's trusted devices."""
        return b"%b{%b}%b" % (self._device_notes, tag, user)

    def resource(self, resource: bytes) -> bytes:
        """The mark of a stored resource, given as the digest of what its request goes by."""
        return b"%b{%b}" % (self._resource, resource)

    def variant(self, resource: bytes, variant: bytes) -> bytes:
        """One variant of a stored resource; both are given as digests."""
        return b"%b{%b}%b" % (self._resource, resource, variant)

    def fill(self, resource: bytes, variant: bytes) -> bytes:
        """Who fills that variant; both are given as digests."""
        return b"%b{%b}%b" % (self._fill, resource, variant)

    def tag(self, name: str) -> bytes:
        """The generation of what has a tag; its last 20 characters, a digest, are what entries know the tag by."""
        return self._tag + digest(name, *self.salt)

    def tag_of(self, known: bytes) -> bytes:
        """The same for a tag that is known by that digest."""
        return self._tag + known

    def lock(self, name: bytes) -> tuple[bytes, bytes]:
        """A lock and its last fence; the name is given as a digest."""
        return b"%b{%b}" % (self._lock, name), b"%b{%b}" % (self._fence, name)

    def semaphore(self, name: bytes) -> tuple[bytes, bytes]:
        """A semaphore and its last fence; the name is given as a digest, which is no lock's."""
        return b"%b{%b}" % (self._semaphore, name), b"%b{%b}" % (self._fence, name)

    def idempotent(self, request: bytes) -> bytes:
        """The record of an idempotent request, given as the digest of whose it is and its key."""
        return self._once + request

    def incarnation(self, number: int) -> bytes:
        """What tells whether a server still has the data that it had; the number chooses a slot, and so the server."""
        return b"%b{%d}" % (self._incarnation, number)
