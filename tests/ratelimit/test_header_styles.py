"""Which header fields a response gets, and who may read them."""

from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, RateLimit
from tests.drive import App, get
from tests.jwt.tokens import NOW
from tests.ratelimit.conftest import Limited
from tests.ratelimit.said import left, times
from tests.ratelimit.structured import parse_list

HOUR: dict[str, Any] = {"algorithm": "fixed"}
OURS = ("ratelimit", "retry-after", "x-ratelimit")


def ours(response: Any) -> list[str]:
    return [name.decode() for name, _ in response.headers if name.decode().startswith(OURS)]


@pytest.mark.parametrize(
    ("draft", "names"),
    [
        ("11", ["ratelimit-policy", "ratelimit"]),
        ("next", ["ratelimit-policy", "ratelimit"]),
        ("06", ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]),
        ("none", []),
    ],
)
@pytest.mark.parametrize("legacy", [False, True, "seconds", "epoch"])
async def test_each_draft_has_its_fields_and_a_refusal_retry_after(
    limited: Limited, draft: Any, names: list[str], legacy: Any
) -> None:
    app = limited(RateLimit("2/hour", draft=draft, legacy_headers=legacy, **HOUR), clock=lambda: NOW)
    older = ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] if legacy else []
    for _ in range(2):
        assert ours(await get(app)) == names + older
    refused = await get(app)
    assert ours(refused) == [*names, "retry-after", *older]
    assert refused.json()["violated-policies"] == ["hour"]


async def test_the_next_draft_has_other_names_for_the_same(limited: Limited) -> None:
    app = limited(RateLimit("2/hour", draft="next", **HOUR))
    response = await get(app)
    assert parse_list(response["ratelimit"])[0][1].keys() == {"a", "w"}
    assert parse_list(response["ratelimit"])[0][1]["a"] == 1
    assert response["ratelimit-policy"] == '"hour";q=2;w=3600'


async def test_the_sixth_draft_speaks_of_the_tightest_limit(limited: Limited) -> None:
    app = limited(RateLimit("9/minute", "2/hour", draft="06", **HOUR))
    for remaining in ("1", "0", "0"):
        response = await get(app)
        assert (response["ratelimit-limit"], response["ratelimit-remaining"]) == ("2", remaining)
        assert 3500 < int(response["ratelimit-reset"]) <= 3600
    assert response["retry-after"] == response["ratelimit-reset"]


@pytest.mark.parametrize(("legacy", "base"), [("seconds", 0), (True, 0), ("epoch", int(NOW))])
async def test_the_older_reset_is_in_seconds_or_since_the_epoch(limited: Limited, legacy: Any, base: int) -> None:
    app = limited(RateLimit("2/hour", legacy_headers=legacy, **HOUR), clock=lambda: NOW)
    for _ in range(3):
        response = await get(app)
        assert base + 3500 < int(response["x-ratelimit-reset"]) <= base + 3600
    assert int(response["x-ratelimit-reset"]) == base + int(response["retry-after"])


@pytest.mark.parametrize("wrong", [{"draft": 11}, {"draft": "7"}, {"legacy_headers": "iso"}, {"draft": None}])
def test_styles_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"{next(iter(wrong))}: .* given; allowed are"):
        RateLimit("1/hour", **wrong)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_a_redirect_gets_none(limited: Limited, status: int) -> None:
    app = limited(RateLimit("9/hour", legacy_headers=True), app=App(status, [(b"location", b"/x")], b""))
    response = await get(app, headers={"origin": "https://a"})
    assert (ours(response), response.all("access-control-expose-headers")) == ([], [])


@pytest.mark.parametrize("status", [200, 204, 304, 404, 500])
async def test_every_other_response_gets_them(limited: Limited, status: int) -> None:
    app = limited(RateLimit("9/hour"), app=App(status, [], b""))
    assert ours(await get(app)) == ["ratelimit-policy", "ratelimit"]


@pytest.mark.parametrize("age", [b"0", b"17"])
async def test_a_response_from_a_cache_gets_none(limited: Limited, age: bytes) -> None:
    app = limited(RateLimit("9/hour"), app=App(200, [(b"age", age)]))
    assert ours(await get(app)) == []


BROWSER = {"origin": "https://app.example"}


@pytest.mark.parametrize(
    ("present", "exposed"),
    [
        ([], "ratelimit-policy, ratelimit"),
        ([b"x-total"], "x-total, ratelimit-policy, ratelimit"),
        ([b"X-Total, RateLimit"], "X-Total, RateLimit, ratelimit-policy"),
        ([b"RateLimit , RATELIMIT-POLICY"], "RateLimit , RATELIMIT-POLICY"),
        ([b"*"], "*"),
        ([b"x, *"], "x, *"),
    ],
)
async def test_a_browser_s_script_may_read_them_beside_what_the_app_exposes(
    limited: Limited, present: list[bytes], exposed: str
) -> None:
    app = limited(RateLimit("9/hour"), app=App(200, [(b"access-control-expose-headers", one) for one in present]))
    assert (await get(app, headers=BROWSER))["access-control-expose-headers"] == exposed


async def test_nobody_else_is_told_what_a_script_may_read(limited: Limited) -> None:
    assert not (await get(limited(RateLimit("9/hour")))).all("access-control-expose-headers")
    hidden = limited(RateLimit("9/hour", expose_headers=False))
    assert not (await get(hidden, headers=BROWSER)).all("access-control-expose-headers")


async def test_a_script_may_read_a_refusal_too(limited: Limited) -> None:
    """Trap 15: how long to wait is of use to nobody else. A refusal from memory is the same."""
    app = limited(RateLimit("1/hour"))
    await get(app, headers=BROWSER)
    for _ in range(3):
        refused = await get(app, headers=BROWSER)
        assert refused.status == 429
        assert refused["access-control-expose-headers"] == "ratelimit-policy, ratelimit, retry-after"
    assert not (await get(app)).all("access-control-expose-headers")


async def test_several_guards_expose_their_fields_in_one_list(limited: Limited) -> None:
    guards = [RateLimit("9/hour", name="outer", legacy_headers=True), RateLimit("1/hour", name="inner")]
    app = limited(*guards)
    await get(app, headers=BROWSER)
    refused = await get(app, headers=BROWSER)
    exposed = refused["access-control-expose-headers"].split(", ")
    assert sorted(exposed) == sorted({*ours(refused)})


async def test_policies_of_several_guards_are_joined_outside_in_front(limited: Limited) -> None:
    guards = [RateLimit(f"{10 + number}/hour", name=name, **HOUR) for number, name in enumerate("abc")]
    response = await get(limited(*guards))
    assert response["ratelimit-policy"] == '"a";q=10;w=3600, "b";q=11;w=3600, "c";q=12;w=3600'
    assert left(response) == {"a": 9, "b": 10, "c": 11}


async def test_a_head_and_a_websocket_get_them_too(limited: Limited) -> None:
    from tests.drive import handshake

    app = limited(RateLimit("1/hour", draft="06", legacy_headers=True))
    response = await handshake(app)
    assert (response.status, len(ours(response))) == (101, 6)
    refused = await handshake(app)
    assert (refused.status, len(ours(refused))) == (429, 7)
    assert len(ours(await get(app, method="HEAD"))) == 7


async def test_a_refusal_is_a_problem_that_names_what_was_violated_and_is_not_stored(limited: Limited) -> None:
    app = limited(RateLimit("1/minute", "1/hour", "9/day", name="api", **HOUR))
    await times(app, 1)
    refused = await get(app)
    assert refused["cache-control"] == "no-store"
    assert refused["content-type"] == "application/problem+json"
    assert refused.json()["violated-policies"] == ["api-minute", "api-hour"]
    assert [name for name, _ in parse_list(refused["ratelimit"])] == ["api-minute", "api-hour"]
    assert int(refused["retry-after"]) == max(state["t"] for _, state in parse_list(refused["ratelimit"]))
