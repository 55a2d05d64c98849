"""What clients ask of the cache (RFC 9111 §5.2.1, §5.4, RFC 8246)."""

import pytest

from tests.cache.cases import Case, Reply, Step, case, play, table

FRESH = "cache-control: max-age=100"
TAGGED = FRESH + ' | etag: "a"'
CONFIRMED = Reply('etag: "a"', 304)


def said(name: str, stored: str, control: str, *then: Step, after: float = 10, **options: object) -> Case:
    """A stored response, 10 seconds old, and a request that says `control`."""
    first, *rest = then
    asks = Step(**{**first.__dict__, "fields": control, "after": after})
    return case(name, Step("miss", says=stored), asks, *rest, **options)


@table(
    said("no-cache", FRESH, "cache-control: no-cache", Step("miss", body=2, told="fwd=request stored")),
    said("no-cache in any case", FRESH, "cache-control: No-Cache", Step("miss", body=2)),
    said(
        "no-cache is validated",
        TAGGED,
        "cache-control: no-cache",
        Step("valid", says=CONFIRMED, body=1, told="fwd=request stored"),
    ),
    said(
        "what no-cache brings is for all",
        FRESH,
        "cache-control: no-cache",
        Step("miss"),
        Step("hit", body=2, has="age: 0"),
    ),
    said("max-age=0", FRESH, "cache-control: max-age=0", Step("miss", body=2, told="fwd=request")),
    said("max-age=0 is validated", TAGGED, "cache-control: max-age=0", Step("valid", says=CONFIRMED)),
    said("max-age below the age", FRESH, "cache-control: max-age=9", Step("miss", body=2, told="fwd=request")),
    said("max-age of the age", FRESH, "cache-control: max-age=10", Step("hit")),
    said("max-age above the age", FRESH, "cache-control: max-age=11", Step("hit")),
    said("max-age counts an age that came with it", FRESH + " | age: 5", "cache-control: max-age=12", Step("miss")),
    said("max-age that is no number", FRESH, "cache-control: max-age=x", Step("miss")),
    said("min-fresh that it has", FRESH, "cache-control: min-fresh=80", Step("hit")),
    said("min-fresh that it has just", FRESH, "cache-control: min-fresh=90", Step("hit")),
    said("min-fresh that it has not", FRESH, "cache-control: min-fresh=91", Step("miss", told="fwd=request")),
    said("max-stale while fresh", FRESH, "cache-control: max-stale=5", Step("hit")),
    said(
        "max-stale, stale",
        TAGGED,
        "cache-control: max-stale=1000",
        Step("stale", body=1, has="age: 110", behind=1),
        after=110,
    ),
    said(
        "max-stale of the staleness", TAGGED, "cache-control: max-stale=10", Step("stale", body=1, behind=1), after=110
    ),
    said("max-stale below it", TAGGED, "cache-control: max-stale=9", Step("valid", says=CONFIRMED), after=110),
    said("max-stale without a time", TAGGED, "cache-control: max-stale", Step("stale", behind=1), after=1000),
    said(
        "max-stale, beside max-age",
        TAGGED,
        "cache-control: max-stale=1000, max-age=5",
        Step("valid", says=CONFIRMED),
        after=110,
    ),
    *[
        said(
            f"max-stale never over {more}",
            f'cache-control: {more} | etag: "a"',
            "cache-control: max-stale",
            Step("valid", says=CONFIRMED),
            after=110,
        )
        for more in (
            "max-age=100, must-revalidate",
            "max-age=100, proxy-revalidate",
            "s-maxage=100",
            "no-cache",
            "s-maxage=100, stale-if-error=9",
        )
    ],
    said("no-store is not stored", FRESH, "cache-control: no-store", Step("hit")),
    said("only-if-cached, stored", FRESH, "cache-control: only-if-cached", Step("hit")),
    said(
        "only-if-cached, stale",
        FRESH,
        "cache-control: only-if-cached",
        Step("gone", told="detail=not-cached"),
        after=110,
    ),
    said(
        "only-if-cached, stale and with max-stale",
        TAGGED,
        "cache-control: only-if-cached, max-stale",
        Step("stale"),
        after=110,
    ),
    said("only-if-cached and no-cache", FRESH, "cache-control: only-if-cached, no-cache", Step("gone")),
    said("Pragma: no-cache", FRESH, "pragma: no-cache", Step("miss", told="fwd=request")),
    said("Pragma beside Cache-Control", FRESH, "pragma: no-cache | cache-control: max-age=50", Step("hit")),
    said("another Pragma", FRESH, "pragma: foo", Step("hit")),
    said("an unknown directive", FRESH, "cache-control: foo=bar", Step("hit")),
    said("s-maxage means nothing in a request", FRESH, "cache-control: s-maxage=0", Step("hit")),
    said("must-revalidate means nothing in a request", FRESH, "cache-control: must-revalidate", Step("hit")),
    said("immutable hears no max-age=0", FRESH + ", immutable", "cache-control: max-age=0", Step("hit")),
    said("immutable hears no no-cache", FRESH + ", immutable", "cache-control: no-cache", Step("miss")),
    said(
        "immutable that is stale is validated",
        TAGGED.replace("100", "100, immutable"),
        "cache-control: max-age=0",
        Step("valid", says=CONFIRMED),
        after=110,
    ),
    *[
        said(f"clients are not heard: {control}", FRESH, control, Step("hit"), client_control=False)
        for control in (
            "cache-control: no-cache",
            "cache-control: max-age=0",
            "pragma: no-cache",
            "cache-control: min-fresh=99",
        )
    ],
    said(
        "clients are not heard: only-if-cached",
        FRESH,
        "cache-control: only-if-cached",
        Step("miss"),
        after=110,
        client_control=False,
    ),
)
async def test_what_a_client_asks_of_what_is_stored(given: Case) -> None:
    await play(given)


@table(
    case(
        "only-if-cached, nothing there",
        Step("gone", "cache-control: only-if-cached", status=504),
        Step("miss", says=FRESH),
    ),
    case("no-store is heard", Step("unstored", "cache-control: no-store", says=FRESH), Step("miss")),
    case(
        "no-store does not hold up others",
        Step("unstored", "cache-control: no-store", says=FRESH),
        Step("miss"),
        Step("hit"),
    ),
    case("no-cache with nothing there", Step("miss", "cache-control: no-cache", says=FRESH), Step("hit")),
    case("Pragma of a response means nothing", Step("miss", says=FRESH + " | pragma: no-cache"), Step("hit")),
    case(
        "a reload that may not be stored leaves what is fresh",
        Step("miss", says=FRESH),
        Step("unstored", "cache-control: no-cache", says="cache-control: no-store", body=2),
        Step("hit", body=1),
    ),
)
async def test_what_a_client_asks_with_nothing_stored(given: Case) -> None:
    await play(given)


@pytest.mark.parametrize("control", ["no-cache", "max-age=0", "max-age=1", "min-fresh=99", "only-if-cached, no-cache"])
async def test_clients_are_not_heard_by_default_where_the_app_declares_what_is_kept(control: str) -> None:
    steps = Step("miss", says=""), Step("hit", f"cache-control: {control}", 10), Step("hit", "pragma: no-cache")
    await play(case("", *steps, profile="app", ttl=100))


async def test_clients_are_heard_where_the_app_declares_what_is_kept_and_wants_it() -> None:
    steps = Step("miss", says=""), Step("miss", "cache-control: no-cache", 10), Step("hit", body=2)
    await play(case("", *steps, profile="app", ttl=100, client_control=True))
