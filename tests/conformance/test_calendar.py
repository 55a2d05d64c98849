"""Calendar quotas in the time zones of the world: when periods end, and that nothing else resets them.

The model walks through local time by quarters of an hour; no other knowledge of zones is shared with the code.
"""

import random
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.core.keys import digest
from asgi_redis_guard.core.script import Operation
from asgi_redis_guard.ratelimit.calendar import UNITS, borders
from asgi_redis_guard.ratelimit.policy import Limit
from tests.conformance.clockwork import PASSED, STOPPED, Clockwork
from tests.conformance.models import Calendar
from tests.conformance.operations import KEYS, SECOND

DAY, QUARTER = 86_400, 900  # s
SHORTEST = 22 * 3600  # the shortest day of any zone: further off, a clock may be two periods away
ZONES = sorted(name for name in available_timezones() if "/" in name and not name.startswith(("posix", "right")))

#: Half hours, quarters, midnights that do not exist or come twice, dates that came twice, and the ends of the world.
ODD = [
    "America/Havana", "Asia/Beirut", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Chatham",
    "America/St_Johns", "America/Santiago", "America/Asuncion", "Asia/Gaza", "Africa/Cairo", "America/Nuuk",
    "Atlantic/Azores", "Pacific/Kiritimati", "Etc/GMT+12", "Antarctica/Troll", "Europe/Berlin", "UTC",
]  # fmt: skip

NEVER = ["Asia/Kolkata", "Asia/Kathmandu", "Pacific/Kiritimati", "Etc/GMT+12", "UTC"]  # they change

times = st.integers(1_325_376_000, 2_114_380_800)  # the years 2012 to 2036
zones = st.sampled_from([*ZONES, *ODD * 10])


def name_of(unit: str, zone: ZoneInfo, moment: int) -> Any:
    """What the calendar on the wall says of a moment (s); hours that come twice are two."""
    local = datetime.fromtimestamp(moment, zone)
    parts = {"year": 1, "month": 2, "day": 3, "hour": 4}[unit]
    return (*local.timetuple()[:parts], local.utcoffset() if unit == "hour" else None)


@cache
def end_of(unit: str, zone: ZoneInfo, quarter: int) -> int:
    """The first moment (s) with another name: by days as far as the name is the same, then by quarters."""
    moment, name = quarter * QUARTER, name_of(unit, zone, quarter * QUARTER)
    for step in (28 * DAY, DAY, QUARTER):
        while name_of(unit, zone, moment + step) == name:
            moment += step
    return moment + QUARTER


def begin_of(unit: str, zone: ZoneInfo, moment: int) -> int:
    """The first moment (s) of the same name."""
    moment -= moment % QUARTER
    name = name_of(unit, zone, moment)
    for step in (28 * DAY, DAY, QUARTER):
        while name_of(unit, zone, moment - step) == name:
            moment -= step
    return moment


def walked(unit: str, zone: ZoneInfo, moment: int) -> tuple[int, int, int]:
    end = end_of(unit, zone, moment // QUARTER)
    return begin_of(unit, zone, moment), end, end_of(unit, zone, end // QUARTER)


def in_seconds(unit: str, zone: ZoneInfo, moment: float) -> tuple[int, ...]:
    return tuple(border // SECOND for border in borders(unit, zone, moment))


def offset(zone: ZoneInfo, moment: int) -> timedelta:
    return datetime.fromtimestamp(moment, zone).utcoffset() or timedelta()


@given(unit=st.sampled_from(["day", "month", "year"]), name=zones, moment=times)
def test_periods_begin_and_end_where_the_date_on_the_wall_changes(unit: str, name: str, moment: int) -> None:
    zone = ZoneInfo(name)
    first, second, third = in_seconds(unit, zone, moment)
    assert first <= moment < second < third
    begin, *ends = walked(unit, zone, moment)
    assert [second, third] == ends
    assert first == begin


@pytest.mark.parametrize("name", ODD)
def test_they_do_so_wherever_the_clocks_change(name: str) -> None:
    """Each quarter of an hour around all changes of 25 years."""
    zone, changes = ZoneInfo(name), 0
    for day in range(1_325_376_000, 2_114_380_800, DAY):
        if offset(zone, day) == offset(zone, day + DAY):
            continue
        changes += 1
        for moment in range(day - DAY // 8, day + DAY + DAY // 8, QUARTER):
            first, *ends = in_seconds("day", zone, moment)
            begin, *walked_ends = walked("day", zone, moment)
            assert ends == walked_ends
            assert first == begin
    assert changes > 20 or name in NEVER


@given(name=zones, moment=times)
def test_an_hour_ends_within_an_hour_at_a_full_one_of_the_wall(name: str, moment: int) -> None:
    """An hour in which the clocks change by half of one is as long as others."""
    zone = ZoneInfo(name)
    first, second, third = in_seconds("hour", zone, moment)
    assert first <= moment < second
    assert (second - first, third - second) == (3600, 3600)
    begun = datetime.fromtimestamp(moment, UTC) + offset(zone, moment)
    assert (moment - first) == begun.minute * 60 + begun.second


@given(unit=st.sampled_from([*UNITS]), name=zones, moment=times)
def test_one_period_follows_the_other(unit: str, name: str, moment: int) -> None:
    """Where clocks change by half an hour, as at Lord Howe, one hour overlaps with another."""
    zone = ZoneInfo(name)
    _, second, third = borders(unit, zone, moment)
    if unit != "hour" or offset(zone, moment) == offset(zone, third // SECOND):
        assert borders(unit, zone, second / SECOND)[:2] == (second, third)
    assert borders(unit, zone, (second - 1) / SECOND)[1:] == (second, third)


def test_a_day_whose_midnight_comes_twice_begins_with_the_first() -> None:
    for moment in (1_793_505_600, 1_793_505_600 + 4500):  # 2026-11-01T04:00Z, and 00:15 by the wall the second time
        assert in_seconds("day", ZoneInfo("America/Havana"), moment)[0] == 1_793_505_600


@pytest.mark.parametrize(
    ("zone", "unit", "moment", "ends"),
    [
        ("America/Havana", "day", "2026-03-07T22:00-05:00", "2026-03-08T05:00+00:00"),  # 00:00 is skipped
        ("America/Havana", "day", "2026-10-31T23:00-04:00", "2026-11-01T04:00+00:00"),  # 00:00 comes twice
        ("America/Havana", "day", "2026-11-01T00:30-05:00", "2026-11-02T05:00+00:00"),
        ("Asia/Beirut", "day", "2026-03-28T23:00+02:00", "2026-03-28T22:00+00:00"),  # 00:00 is skipped
        ("Asia/Beirut", "day", "2026-10-24T23:30+03:00", "2026-10-24T22:00+00:00"),  # 23:00 comes twice
        ("Europe/Berlin", "day", "2026-03-29T01:00+01:00", "2026-03-29T22:00+00:00"),  # of 23 hours
        ("Europe/Berlin", "month", "2026-10-31T23:59+01:00", "2026-10-31T23:00+00:00"),
        ("Asia/Kolkata", "hour", "2026-01-01T10:59+05:30", "2026-01-01T05:30+00:00"),
        ("Asia/Kathmandu", "year", "2026-12-31T23:59+05:45", "2026-12-31T18:15+00:00"),
        ("UTC", "month", "2028-02-29T12:00+00:00", "2028-03-01T00:00+00:00"),
    ],
)
async def test_a_quota_is_whole_again_at_local_midnight(
    clockwork: Clockwork, zone: str, unit: str, moment: str, ends: str
) -> None:
    now, border = (round(datetime.fromisoformat(time).timestamp()) for time in (moment, ends))
    quota = Quota(3, unit, zone)
    assert [(await clockwork.one(now * SECOND, quota.take(now))).status for _ in range(4)] == [PASSED] * 3 + [STOPPED]
    said = await clockwork.one(border * SECOND - 1, quota.take(border - 1))
    assert (said.status, said.values) == (STOPPED, (0, 1, 1))
    assert (await clockwork.one(border * SECOND, quota.take(border))).values[0] == 2


class Quota:
    """A calendar quota, as policies write it, and its model."""

    def __init__(self, amount: int, unit: Any, zone: str) -> None:
        place = ZoneInfo(zone)
        self.limit = Limit(amount, UNITS[unit], "calendar", amount, "x", b"x", unit, place)
        self.model = Calendar(amount, 0, 0, lambda now: end_of(unit, place, now // SECOND // QUARTER) * SECOND)

    def take(self, app: float, cost: int = 1) -> Operation:
        """`app`: its own time, s."""
        return self.limit.operation(KEYS, digest("who"), cost, app)


@pytest.mark.parametrize("zone", ODD)
@pytest.mark.parametrize("unit", ["day", "month"])
async def test_apps_whose_clocks_are_up_to_a_day_off_count_in_the_servers_period(
    clockwork: Clockwork, zone: str, unit: str
) -> None:
    """Several processes, each with a clock of its own, one of them right: every number is the model's."""
    dice = random.Random(f"{zone} {unit}")
    quota = Quota(5, unit, zone)
    now = round(datetime(2026, dice.choice([2, 3, 9, 10]), 20, tzinfo=UTC).timestamp()) * SECOND + 17
    taken = list[int]()
    for _ in range(80):
        border = quota.model.end_of(now)
        now = dice.choice([now, now + 1, border - 1, border, border + 1, now + dice.randrange(DAY) * SECOND])
        app = now / SECOND + dice.choice([0, -1, 1, -SHORTEST, SHORTEST, dice.uniform(-SHORTEST, SHORTEST)])
        if taken and dice.random() < 0.3:
            when = taken.pop()
            await clockwork.one(now, quota.limit.settle(KEYS, digest("who"), when, 1, 0, now / SECOND))
            quota.model.settle(now, when, 1, 0)
            continue
        verdict = quota.model.check(now, 1)
        said = await clockwork.one(now, quota.take(app))
        assert said == (PASSED if verdict.fits else STOPPED, verdict[1:])
        if verdict.fits:
            quota.model.commit(now, 1)
            taken.append(now)


@pytest.mark.parametrize("days", [-800, -40, -3, 3, 40, 800])
async def test_an_app_whose_clock_is_far_off_is_no_error_and_its_period_ends(clockwork: Clockwork, days: int) -> None:
    quota = Quota(2, "month", "Europe/Berlin")
    now = 1_780_000_000
    said = [await clockwork.one(now * SECOND, quota.take(now + days * DAY)) for _ in range(3)]
    assert [one.status for one in said] == [PASSED, PASSED, STOPPED]
    assert 0 < said[2].values[2] <= 31 * DAY * SECOND
    ((_, ends),) = (await clockwork.ends()).items()
    assert ends is not None
    assert 0 < ends - now * 1000 <= 31 * DAY * 1000
