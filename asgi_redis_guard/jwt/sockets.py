"""A WebSocket lives no longer than the token it was opened with: closed when that is revoked, or over. Pure.

A word that a token was revoked, or its user cut off, is no proof (a cutoff may be older than the token): what the
handshake asked is asked again. A refresh is no word: a socket lives on, with the token that it was opened with.
"""

from __future__ import annotations

from typing import NamedTuple

from ..core.keys import Keys
from ..core.responder import Close, Control, Responder
from ..core.steps import Ask, Asking
from ..errors import RedisUnavailable
from .revocation.blacklist import Blacklist
from .revocation.questions import MISSING, TOPIC, Questions
from .user import VerifiedUser

#: In the range for applications (RFC 6455 §7.4.2); 401 is what HTTP would say.
REVOKED, EXPIRED = Close(4401, "token revoked"), Close(4401, "token expired")

#: Somebody said that it was revoked, and it cannot be told whether it is.
AWAY = Close(1013, "try again later")

#: Seconds after which what nobody tells is asked again: marks that other software sets.
_ASK_AGAIN = 30.0

#: The same for all others: words are lost where an account may not publish or hear them (`resetchannels`).
_ASK_SELDOM = 300.0


class SocketRules(NamedTuple):
    """How a guard treats sockets: what it knows of revocation, and what it does while Redis is away.

    `asks`: the blacklist is asked at all. `quiet`: some of what it asks about is never told. `leeway` and `max_age`:
    seconds; the latter is None where what was known last does not count.
    """

    asks: bool
    quiet: bool
    leeway: float
    closed: bool
    max_age: float | None
    mirror: Blacklist | None

    def responder(self, ask: Ask, keys: Keys) -> TokenSocket | None:
        """Return what sees to one socket; `ask` is what its handshake asked, below `keys`. None if it never ends."""
        user: VerifiedUser = ask.about.verdict.scope["user"]
        expires_at = user.token.expires_at
        if not self.asks and expires_at is None:
            return None
        return TokenSocket(self, ask, keys, expires_at)


class TokenSocket(Responder):
    """Closes the socket when its token ends."""

    def __init__(self, rules: SocketRules, ask: Ask, keys: Keys, expires_at: float | None) -> None:
        self._rules, self._ask, self._keys, self._expires_at = rules, ask, keys, expires_at
        self._questions: Questions = ask.about.questions

    def bind(self, control: Control) -> None:
        """Watch the token, by everything that it was asked by."""
        self._control = control
        if self._expires_at is not None:
            control.at(self._expires_at + self._rules.leeway, lambda: control.close(EXPIRED))
        if self._rules.asks:
            self._look_again = control.suspect(TOPIC, self._questions.words, self._look)
            self._ask_later()

    def _ask_later(self) -> None:
        def due() -> None:
            self._look_again()
            self._ask_later()

        wait = _ASK_AGAIN if self._rules.quiet else _ASK_SELDOM
        self._control.at(self._control.clock() + wait, due)

    def _look(self, told: bool) -> Asking:
        """Ask again; close what is revoked."""
        mirror = self._rules.mirror
        try:
            replies = yield self._ask
        except RedisUnavailable:
            if not self._is_closed_without(told):
                raise
        else:
            if not replies.passed or (mirror is not None and mirror.remembers(self._keys, self._questions)):
                self._control.close(REVOKED)
            elif self._control.data_lost and not self._is_closed_without(told):
                raise RedisUnavailable(MISSING)

    def _is_closed_without(self, told: bool) -> bool:
        """Close what may not stay open while Redis cannot be asked; true if it is closed."""
        rules, revoked = self._rules, None
        if rules.mirror is not None and rules.max_age is not None:
            revoked = rules.mirror.recall(self._keys, self._questions, rules.max_age)
        if revoked:
            self._control.close(REVOKED)
        elif told and rules.closed and revoked is None:
            self._control.close(AWAY)
        else:
            return False
        return True
