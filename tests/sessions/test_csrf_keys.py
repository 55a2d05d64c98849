"""The ring of keys of `CSRF`: the first signs, all verify, so that a key can be changed while forms are open."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from asgi_redis_guard import CSRF, ConfigurationError, CSRFMiddleware
from tests.drive import App
from tests.sessions.site import KEY, CountingManager, browser, guarded

OLD, NEW = KEY, b"the key after that one, also of enough bytes"

Key = str | bytes | Iterable[str | bytes]


@pytest.fixture
async def redis(backend: str) -> AsyncIterator[CountingManager]:
    """A manager on each kind of server in turn."""
    async with CountingManager(backend) as manager:
        yield manager


class Form:
    """A page that was open before the key was changed: the cookies of its browser and its token."""

    def __init__(self, cookies: Any, token: str) -> None:
        self.cookies, self.token = cookies, token

    @classmethod
    async def shown(cls, redis: CountingManager, key: Key, cookies: Any = None) -> "Form":
        """One that a process with this key has made; of a new session, or of the one with these cookies."""
        async with browser(guarded(redis, key=key)) as alice:
            alice.cookies.update(cookies or {})
            token = (await alice.get("/start")).text
            return cls(dict(alice.cookies), token)

    async def sent(self, redis: CountingManager, key: Key, path: str = "/echo") -> int:
        """The status that a process with this key answers."""
        async with browser(guarded(redis, key=key)) as alice:
            alice.cookies.update(self.cookies)
            return (await alice.post(path, headers={"x-csrf-token": self.token})).status_code


async def test_a_key_can_be_changed_while_forms_are_open(redis: CountingManager) -> None:
    before = await Form.shown(redis, OLD)
    after = await Form.shown(redis, [NEW, OLD], before.cookies)
    assert [await form.sent(redis, [NEW, OLD]) for form in (before, after)] == [200, 200]
    assert [await form.sent(redis, [NEW]) for form in (before, after)] == [403, 200], "the first signs"


async def test_processes_can_be_given_the_new_key_one_after_the_other(redis: CountingManager) -> None:
    for here, there in ((OLD, (OLD, NEW)), ((OLD, NEW), (NEW, OLD)), ((NEW, OLD), NEW)):
        form = await Form.shown(redis, here)
        other = await Form.shown(redis, there, form.cookies)
        assert (await other.sent(redis, here), await form.sent(redis, there)) == (200, 200)


async def test_a_request_that_was_on_its_way_during_a_login_may_show_a_token_of_either_key(
    redis: CountingManager,
) -> None:
    before = await Form.shown(redis, OLD)
    assert await before.sent(redis, (NEW, OLD), "/login") == 200
    assert await before.sent(redis, (NEW, OLD)) == 200
    assert await before.sent(redis, NEW) == 403


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ((), ["none given; at least one is needed"]),
        ("", ["number 1 has 0 bytes; allowed are 16 and more"]),
        ([KEY, "short secret"], ["number 2 has 12 bytes; allowed are 16 and more"]),
        ([KEY, KEY.encode()], ["number 2 is the same as number 1"]),
        (["short secret", KEY, b"short secret"], ["number 1 has 12 bytes", "number 3 has 12 bytes"]),
    ],
)
def test_a_ring_of_keys_that_cannot_work_is_refused_and_none_of_them_told(keys: Any, words: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CSRF(keys)
    assert len(caught.value.faults) == len(words)
    for fault, word in zip(caught.value.faults, words, strict=True):
        assert fault.startswith("key (GUARD_CSRF_KEY, GUARD_CSRF_SECOND_KEY): ")
        assert word in fault
    assert "short secret" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_keys_are_in_no_repr() -> None:
    ring = CSRF([KEY, "another key, of enough bytes"])
    assert repr(ring) == "<CSRF csrf: x-csrf-token>"
    assert CSRFMiddleware(App(), key=(key for key in (KEY, b"k" * 16))).guards
