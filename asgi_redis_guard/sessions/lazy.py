"""Sessions that nobody reads before the app says so. Until then nothing is known, and whoever asks is told just that.

Not knowing is never taken for an answer: neither for a session that is empty, nor for a user who is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Never, cast
from weakref import ref

from starlette.authentication import AuthCredentials, BaseUser

from ..core.exchange import Exchange
from ..core.responder import Head
from ..core.steps import Ask, Asking, Pass
from ..errors import RedisUnavailable, SessionNotLoaded
from ..users import nobody
from .ids import SessionId, SessionIds
from .keeping import KeptSession
from .saving import merge
from .session import Session
from .sockets import SocketResponder

if TYPE_CHECKING:
    from .guard import Sessions

_WHY = "the session was not loaded: with Sessions(lazy=True), say 'await session.load()' first"


class _Unknown:
    """An attribute of which nothing can be said before the session is loaded."""

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        raise SessionNotLoaded(_WHY)

    def __repr__(self) -> str:
        return "<not loaded>"


#: What a lazy session holds until it is loaded: a key that no encoder of JSON takes, for those written in C do not ask
#: a dictionary's methods what is in it, and would write an empty one.
_MARK = _Unknown()


class LazySession(Session):
    """A session whose cookie is there and whose record was not read; `await load()` makes a plain `Session` of it.

    Whatever else is asked of it raises `SessionNotLoaded`, but for its `repr` and its `handle`. What cannot be
    prevented is that C code, or `dict.get(session, …)`, reads the dictionary behind its methods: it finds no key of a
    session there, and one that is none.
    """

    record = id = is_new = ended = _MARK
    modified = False

    def __init__(self) -> None:
        dict.__setitem__(cast("dict[Any, Any]", self), _MARK, None)

    def __repr__(self) -> str:
        return "<Session not loaded>"

    def become(self, session: Session) -> None:
        """Be what was loaded, from here on: whoever has this object has the session."""
        dict.clear(self)
        dict.update(self, session)
        vars(self).update(vars(session) | vars(self))
        self.__class__ = Session  # type: ignore[assignment]  # at last: a thread may be looking


def _not_loaded(*args: object, **options: object) -> Never:
    """Raise `SessionNotLoaded`."""
    raise SessionNotLoaded(_WHY)


#: The methods of a dictionary that tell nothing of what is in it.
_HARMLESS = frozenset(
    ("__new__", "__init__", "__repr__", "__getattribute__", "__hash__", "__sizeof__", "__class_getitem__", "__doc__")
)

for _name in (*vars(dict).keys() - _HARMLESS, "__bool__", "__reduce_ex__", "rotate", "save", "incr", "append"):
    setattr(LazySession, _name, _not_loaded)


class LazyUser(BaseUser):
    """`user` of a lazy session: the session's own as soon as it is loaded, `SessionNotLoaded` before."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: BaseUser | None = None

    @property
    def known(self) -> BaseUser:
        """The user; raises `SessionNotLoaded`."""
        return self.found if self.found is not None else _not_loaded()

    @property
    def is_authenticated(self) -> bool:
        """Whether somebody has logged in."""
        return self.known.is_authenticated

    @property
    def identity(self) -> str:
        """The value of the principal's first key, as text."""
        return self.known.identity

    @property
    def display_name(self) -> str:
        """The same, empty for nobody."""
        return self.known.display_name

    def __repr__(self) -> str:
        return repr(self.found) if self.found is not None else "<User of a session that was not loaded>"


class LazyCredentials(AuthCredentials):
    """`auth` of a lazy session, for `@requires`; `SessionNotLoaded` before it is loaded."""

    def __init__(self) -> None:
        self.found: AuthCredentials | None = None

    @property
    def scopes(self) -> list[str]:  # type: ignore[override]
        """The scopes granted."""
        return self.found.scopes if self.found is not None else _not_loaded()

    def __repr__(self) -> str:
        return f"<Credentials {'not loaded' if self.found is None else self.found.scopes}>"


class _Deferred(KeptSession):
    """The keeper of a lazy session: reads it when it is told to, and leaves alone what was not read."""

    _guard: Sessions
    _first: Ask
    _closed: bool
    user: LazyUser
    auth: LazyCredentials

    def start(self, head: Head) -> Asking | None:
        """Write what was loaded and changed; of what was not, the head tells at most that the app has had it."""
        session = self._session
        if not isinstance(session, LazySession):
            return super().start(head)
        if head.scope is not None and head.scope.get("session", session) is not session:
            raise SessionNotLoaded(f"{_WHY}; scope['session'] holds something else now, which may not replace it")
        if session.accessed:
            merge(head.headers, b"vary", b"Cookie")
        return None

    def handle(self) -> bytes:
        """Return the handle that the cookie names, as long as nothing else is known."""
        return self.name.handle if isinstance(self._session, LazySession) else super().handle()

    @property
    def name(self) -> SessionId:
        """What the cookie says, whether there is such a session or not."""
        found: SessionId = self._first.about.id
        return found

    async def load(self) -> None:
        """Read the session, or read it anew; `on_outage` counts as it does for one that is read at once."""
        session = self._session
        if not isinstance(session, LazySession):
            return await super().load()
        try:
            found, clock, user = self._guard.late(self._exchange, await self._ask(self._first))
        except RedisUnavailable:
            if self._closed:
                raise
            found, clock, user = Session.standing_in(self.name), 0, None
        if isinstance(session, LazySession):  # another task may have been faster
            self._clock = clock
            facts = user if user is not None else nobody()
            self.user.found, self.auth.found = facts["user"], facts["auth"]
            session.become(found)
            await self.use()
        return None


class LazyKept(_Deferred):
    """For requests."""


class LazySocket(_Deferred, SocketResponder):
    """For WebSockets: watched from the handshake on, since that costs next to nothing."""

    _was_there = False

    def named(self) -> SessionId | None:
        """Return what the cookie says."""
        return self.name

    async def load(self) -> None:
        """Forget the watch where there is no session to watch."""
        was_unknown = isinstance(self._session, LazySession)
        await super().load()
        if was_unknown:
            self._was_there = self._session.record is not None


class Loading:
    """Waited for by a guard that has to know: true once the session is loaded, false where it cannot be read."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def wait(self) -> bool:
        """Load it."""
        try:
            await self._session.load()
        except RedisUnavailable:
            return False
        return True


def defer(guard: Sessions, exchange: Exchange, ids: SessionIds, ask: Ask, *, closed: bool) -> Pass:
    """Let an exchange go on with a session that `ask` will load once the app says so."""
    session = LazySession()
    responder = (LazySocket if exchange.is_websocket else LazyKept)(guard.policy, ids, session, exchange, 0)
    responder._guard, responder._first, responder._closed = guard, ask, closed
    responder.user, responder.auth = LazyUser(), LazyCredentials()
    session.keeper = ref(responder)
    facts = {"session": session, "session_id": responder.name}
    scope: dict[str, Any] = {"session": session}
    if guard.policy.principal and not getattr(exchange.fact("user"), "is_authenticated", False):
        scope |= {"user": responder.user, "auth": responder.auth}
    return Pass(facts, scope=scope, responder=responder)
