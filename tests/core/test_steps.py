"""`core/steps.py`: the values that guards and engine exchange."""

import pytest

from asgi_redis_guard import Answer, Ask, Guard, Head, Outcome, Pass, Responder
from asgi_redis_guard.core.script import Batch
from tests.guards import count, exchange


class Both(Responder):
    def start(self, head: Head) -> None: ...

    def end(self, outcome: Outcome) -> None: ...


class Inherits(Both):
    def body(self, chunk: bytes, more: bool) -> None: ...


def test_a_responder_s_hooks_are_those_that_it_or_its_base_overrides() -> None:
    assert Responder.hooks == frozenset()
    assert Both.hooks == {"start", "end"}
    assert Inherits.hooks == {"start", "body", "end"}


def test_an_ask_takes_operations_or_a_batch_made_before() -> None:
    batch = Batch([count("a")])
    assert Ask(batch).batch is batch
    assert Ask(iter([count("a"), count("b")])).batch.keys == (b"a", b"b")


def test_a_replaced_head_keeps_the_answer_s_own_headers_as_they_were() -> None:
    answer = Answer(304, [(b"etag", b'"1"')])
    head = Head(200, [(b"content-length", b"2")])
    head.replace(answer)
    head.headers.append((b"x-more", b"1"))
    assert (head.status, head.replaced, answer.headers) == (304, b"", [(b"etag", b'"1"')])


def test_a_guard_without_options_applies_to_everything_but_preflights() -> None:
    guard = Guard()
    preflight = [(b"origin", b"https://a.example"), (b"access-control-request-method", b"PUT")]
    assert guard.applies(exchange())
    assert guard.applies(exchange(method="OPTIONS"))
    assert not guard.applies(exchange(method="OPTIONS", headers=preflight))
    assert guard.exempted(exchange()).__class__ is Pass


def test_a_guard_that_does_not_say_how_it_admits_is_not_one() -> None:
    with pytest.raises(NotImplementedError):
        Guard().admit(exchange())


def test_an_outcome_s_repr_keeps_the_error_to_itself() -> None:
    assert "secret" not in repr(Outcome("error", None, ValueError("secret")))
