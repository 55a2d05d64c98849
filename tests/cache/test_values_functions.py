"""`@cache.cached` on plain functions: one key for each call that differs, and none for what has no key."""

import inspect
import threading
from datetime import date
from enum import Enum, IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard import Cache, ConfigurationError
from asgi_redis_guard.core.arguments import call_key, key_of


class Color(Enum):
    RED = 1


class Number(IntEnum):
    ONE = 1


async def test_what_a_function_returned_is_returned_for_the_same_arguments(cache: Cache) -> None:
    calls: list[Any] = []

    @cache.cached(60)
    async def add(one: int, other: int = 2, *more: int, scale: int = 1) -> int:
        """Add them."""
        calls.append((one, other, more, scale))
        return (one + other + sum(more)) * scale

    assert [await add(1), await add(one=1), await add(1, 2), await add(1, scale=1, other=2)] == [3] * 4
    assert calls == [(1, 2, (), 1)]
    assert (await add(1, 2, 3), await add(1, scale=2)) == (6, 6)
    assert len(calls) == 3
    assert (add.__name__, add.__doc__, str(inspect.signature(add))) == (  # type: ignore[attr-defined]
        "add",
        "Add them.",
        "(one: int, other: int = 2, *more: int, scale: int = 1) -> int",
    )
    assert inspect.iscoroutinefunction(add)
    with pytest.raises(TypeError, match="missing a required argument"):
        await add()  # type: ignore[call-arg]


async def test_a_plain_function_is_awaited_and_runs_in_a_thread(cache: Cache) -> None:
    @cache.cached()
    def where(_: int) -> int:
        return threading.get_ident()

    first = await where(1)
    assert first != threading.get_ident()
    assert await where(1) == first


async def test_arguments_of_other_types_are_other_calls(cache: Cache) -> None:
    @cache.cached()
    async def told(value: Any) -> str:
        return repr(value)

    values = [
        1,
        "1",
        True,
        1.0,
        b"1",
        None,
        "None",
        (1,),
        [1],
        ["1"],
        {1},
        {"a": 1},
        {"a": "1"},
        Color.RED,
        Number.ONE,
        int,
    ]
    values += [0.0, -0.0, date(2026, 1, 2), "2026-01-02", [], (), "", [[1], 2], [[1, 2]]]
    for _ in range(2):
        assert [await told(value) for value in values] == [repr(value) for value in values]


KEYED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.dates(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(KEYED, KEYED)
def test_two_values_share_a_key_only_if_they_are_the_same(one: Any, other: Any) -> None:
    assert (key_of(one) == key_of(other)) == (repr(_ordered(one)) == repr(_ordered(other)))


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {"dict": sorted((key, repr(_ordered(item))) for key, item in value.items())}
    if isinstance(value, list | tuple):
        return type(value)(_ordered(item) for item in value)
    return value


@given(st.dictionaries(st.sampled_from("abc"), st.text() | st.integers()), st.text(), st.text())
def test_a_function_s_name_and_its_arguments_never_run_into_each_other(values: Any, one: str, other: str) -> None:
    assert (call_key(one, values | {"d": other}) == call_key(one, values | {"d": one})) == (one == other)


class Thing:
    pass


@pytest.mark.parametrize("wrong", [Thing(), object, lambda: 1, [Thing()], {"a": Thing()}, iter([])])
async def test_arguments_that_have_no_key_are_refused_by_name(cache: Cache, wrong: Any) -> None:
    @cache.cached()
    async def told(value: Any) -> str:
        return "told"

    if wrong is object:
        assert await told(wrong) == "told", "a type has a name"
        return
    with pytest.raises(TypeError, match=r"told\(value=…\): a .* makes no key; .* Others need key="):
        await told(wrong)


async def test_a_function_of_the_app_may_make_the_key(cache: Cache) -> None:
    class Repository:
        def __init__(self, name: str) -> None:
            self.name = name

        @cache.cached(key=lambda self, id: f"{self.name}:{id}", tags=["item:{id}"])
        async def load(self, id: int) -> str:
            return f"{self.name} {id}"

        @classmethod
        @cache.cached()
        async def kind(cls) -> str:
            return cls.__name__

    one, other = Repository("one"), Repository("other")
    assert [await one.load(1), await other.load(1), await one.load(2)] == ["one 1", "other 1", "one 2"]
    one.name, other.name = other.name, one.name
    assert [await one.load(1), await other.load(1)] == ["other 1", "one 1"]

    @cache.cached(key=lambda: 1)  # type: ignore[return-value, arg-type]
    async def wrong() -> None: ...

    with pytest.raises(TypeError, match="key= returned int"):
        await wrong()


def test_what_cannot_work_is_told_at_the_decorator() -> None:
    cache = Cache("memory://")

    def generator() -> Any:
        yield 1

    class Repository:
        async def load(self) -> None: ...

    async def plain(id: int) -> None: ...

    for decorate, said in (
        (lambda: cache.cached()(generator), "is a generator"),
        (lambda: cache.cached()(Repository.load), "key: none given for the method .*Repository.load"),
        (lambda: cache.cached()(Repository), "allowed is a function"),
        (lambda: cache.cached(tags=["item:{other}"])(plain), "wants other; there are values of id"),
        (lambda: cache.cached(0), "ttl: 0 given"),
        (lambda: cache.cached(plain), "given without parentheses"),  # type: ignore[arg-type]
        (lambda: cache.cached(namespace=""), "namespace: '' given"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            decorate()


async def test_results_are_invalidated_by_arguments_by_tags_and_by_namespace(caches: tuple[Cache, Cache]) -> None:
    cache, other = caches
    calls = 0

    @cache.cached(tags=("item:{id}", "all"), namespace="items")
    async def load(id: int) -> int:
        nonlocal calls
        calls += 1
        return calls

    assert [await load(1), await load(2), await load(1)] == [1, 2, 1]
    await load.invalidate(id=1)
    assert [await load(1), await load(2)] == [3, 2]
    await other.invalidate(["item:2"])
    assert [await load(1), await load(2)] == [3, 4]
    await other.invalidate(["all"])
    assert [await load(1), await load(2)] == [5, 6]
    await other.clear_namespace()
    assert [await load(1), await load(2)] == [5, 6]
    await other.clear_namespace("items")
    assert [await load(1), await load(2)] == [7, 8]


async def test_refresh_calls_the_function_and_keeps_what_it_returns(cache: Cache) -> None:
    calls = 0

    @cache.cached()
    def count() -> int:
        nonlocal calls
        calls += 1
        return calls

    assert [await count(), await count(), await count.refresh(), await count()] == [1, 1, 2, 2]


async def test_two_functions_of_one_cache_do_not_share_their_results(cache: Cache) -> None:
    def make(number: int) -> Any:
        async def told(value: int) -> int:
            return number * value

        told.__qualname__ = f"told_{number}"
        return cache.cached()(told)

    assert [await make(2)(3), await make(3)(3), await make(2)(3)] == [6, 9, 6]
    await cache.set("told", 1)
    assert await make(2)(3) == 6
