"""Calendar quotas in front of an app: whose day it is, what stands in headers, what is refused where it is written."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from asgi_redis_guard import ConfigurationError, GuardMiddleware, RateLimit, RedisManager
from asgi_redis_guard.ratelimit.calendar import borders
from tests.drive import App, get
from tests.ratelimit.said import left, times
from tests.ratelimit.structured import parse_list


def quota(*limits: str, **options: Any) -> RateLimit:
    return RateLimit(*limits, algorithm="calendar", **options)


async def test_units_are_counted_to_the_end_of_their_period(redis: RedisManager) -> None:
    app = GuardMiddleware(App(), [quota("3/hour", "5/day", "9/month", "99/year", timezone="Asia/Tokyo")], redis=redis)
    said = [await get(app) for _ in range(4)]
    assert [one.status for one in said] == [200, 200, 200, 429]
    assert left(said[2]) == {"hour": 0, "day": 2, "month": 6, "year": 96}
    assert left(said[3]) == {"hour": 0}
    assert int(said[3]["retry-after"]) <= 3600
    for key in await redis.execute("KEYS", "guard:l:*"):
        assert 0 < await redis.execute("PTTL", key) <= 366 * 86_400_000


async def test_the_reset_is_the_end_of_the_day_where_the_quota_is_for(redis: RedisManager) -> None:
    for zone in ("UTC", "Pacific/Kiritimati", "America/St_Johns"):
        app = GuardMiddleware(App(), [quota("3/day", timezone=zone, name=zone.replace("/", "."))], redis=redis)
        ((_, state),) = parse_list((await get(app))["ratelimit"])
        now = datetime.now(UTC).timestamp()
        _, end, _ = borders("day", ZoneInfo(zone), now)
        assert abs(state["t"] - (end / 1_000_000 - now)) < 60


async def test_zones_do_not_share_their_counts(redis: RedisManager) -> None:
    apps = [
        GuardMiddleware(App(), [quota("1/day", timezone=zone)], redis=redis) for zone in ("UTC", "Asia/Kathmandu", None)
    ]
    assert [await times(app, 1) for app in apps] == [[200], [200], [429]], "where none is named it is UTC"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"timezone": "Mars/Olympus"}, "timezone: 'Mars/Olympus' given"),
        ({"timezone": ""}, "timezone: '' given"),
        ({"timezone": "../../etc/passwd"}, "timezone: "),
        ({"timezone": "UTC", "algorithm": "fixed"}, "timezone: given with algorithm 'fixed'"),
        ({"burst": 2}, "burst: given with algorithm 'calendar'"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RateLimit("1/day", **{"algorithm": "calendar", **options})
    assert any(fault.startswith(told) for fault in caught.value.faults), caught.value.faults


@pytest.mark.parametrize("limit", ["1/minute", "1/second", "1 per 2 days", "2/week"])
def test_periods_that_no_calendar_has_are_refused(limit: str) -> None:
    with pytest.raises(ConfigurationError, match=r"limits \(GUARD_LIMITS\)"):
        quota(limit)


def test_the_day_that_the_clocks_are_changed_is_longer_or_shorter() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    for day, hours in ((datetime(2026, 3, 29, 12, tzinfo=berlin), 23), (datetime(2026, 10, 25, 12, tzinfo=berlin), 25)):
        begun, end, _ = borders("day", berlin, day.timestamp())
        assert end - begun == hours * 3_600_000_000


async def test_a_process_whose_clock_is_wrong_counts_in_the_same_period(redis: RedisManager) -> None:
    """The server's clock tells; the app's only says which borders to send along."""
    now = datetime.now(UTC).timestamp()
    apps = [
        GuardMiddleware(App(), [quota("2/day", deny_cache=0)], redis=redis, clock=lambda off=off: now + off)  # type: ignore[misc]
        for off in (0, 86_400, -86_400, 40 * 86_400, -40 * 86_400, 0)
    ]
    assert [(await times(app, 1))[0] for app in apps] == [200, 200, 429, 429, 429, 429]
