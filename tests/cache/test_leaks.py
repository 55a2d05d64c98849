"""What caches of Python frameworks were found to leak or to break, one test for each, in both profiles.

Sources: fastapi-cache2, cashews, litestar, starlette-caches, fastapi-redis-sdk, fastapi-cachex, fastapi-alcazaba,
hishel, and Django's CVE-2026-6907, -8404 and -48587.
"""

import asyncio

import pytest

from asgi_redis_guard.core.asgi import Receive, Scope, Send
from tests.cache.shops import PROFILES, cache, echo, fresh, header, page, shop_at
from tests.drive import Response

BOTH = pytest.mark.parametrize("profile", PROFILES)


def bodies(*responses: Response) -> list[bytes]:
    return [one.body for one in responses]


@BOTH
@pytest.mark.parametrize("name", ["authorization", "x-api-key", "proxy-authorization", "api-key", "x-auth-token"])
async def test_the_answer_to_one_user_s_credentials_reaches_no_other(backend: str, profile: str, name: str) -> None:
    async with shop_at(backend, cache(profile)) as shop:
        shop.pages["*"] = echo(lambda scope: header(scope, name.encode()), *fresh(profile))
        alice, bob, nobody = [
            await shop.get("/me", given) for given in ({name: "Bearer alice"}, {name: "Bearer bob"}, {})
        ]
        assert bodies(alice, bob, nobody) == [b"Bearer alice", b"Bearer bob", b"-"]
        assert not any(b"alice" in value or b"bob" in value for value in await shop.stored())


@BOTH
async def test_a_cookie_that_is_set_for_one_client_is_set_for_no_other(backend: str, profile: str) -> None:
    async with shop_at(backend, cache(profile)) as shop:
        shop.pages["*"] = page(b"hello", (b"set-cookie", b"sid=secret-of-the-first; Path=/"), *fresh(profile))
        responses = [await shop.get("/", given) for given in ({}, {"cookie": "seen=1"}, {})]
        assert [one["x-made"] for one in responses] == ["1", "2", "3"]
        assert await shop.stored() == []


@BOTH
async def test_a_response_that_varies_is_kept_for_each_value_and_for_none(backend: str, profile: str) -> None:
    async with shop_at(backend, cache(profile)) as shop:
        shop.pages["*"] = echo(
            lambda scope: header(scope, b"accept-language"), *fresh(profile, (b"vary", b"Accept-Language"))
        )
        languages: list[dict[str, str]] = [
            {"accept-language": "en"},
            {"accept-language": "fr"},
            {},
            {"accept-language": ""},
        ]
        for _ in range(2):
            got = [await shop.get("/", given) for given in languages]
            assert bodies(*got) == [b"en", b"fr", b"-", b""]
        assert len(shop.made) == 4


@BOTH
@pytest.mark.parametrize(
    "lines",
    [[b"*"], [b" * "], [b"\t*"], [b"accept, *"], [b",, *"], [b"accept", b"*"], [b"*, accept"]],
    ids=lambda lines: repr(b" | ".join(lines)),
)
async def test_what_varies_by_everything_is_never_used_again(redis_url: str, profile: str, lines: list[bytes]) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
        shop.pages["*"] = page(b"ok", *fresh(profile), *[(b"vary", line) for line in lines])
        assert [(await shop.get())["x-made"] for _ in range(2)] == ["1", "2"]
        assert await shop.stored() == []


@BOTH
@pytest.mark.parametrize(
    "value",
    [
        b"private",
        b"Private",
        b"PRIVATE, max-age=60",
        b" \tPrivate\t, max-age=60",
        b"max-age=60,private",
        b"max-age=60 ,\t no-STORE",
        b"No-Store",
        b"no-store , max-age=60",
    ],
)
async def test_private_and_no_store_count_in_every_spelling(redis_url: str, profile: str, value: bytes) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
        shop.pages["*"] = page(b"ok", (b"cache-control", value))
        assert [(await shop.get())["x-made"] for _ in range(2)] == ["1", "2"]
        shop.pages["*"] = page(b"ok", (b"cache-control", b"max-age=60"), (b"cache-control", value))
        assert [(await shop.get("/lines"))["x-made"] for _ in range(2)] == ["3", "4"]
        assert await shop.stored() == []


@BOTH
async def test_two_hosts_never_share_an_answer(backend: str, profile: str) -> None:
    async with shop_at(backend, cache(profile)) as shop:
        shop.pages["*"] = echo(lambda scope: header(scope, b"host"), *fresh(profile))
        hosts = ("one.example", "two.example", "one.example:8000", "one.example.evil")
        for _ in range(2):
            assert [(await shop.get("/", {"host": host})).body.decode() for host in hosts] == list(hosts)
        assert len(shop.made) == len(hosts)


@BOTH
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/p/x?a=1", "/p/xa=1"),
        ("/k/a:b", "/k/a/b"),
        ("/k/a", "/k//a"),
        ("/k/a", "/k/a/"),
        ("/k/a", "/K/a"),
        ("/k?a=1&b=2", "/k?a=1&b=2&"),
        ("/k?a=1&b=2", "/k?a=1%26b=2"),
        ("/k?a=1&a=2", "/k?a=2&a=1"),
        ("/k?a", "/k?a="),
        ("/k?a=b+c", "/k?a=b%20c"),
        ("/k?ab=c", "/k?a=bc"),
    ],
)
async def test_two_urls_never_share_a_key(redis_url: str, profile: str, one: str, other: str) -> None:
    async with shop_at(redis_url, cache(profile)) as shop:
        shop.pages["*"] = echo(lambda scope: (scope["path"], scope["query_string"]), *fresh(profile))
        first, second = await shop.get(one), await shop.get(other)
        assert (first["x-made"], second["x-made"]) == ("1", "2")
        assert bodies(await shop.get(one), await shop.get(other)) == bodies(first, second)
        assert len(shop.made) == 2


@BOTH
async def test_twenty_misses_at_once_run_the_handler_once(backend: str, profile: str) -> None:
    async with shop_at(backend, cache(profile)) as shop:
        begun, go = asyncio.Event(), asyncio.Event()

        async def slow(scope: Scope, receive: Receive, send: Send) -> None:
            begun.set()
            await go.wait()
            await page(b"slow", *fresh(profile))(scope, receive, send)

        shop.pages["*"] = slow
        requests = [asyncio.ensure_future(shop.get()) for _ in range(20)]
        await begun.wait()
        go.set()
        assert set(bodies(*await asyncio.gather(*requests))) == {b"slow"}
        assert shop.made == ["/"]


@BOTH
@pytest.mark.parametrize("status", [201, 404, 410, 500, 503, 301])
async def test_a_response_comes_back_with_the_status_that_it_had(redis_url: str, profile: str, status: int) -> None:
    options = {"statuses": (status,)} if profile == "app" else {}
    async with shop_at(redis_url, cache(profile, **options)) as shop:
        shop.pages["*"] = page(b'{"detail": "so"}', *fresh(profile, (b"content-type", b"a/b")), status=status)
        responses = [await shop.get() for _ in range(2)]
        assert [(one.status, one.body, one["content-type"]) for one in responses] == [
            (status, b'{"detail": "so"}', "a/b")
        ] * 2
        assert len(shop.made) == 1


async def test_errors_are_not_kept_unless_somebody_says_so(redis_url: str) -> None:
    async with shop_at(redis_url, cache("app")) as shop:
        for status in (400, 401, 403, 404, 422, 429, 500, 503):
            shop.pages["*"] = page(b"no", status=status)
            assert [(await shop.get(f"/{status}")).status for _ in range(2)] == [status] * 2
        assert len(shop.made) == 16


@BOTH
async def test_the_age_of_an_answer_is_that_it_came_with_and_the_time_since(backend: str, profile: str) -> None:
    came_with = [(b"age", b"30")] if profile == "http" else []
    async with shop_at(backend, cache(profile, **({"jitter": 0} if profile == "app" else {}))) as shop:
        shop.pages["*"] = page(b"ok", *fresh(profile, *came_with))
        await shop.get()
        first = await shop.get()
        expected = 30 if came_with else 0
        assert expected <= int(first["age"]) <= expected + 20, "a new one is not as old as its lifetime"
        (ttl,) = [part for part in first["cache-status"].split("; ") if part.startswith("ttl=")]
        assert 58 <= int(ttl[4:]) + int(first["age"]) <= 60


@BOTH
async def test_all_fields_are_kept_with_their_repetitions_and_order(backend: str, profile: str) -> None:
    fields = [
        (b"content-type", b"application/problem+json; charset=utf-8"),
        (b"link", b"</a>; rel=next"),
        (b"x-custom", b"one"),
        (b"link", b"</b>; rel=prev"),
        (b"x-custom", b""),
        (b"content-security-policy", b"default-src 'self'"),
        (b"x-latin", b"caf\xe9"),
    ]
    names = {name for name, _ in fields}
    async with shop_at(backend, cache(profile)) as shop:
        shop.pages["*"] = page(b"\x00\xff not text", *fresh(profile), *fields)
        for _ in range(2):
            response = await shop.get()
            assert response.body == b"\x00\xff not text"
            assert [field for field in response.headers if field[0] in names] == fields
        assert len(shop.made) == 1
