"""`examples/plain_asgi.py`."""

from tests.examples.conftest import Load, Serve, stack_of


async def test_plain_asgi_walks_the_story(load: Load, serve: Serve) -> None:
    example = load("plain_asgi")
    assert stack_of(example.app) == "<GuardMiddleware [jwt + ratelimit]"
    async with serve(example.app) as visitor:
        await visitor.walk()
    await example.redis.aclose()  # the app has no lifespan


async def test_plain_asgi_answers_unknown_paths_itself(load: Load, serve: Serve) -> None:
    example = load("plain_asgi")
    async with serve(example.app) as visitor:
        response = await visitor.get("/nowhere", headers=await visitor.log_in("alice"))
    assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})
    await example.redis.aclose()
