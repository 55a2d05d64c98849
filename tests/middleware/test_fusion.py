"""`middleware/fusion.py`: neighbours that become one stack, orders that are refused, and how a stack prints."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from asgi_redis_guard import (
    ConfigurationError,
    GuardMiddleware,
    JWTAuth,
    JWTAuthMiddleware,
    RateLimit,
    RateLimitMiddleware,
    RedisManager,
    RevocationList,
)
from asgi_redis_guard.core.admissions import Admissions
from asgi_redis_guard.core.asgi import Receive, Scope, Send
from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.steps import Admission, Ask, Pass
from asgi_redis_guard.middleware.fusion import rounds_of
from tests.core.stores import Store, drive
from tests.guards import COUNT, Does, count, exchange, passing
from tests.middleware.calls import responding

SECRET = "a secret of at least 32 bytes, for tests alone"


def names(stack: GuardMiddleware) -> list[str]:
    """The names of a stack's guards."""
    return [guard.name for guard in stack.guards]


def named(name: str, **attributes: Any) -> Does:
    """A guard of that name that asks."""
    return passing(name=name, operations=(COUNT,), **attributes)


def built(app: Starlette) -> Any:
    """What stands inside of Starlette's own outermost middleware."""
    app.middleware_stack = app.build_middleware_stack()
    return app.middleware_stack.app  # type: ignore[attr-defined]


def test_middlewares_added_one_by_one_become_one_stack() -> None:
    redis = RedisManager("memory://")
    app = Starlette()
    app.add_middleware(RateLimitMiddleware, "10/minute", key="user", redis=redis)
    app.add_middleware(GuardMiddleware, [named("own")], redis=redis)
    app.add_middleware(JWTAuthMiddleware, key=SECRET, redis=redis)
    stack = built(app)
    assert names(stack) == ["jwt", "own", "ratelimit"]
    assert repr(stack).startswith("<JWTAuthMiddleware [jwt + own + ratelimit] around <starlette.")
    assert not isinstance(stack.app, GuardMiddleware)


def test_another_middleware_in_between_keeps_them_apart() -> None:
    class Between:
        def __init__(self, app: Any) -> None:
            self.app = app

    app = Starlette()
    app.add_middleware(GuardMiddleware, [named("inner")], redis="memory://")
    app.add_middleware(Between)
    app.add_middleware(GuardMiddleware, [named("outer")], redis="memory://")
    stack = built(app)
    assert names(stack) == ["outer"]
    assert names(stack.app.app) == ["inner"]


def test_the_inner_middleware_is_not_changed() -> None:
    app = responding()
    inner = GuardMiddleware(app, [named("inner")], redis="memory://")
    before = dict(vars(inner))
    outer = GuardMiddleware(inner, [named("outer")], redis="memory://")
    assert vars(inner) == before
    assert names(inner) == ["inner"]
    assert (names(outer), outer.app) == (["outer", "inner"], app)


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        ({"redis": "memory://"}, {"redis": "redis://elsewhere"}),
        ({"redis": "memory://"}, {}),
        ({"redis": RedisManager("memory://")}, {"redis": RedisManager("memory://")}),
        ({"redis": RedisManager("memory://")}, {"redis": "memory://"}),
        ({"hooks": [print]}, {}),
        ({"hooks": [print]}, {"hooks": [repr]}),
        ({"clock": lambda: 1.0}, {}),
    ],
)
def test_what_differs_in_redis_hooks_or_clock_is_not_fused(inner: dict[str, Any], outer: dict[str, Any]) -> None:
    stack = GuardMiddleware(GuardMiddleware(responding(), [named("inner")], **inner), [named("outer")], **outer)
    assert names(stack) == ["outer"]
    assert isinstance(stack.app, GuardMiddleware)


@pytest.mark.parametrize(
    "options", [{}, {"redis": "memory://"}, {"redis": RedisManager("memory://")}, {"hooks": [print]}]
)
def test_what_is_equal_as_it_was_given_is_fused(options: dict[str, Any]) -> None:
    stack = GuardMiddleware(GuardMiddleware(responding(), [named("inner")], **options), [named("outer")], **options)
    assert names(stack) == ["outer", "inner"]


def test_a_subclass_with_a_call_of_its_own_opts_out_and_so_do_its_subclasses() -> None:
    class Traced(GuardMiddleware):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await super().__call__(scope, receive, send)

    class More(Traced):
        pass

    class Plain(GuardMiddleware):
        pass

    for kind, fused in ((Traced, False), (More, False), (Plain, True)):
        for outer, inner in ((kind, GuardMiddleware), (GuardMiddleware, kind)):
            stack = outer(inner(responding(), [named("inner")], redis="memory://"), [named("outer")], redis="memory://")
            assert (names(stack) == ["outer", "inner"]) is fused


def test_a_call_that_a_tracer_has_replaced_does_not_keep_stacks_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    original = GuardMiddleware.__call__

    async def traced(self: GuardMiddleware, scope: Scope, receive: Receive, send: Send) -> None:
        await original(self, scope, receive, send)

    inner = GuardMiddleware(responding(), [named("inner")], redis="memory://")
    monkeypatch.setattr(GuardMiddleware, "__call__", traced)
    assert names(GuardMiddleware(inner, [named("outer")], redis="memory://")) == ["outer", "inner"]


def test_a_stack_prints_its_rounds_and_puts_guards_that_never_ask_in_parentheses() -> None:
    guards = [
        named("sessions", provides=frozenset(["user"])),
        passing(name="local"),
        named("by user", needs=frozenset(["user"])),
        named("last"),
    ]
    stack = GuardMiddleware(responding(), guards, redis="memory://")
    assert repr(stack).startswith("<GuardMiddleware [sessions + (local)] → [by user + last] around <function ")


def test_a_user_known_from_the_token_costs_no_second_round() -> None:
    stack = GuardMiddleware(responding(), [JWTAuth(SECRET), RateLimit("1/second", key="user")], redis="memory://")
    assert repr(stack).startswith("<GuardMiddleware [jwt + ratelimit] around ")


def test_orders_that_are_surely_wrong_are_refused_all_at_once() -> None:
    wrong = [
        named("by user", needs=frozenset(["user"])),
        named("cache", kind="cache", inside=frozenset(["jwt"])),
        named("jwt", kind="jwt", unique=True, provides=frozenset(["user"])),
        named("jwt again", kind="jwt", unique=True, provides=frozenset(["user"])),
    ]
    with pytest.raises(ConfigurationError) as caught:
        GuardMiddleware(responding(), wrong, redis="memory://")
    faults = "\n".join(caught.value.faults)
    assert "jwt stands twice" in faults
    assert "cache stands outside of jwt" in faults
    assert "by user needs user, which only jwt behind it can tell" in faults


def test_what_a_guard_leaves_to_the_app_is_not_needed_behind_it_unless_another_tells() -> None:
    keeping = named("late", withholds={"user": "lazy (GUARD_LAZY)", "tenant": "lazy (GUARD_LAZY)"})
    by_user = named("by user", needs=frozenset(["user", "tenant"]))
    told = named("told", provides=frozenset(["user"]))
    with pytest.raises(ConfigurationError) as caught:
        GuardMiddleware(responding(), [keeping, by_user], redis="memory://")
    both = [f"{by_user!r} needs {need}, which {keeping!r} does not know" for need in ("tenant", "user")]
    assert [words in fault for words, fault in zip(both, caught.value.faults, strict=True)] == [True, True]
    assert all(fault.endswith(": lazy (GUARD_LAZY)") for fault in caught.value.faults)
    for guards in ([keeping, told, by_user], [told, keeping, by_user]):
        with pytest.raises(ConfigurationError, match="needs tenant"):
            GuardMiddleware(responding(), guards, redis="memory://")
    GuardMiddleware(responding(), [by_user, keeping], redis="memory://")


def test_the_order_of_a_fused_stack_is_checked_too() -> None:
    inner = JWTAuthMiddleware(responding(), key=SECRET, redis="memory://")
    with pytest.raises(ConfigurationError, match="twice"):
        JWTAuthMiddleware(inner, key=SECRET, redis="memory://")
    with pytest.raises(ConfigurationError, match="ratelimit needs user"):
        RateLimitMiddleware(inner, "1/second", key="user", redis="memory://")


def test_a_need_that_nobody_in_the_stack_can_meet_is_left_to_the_app() -> None:
    GuardMiddleware(responding(), [named("by tenant", needs=frozenset(["tenant"]))], redis="memory://")


facts = st.frozensets(st.sampled_from("abc"), max_size=2)


@settings(deadline=None)
@given(st.lists(st.tuples(facts, facts, facts), max_size=5))
def test_what_is_printed_are_the_most_rounds_that_a_request_takes(
    plan: list[tuple[frozenset[str], frozenset[str], frozenset[str]]],
) -> None:
    """Each guard has facts that it tells early or late, unless one before it has told them, and needs."""

    def guard(early: frozenset[str], late: frozenset[str], needs: frozenset[str]) -> Does:
        def admit(exchange: Exchange) -> Admission:
            yield Ask([count("a")], dict.fromkeys(early, 1))
            return Pass(dict.fromkeys(early | late, 1))

        return Does(admit, needs=needs, provides=early | late, known_early=early, operations=(COUNT,))

    class Passing(Store):
        def __call__(self, wanted: Any) -> list[int]:
            self.rounds += 1
            return [1, 0] * sum(len(place.kinds) for place in wanted.shape)

    guards: list[Does] = []
    told: frozenset[str] = frozenset()
    for early, late, needs in plan:
        guards.append(guard(early - told, late - early - told, needs))
        told |= early | late
    taken = drive(Admissions(guards, exchange()), Passing()).rounds
    assert taken == len([group for group in rounds_of(guards) if group])


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that nothing comes to."""


@pytest.mark.parametrize(
    "other", [RedisManager("memory://"), "redis://localhost:6379/1", "redis://localhost:6379/0", None]
)
def test_a_stack_that_surely_asks_another_redis_than_the_app_revokes_in_is_refused(
    other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://localhost:6379/3")
    guard = JWTAuth(SECRET, revocation=RevocationList(RedisManager("memory://")))
    with pytest.raises(ConfigurationError, match=r"redis: the stack asks .* was made with memory://.*the same manager"):
        _ = GuardMiddleware(plain, [guard], redis=other).manager


def test_two_prefixes_and_two_databases_are_two_places() -> None:
    for one, two in (
        (RedisManager("redis://a/1"), RedisManager("redis://a/2")),
        (RedisManager("redis://a", prefix="x:"), RedisManager("redis://a")),
    ):
        guard = JWTAuth(SECRET, revocation=RevocationList(one))
        with pytest.raises(ConfigurationError, match="redis: the stack asks"):
            GuardMiddleware(plain, [guard], redis=two)
        GuardMiddleware(plain, [guard], redis=one)


def test_two_addresses_are_warned_of_for_they_may_lead_to_the_same_server(caplog: pytest.LogCaptureFixture) -> None:
    guard = JWTAuth(SECRET, revocation=RevocationList(RedisManager("redis://u:hidden@cache-a.example/0")))
    for _ in range(2):
        GuardMiddleware(plain, [guard], redis=RedisManager("redis://cache-b.example/0"))
    (said,) = caplog.messages
    assert said.startswith("[other-redis] the stack asks redis://cache-b.example:6379/0")
    assert "redis://cache-a.example:6379/0" in said
    assert "hidden" not in said
    GuardMiddleware(plain, [guard], redis=RedisManager("redis://cache-a.example/0"))
    assert len(caplog.messages) == 1


def test_a_guard_in_place_of_a_list_of_guards_is_told() -> None:
    with pytest.raises(ConfigurationError, match="guards: <JWTAuth jwt: HS256> given; allowed is a list of guards"):
        GuardMiddleware(plain, JWTAuth(SECRET))  # type: ignore[arg-type]
