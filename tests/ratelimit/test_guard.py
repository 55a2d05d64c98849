"""`RateLimit` in front of an app: how many get through, and what the others are told."""

from typing import Any

import pytest

from asgi_redis_guard import Answer, Exchange, RateLimit
from asgi_redis_guard.errors import ConfigurationError
from tests.drive import App, get, handshake
from tests.ratelimit.conftest import CountingManager, Limited
from tests.ratelimit.structured import parse_list

ALGORITHMS = ["gcra", "fixed", "counter", "log"]


async def statuses(app: Any, count: int, *args: Any, **options: Any) -> list[int]:
    return [(await get(app, *args, **options)).status for _ in range(count)]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_so_many_get_through_and_no_more(
    limited: Limited, inner: App, manager: CountingManager, algorithm: Any
) -> None:
    app = limited(RateLimit("3/hour", algorithm=algorithm))
    assert await statuses(app, 5) == [200, 200, 200, 429, 429]
    assert len(inner.scopes) == 3
    assert manager.round_trips == 4, "who was refused is refused again without asking"


@pytest.mark.parametrize(
    ("algorithm", "windows"),
    [("gcra", [600, 1200]), ("fixed", [3600, 3600]), ("counter", [7200, 7200]), ("log", [3600, 3600])],
)
async def test_every_response_tells_what_is_left(limited: Limited, algorithm: Any, windows: list[int]) -> None:
    app = limited(RateLimit("6/hour", algorithm=algorithm))
    for place, window in enumerate(windows):
        response = await get(app)
        assert response["ratelimit-policy"] == '"hour";q=6;w=3600'
        ((name, state),) = parse_list(response["ratelimit"])
        assert (name, state["r"]) == ("hour", 5 - place)
        assert window - 60 < state["t"] <= window
        assert not response.all("retry-after")
        assert not response.all("x-ratelimit-limit")


@pytest.mark.parametrize(("algorithm", "wait"), [("gcra", 1800), ("fixed", 3600), ("counter", 5400), ("log", 3600)])
async def test_a_refusal_tells_when_to_come_back(limited: Limited, algorithm: Any, wait: int) -> None:
    app = limited(RateLimit("2/hour", algorithm=algorithm))
    assert await statuses(app, 2) == [200, 200]
    response = await get(app)
    ((name, state),) = parse_list(response["ratelimit"])
    assert (name, state["r"]) == ("hour", 0)
    assert response["retry-after"] == str(state["t"])
    assert wait - 60 < state["t"] <= wait
    assert response["content-type"] == "application/problem+json"
    assert response["cache-control"] == "no-store"
    assert response.json() == {
        "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "The request exceeds a rate limit; retry after the time given.",
        "violated-policies": ["hour"],
    }


async def test_a_burst_may_come_at_once_and_the_rest_evenly(limited: Limited) -> None:
    app = limited(RateLimit("60/hour", burst=2))
    assert await statuses(app, 3) == [200, 200, 429]
    refused = await get(app)
    assert refused["ratelimit-policy"] == '"hour";q=60;w=3600'
    assert 0 < int(refused["retry-after"]) <= 60


async def test_a_refusal_by_one_of_several_limits_consumes_nothing(limited: Limited) -> None:
    app = limited(RateLimit("1/minute", "3/hour", algorithm="fixed", name="both"))
    first = await get(app)
    assert parse_list(first["ratelimit"])[1] == ("both-hour", {"r": 2, "t": 3600})
    for _ in range(9):
        refused = await get(app)
        assert refused.status == 429
        assert refused.json()["violated-policies"] == ["both-minute"]
        assert [name for name, _ in parse_list(refused["ratelimit"])] == ["both-minute"]
        assert len(parse_list(refused["ratelimit-policy"])) == 2
    hour = limited(RateLimit("3/hour", "9/day", algorithm="fixed", name="both"))
    assert parse_list((await get(hour))["ratelimit"])[0][1]["r"] == 1


async def test_clients_are_counted_apart(limited: Limited) -> None:
    app = limited(RateLimit("1/hour"))
    assert await statuses(app, 2) == [200, 429]
    assert await statuses(app, 2, client=("198.51.100.9", 1)) == [200, 429]
    assert await statuses(app, 1, headers={"x-forwarded-for": "192.0.2.1"}) == [429]


@pytest.mark.parametrize("nobody", [None, ("", 0), ("unix:", 0)])
async def test_who_cannot_be_told_is_refused_or_allowed(
    limited: Limited, manager: CountingManager, nobody: Any
) -> None:
    response = await get(limited(RateLimit("1/hour")), client=nobody)
    assert (response.status, response["content-type"]) == (400, "application/problem+json")
    assert await statuses(limited(RateLimit("1/hour", unidentified="allow")), 3, client=nobody) == [200] * 3
    assert manager.round_trips == 0
    with_key = limited(RateLimit("1/hour", key="header:x-key"))
    assert await statuses(with_key, 1) == [400]
    assert await statuses(with_key, 2, headers={"x-key": "a"}) == [200, 429]


async def test_exempt_paths_and_preflights_are_not_counted(limited: Limited, manager: CountingManager) -> None:
    app = limited(RateLimit("1/hour", exempt=["/health", "/static/*"]))
    assert await statuses(app, 3, "/health") == await statuses(app, 3, "/static/a") == [200] * 3
    preflight = {"origin": "https://a", "access-control-request-method": "PUT"}
    assert await statuses(app, 3, "/", preflight, method="OPTIONS") == [200] * 3
    assert manager.round_trips == 0
    assert await statuses(app, 2, "/static/../x") == [200, 429]
    counted = limited(RateLimit("1/hour", name="all", exempt_preflight=False))
    assert await statuses(counted, 2, "/", preflight, method="OPTIONS") == [200, 429]


async def test_only_the_paths_that_are_named_are_counted(limited: Limited, manager: CountingManager) -> None:
    app = limited(RateLimit("2/hour", paths=["/login", "/reset/*"]))
    assert await statuses(app, 5, "/") == [200] * 5
    assert manager.round_trips == 0
    assert not (await get(app, "/")).all("ratelimit")
    assert [(await get(app, path)).status for path in ("/login", "/reset/a", "/reset/b", "/login")] == [
        200,
        200,
        429,
        429,
    ]


async def test_each_pattern_can_have_a_count_of_its_own(limited: Limited) -> None:
    app = limited(RateLimit("1/hour", key=["path", "address"], paths=["/a/*", "/b/*"]))
    assert [(await get(app, path)).status for path in ("/a/1", "/a/2", "/b/1", "/b/2")] == [200, 429, 200, 429]


@pytest.mark.parametrize("inside_out", [False, True])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_tight_limit_on_one_path_and_a_wide_one_on_all_do_not_disturb_each_other(
    limited: Limited, algorithm: Any, inside_out: bool
) -> None:
    """In either order: they have the same key, period and algorithm, and neither has a name."""
    tight, wide = RateLimit("2/hour", paths=["/login"], algorithm=algorithm), RateLimit("9/hour", algorithm=algorithm)
    app = limited(*((wide, tight) if inside_out else (tight, wide)))
    assert await statuses(app, 4, "/") == [200] * 4
    assert await statuses(app, 4, "/login") == [200, 200, 429, 429]
    assert await statuses(app, 4, "/") == [200, 200, 200, 429]


async def test_the_older_fields_are_sent_where_they_are_wanted(limited: Limited) -> None:
    app = limited(RateLimit("2/hour", algorithm="fixed", legacy_headers=True))
    for remaining in ("1", "0", "0"):
        response = await get(app)
        assert (response["x-ratelimit-limit"], response["x-ratelimit-remaining"]) == ("2", remaining)
        assert 3540 < int(response["x-ratelimit-reset"]) <= 3600
    assert response["retry-after"] == response["x-ratelimit-reset"]


async def test_the_app_can_answer_in_its_own_words(limited: Limited) -> None:
    def on_refused(exchange: Exchange, answer: Answer) -> Answer:
        assert (answer.status, answer.reason) == (429, "rate_limited")
        return Answer(
            420, [*answer.headers[3:], (b"content-type", b"text/plain")], exchange.path.encode(), reason="calm"
        )

    app = limited(RateLimit("1/hour", on_refused=on_refused))
    await get(app)
    response = await get(app, "/calm")
    assert (response.status, response.body, response["content-type"]) == (420, b"/calm", "text/plain")
    assert response["retry-after"]


@pytest.mark.parametrize(("denial", "status"), [(True, 429), (False, 403)])
async def test_a_websocket_is_counted_and_refused_before_it_is_accepted(
    limited: Limited, inner: App, denial: bool, status: int
) -> None:
    app = limited(RateLimit("1/hour"))
    accepted = await handshake(app, denial=denial)
    assert (accepted.status, accepted["ratelimit-policy"]) == (101, '"hour";q=1;w=3600')
    refused = await handshake(app, denial=denial)
    assert refused.status == status
    if denial:
        assert refused["retry-after"]
    assert len(inner.scopes) == 1


async def test_another_amount_keeps_what_was_used(limited: Limited) -> None:
    assert await statuses(limited(RateLimit("5/hour", algorithm="fixed")), 4) == [200] * 4
    assert await statuses(limited(RateLimit("3/hour", algorithm="fixed")), 1) == [429]
    assert await statuses(limited(RateLimit("6/hour", algorithm="fixed")), 3) == [200, 200, 429]


async def test_apps_that_give_a_limit_the_same_name_share_its_count(limited: Limited) -> None:
    one, other = (
        limited(RateLimit("3/hour", name="api")),
        limited(RateLimit("3/hour", name="api", exempt=["/x"]), app=App()),
    )
    assert [*await statuses(one, 2), *await statuses(other, 2), *await statuses(one, 1)] == [200, 200, 200, 429, 429]
    assert await statuses(limited(RateLimit("3/hour", name="web")), 1) == [200]


def test_options_that_cannot_work_are_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        RateLimit("5/minute", on_outage="pray", unidentified="maybe", local_keys=0)  # type: ignore[arg-type]
    assert [fault.partition(" ")[0].strip(":") for fault in caught.value.faults] == [
        "on_outage",
        "unidentified",
        "local_keys",
    ]
    for wrong in ({"exempt": ["x"]}, {"paths": ["a*"]}, {"trusted_proxies": ["x"]}, {"key": "ip"}):
        with pytest.raises(ConfigurationError):
            RateLimit("5/minute", **wrong)  # type: ignore[arg-type]


def test_the_repr_tells_the_limits_and_whose_they_are() -> None:
    assert repr(RateLimit("5/minute", "9/hour", key=["user", "path"], name="api")) == (
        "<RateLimit api: 5 per 60 s, 9 per 3600 s by user, path>"
    )


async def test_a_request_takes_as_many_units_as_it_costs(limited: Limited, manager: CountingManager) -> None:
    app = limited(RateLimit("10/hour", cost=lambda exchange: int(exchange.header(b"x-units") or b"1")))
    said = [await get(app, headers={"x-units": units}) for units in ("4", "0", "7", "6", "1")]
    assert [response.status for response in said] == [200, 200, 429, 200, 429]
    assert [parse_list(response["ratelimit"])[0][1]["r"] for response in said] == [6, 6, 6, 0, 0]
    assert manager.round_trips == 5


@pytest.mark.parametrize("cost", [-1, 1.0, True, "1", None, 1_000_000_001])
async def test_a_cost_that_is_none_is_refused(limited: Limited, cost: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"cost: .* allowed are whole numbers from 0 to 1000000000"):
        RateLimit("10/hour", cost=cost)
    with pytest.raises(ConfigurationError, match="cost: "):
        await get(limited(RateLimit("10/hour", cost=lambda exchange: cost)))
