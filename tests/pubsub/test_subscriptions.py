"""The books of subscriptions, against a server that does what it is told, late."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from asgi_redis_guard.pubsub.subscriptions import PING, Command, Key, OutOfStep, Subscriptions

A, B, PATTERN, SHARD = (0, b"a"), (0, b"b"), (1, b"a"), (2, b"a")
FORBIDDEN = (0, b"forbidden")


def linked() -> Subscriptions[str]:
    books: Subscriptions[str] = Subscriptions()
    assert books.link() == []
    return books


def test_the_first_member_subscribes_and_the_last_one_unsubscribes() -> None:
    books = linked()
    assert books.join("one", [A]) == [(b"SUBSCRIBE", b"a")]
    assert books.join("two", [A]) == []
    assert books.leave("one") == []
    assert books.leave("two") == [(b"UNSUBSCRIBE", b"a")]
    assert books.leave("two") == []


def test_channels_and_patterns_of_one_name_are_different_things() -> None:
    books = linked()
    assert books.join("one", [A, PATTERN, A]) == [(b"SUBSCRIBE", b"a"), (b"PSUBSCRIBE", b"a")]
    assert books.answered(b"subscribe", b"a") == []
    assert not books.is_live("one")
    assert books.answered(b"psubscribe", b"a") == ["one"]
    assert books.is_live("one")


def test_a_member_is_live_at_once_where_its_topics_are() -> None:
    books = linked()
    books.join("one", [A])
    books.join("two", [A])
    assert books.answered(b"subscribe", b"a") == ["one", "two"]
    books.join("three", [A])
    assert books.is_live("three")
    assert books.hearing(A) == ["one", "two", "three"]


def test_joining_while_the_unsubscription_is_on_its_way_waits_for_the_later_answer() -> None:
    books = linked()
    books.join("one", [A])
    books.answered(b"subscribe", b"a")
    assert books.leave("one") == [(b"UNSUBSCRIBE", b"a")]
    assert books.join("two", [A]) == [(b"SUBSCRIBE", b"a")]
    assert books.answered(b"unsubscribe", b"a") == []
    assert not books.is_live("two")
    assert books.hearing(A) == []
    assert books.answered(b"subscribe", b"a") == ["two"]


def test_a_new_link_asks_for_everything_and_nothing_else() -> None:
    books: Subscriptions[str] = Subscriptions()
    assert books.join("one", [A, B]) == []
    books.join("two", [PATTERN])
    assert books.leave("two") == []
    assert books.link() == [(b"SUBSCRIBE", b"a"), (b"SUBSCRIBE", b"b")]
    books.answered(b"subscribe", b"a")
    books.unlink()
    assert books.link() == [(b"SUBSCRIBE", b"a"), (b"SUBSCRIBE", b"b")]
    assert not books.is_live("one")
    books.answered(b"subscribe", b"a")
    assert books.answered(b"subscribe", b"b") == ["one"]


def test_a_refusal_makes_the_members_leave_everything_they_held() -> None:
    books = linked()
    books.join("one", [A, FORBIDDEN])
    books.join("two", [A])
    assert books.answered(b"subscribe", b"a") == ["two"]
    assert books.refused() == (["one"], [])
    assert "one" not in books
    assert books.hearing(A) == ["two"]
    assert set(books.topics) == {A}
    books.join("three", [B, FORBIDDEN])
    assert books.answered(b"subscribe", b"b") == []
    assert books.refused() == (["three"], [(b"UNSUBSCRIBE", b"b")])


def test_a_refusal_that_a_later_command_overtakes_does_no_harm() -> None:
    books = linked()
    books.join("one", [FORBIDDEN])
    books.leave("one")
    books.join("two", [FORBIDDEN])
    assert books.refused() == ([], [])
    assert books.answered(b"unsubscribe", b"forbidden") == []
    assert books.refused() == (["two"], [])
    assert not books.topics


def test_a_refused_unsubscription_is_forgotten() -> None:
    books = linked()
    books.join("one", [A])
    books.answered(b"subscribe", b"a")
    books.leave("one")
    assert books.refused() == ([], [])
    assert not books.topics


def test_a_ping_is_answered_in_its_turn() -> None:
    books = linked()
    assert books.ping() == PING
    books.join("one", [A])
    assert books.answered(b"ping") == []
    assert books.answered(b"subscribe", b"a") == ["one"]
    books.ping()
    assert books.refused() == ([], [])


def test_a_sharded_channel_has_commands_of_its_own() -> None:
    books = linked()
    assert books.join("one", [SHARD, A]) == [(b"SSUBSCRIBE", b"a"), (b"SUBSCRIBE", b"a")]
    assert books.due() == (b"SSUBSCRIBE", b"a")
    books.answered(b"ssubscribe", b"a")
    books.answered(b"subscribe", b"a")
    assert books.due() is None
    assert books.hearing(SHARD) == books.hearing(A) == ["one"]
    assert set(books.leave("one")) == {(b"SUNSUBSCRIBE", b"a"), (b"UNSUBSCRIBE", b"a")}


def test_what_the_server_withdraws_is_asked_for_again_and_not_live_until_then() -> None:
    books = linked()
    books.join("one", [SHARD, A])
    assert books.withdrawn(SHARD) == [], "the answer that is due decides"
    books.answered(b"ssubscribe", b"a")
    assert books.answered(b"subscribe", b"a") == ["one"]
    assert books.withdrawn(SHARD) == [(b"SSUBSCRIBE", b"a")]
    assert not books.is_live("one")
    assert books.hearing(SHARD) == []
    assert books.answered(b"ssubscribe", b"a") == ["one"]
    assert books.withdrawn((2, b"unknown")) == []


def test_answers_that_nobody_asked_for_are_noticed() -> None:
    books = linked()
    for wrong in (lambda: books.answered(b"ping"), books.refused):
        with pytest.raises(OutOfStep):
            wrong()
    books.join("one", [A])
    for verb, name in ((b"subscribe", b"b"), (b"psubscribe", b"a"), (b"ping", None)):
        with pytest.raises(OutOfStep):
            books.answered(verb, name)
        books.unlink()
        books.link()


def test_joining_twice_is_refused() -> None:
    books = linked()
    books.join("one", [A])
    with pytest.raises(ValueError, match="joined already"):
        books.join("one", [B])


MEMBERS = st.integers(0, 4)
KEYS = st.lists(st.sampled_from([A, B, PATTERN, FORBIDDEN]), min_size=1, max_size=4)


class BooksAndServer(RuleBasedStateMachine):
    """Random members on a link whose server answers late, refuses one channel and is lost at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.books: Subscriptions[int] = Subscriptions()
        self.keys: dict[int, set[Key]] = {}
        self.to_server: deque[Command] = deque()
        self.to_client: deque[tuple[str, object]] = deque()
        self.server: set[Key] = set()
        self.owed: dict[int, set[int]] = {}  # member -> messages that it must get, or lose with the link
        self.published = 0

    def send(self, commands: list[Command]) -> None:
        assert self.books.linked or not commands, "nothing is sent where there is no link"
        self.to_server.extend(commands)

    @rule(member=MEMBERS, keys=KEYS)
    def join(self, member: int, keys: list[Key]) -> None:
        if member not in self.keys:
            self.send(self.books.join(member, keys))
            self.keys[member] = set(keys)

    @rule(member=MEMBERS)
    def leave(self, member: int) -> None:
        self.send(self.books.leave(member))
        self.forget(member)

    def forget(self, member: int) -> None:
        self.keys.pop(member, None)
        self.owed.pop(member, None)

    @rule()
    def ping(self) -> None:
        if self.books.linked:
            self.send([self.books.ping()])

    @precondition(lambda self: not self.books.linked)
    @rule()
    def link(self) -> None:
        self.send(self.books.link())

    @precondition(lambda self: self.books.linked)
    @rule()
    def lose_the_link(self) -> None:
        self.books.unlink()
        self.to_server.clear()
        self.to_client.clear()
        self.server.clear()
        self.owed.clear()

    @precondition(lambda self: self.to_server)
    @rule()
    def server_runs_a_command(self) -> None:
        verb, *rest = self.to_server.popleft()
        if not rest:
            self.to_client.append(("answer", (b"ping", None)))
            return
        key = (verb.startswith(b"P"), rest[0])
        if verb in (b"UNSUBSCRIBE", b"PUNSUBSCRIBE"):
            assert key in self.server or key == FORBIDDEN, "it was subscribed, or refused"
            self.server.discard(key)
        else:
            assert key not in self.server, "one subscription for all members"
            if key == FORBIDDEN:
                self.to_client.append(("error", None))
                return
            self.server.add(key)
        self.to_client.append(("answer", (verb.lower(), rest[0])))

    @rule(key=st.sampled_from([A, B, PATTERN]))
    def somebody_publishes(self, key: Key) -> None:
        """Whoever is live now must hear it, however late the server's bytes are read."""
        self.published += 1
        for member, keys in self.keys.items():
            if key in keys and self.books.is_live(member):
                assert key in self.server
                self.owed.setdefault(member, set()).add(self.published)
        if key in self.server:
            self.to_client.append(("message", (key, self.published)))

    @precondition(lambda self: self.to_client)
    @rule()
    def client_reads_a_reply(self) -> None:
        kind, what = self.to_client.popleft()
        if kind == "message":
            key, number = what  # type: ignore[misc]
            for member in self.books.hearing(key):
                assert key in self.keys[member]
                self.owed.get(member, set()).discard(number)
        elif kind == "error":
            members, commands = self.books.refused()
            for member in members:
                assert FORBIDDEN in self.keys[member]
                self.forget(member)
            self.send(commands)
        else:
            for member in self.books.answered(*what):  # type: ignore[misc]
                assert self.keys[member] <= self.server, "live is what the server has confirmed"

    @rule()
    def everything_is_said(self) -> None:
        """Without this, random steps hardly ever come to an end of the talk."""
        while self.to_server or self.to_client:
            if self.to_server:
                self.server_runs_a_command()
            if self.to_client:
                self.client_reads_a_reply()

    @invariant()
    def members_are_those_who_joined_and_did_not_leave(self) -> None:
        assert set(self.books.members()) == set(self.keys)

    @invariant()
    def live_members_are_subscribed(self) -> None:
        for member, keys in self.keys.items():
            if self.books.is_live(member):
                assert keys <= self.server

    @invariant()
    def when_all_is_said_the_server_has_what_the_members_want(self) -> None:
        if self.to_server or self.to_client:
            return
        wanted = set().union(*self.keys.values())
        assert set(self.books.topics) == wanted, "no topic is left behind"
        assert not any(self.owed.values()), "no message is lost"
        if self.books.linked:
            assert self.server == wanted
            assert all(map(self.books.is_live, self.keys))


TestBooksAndServer = BooksAndServer.TestCase
TestBooksAndServer.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
