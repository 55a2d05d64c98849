"""`examples/quart_app.py`."""

from tests.examples.conftest import Load, Serve, stack_of


async def test_quart_walks_the_story_on_one_stack(load: Load, serve: Serve) -> None:
    app = load("quart_app").app
    assert stack_of(app.asgi_app) == "<JWTAuthMiddleware [jwt + ratelimit]"
    async with serve(app) as visitor:
        await visitor.walk()


async def test_quart_s_own_test_client_meets_the_guards(load: Load) -> None:
    app = load("quart_app").app
    async with app.test_app() as started:
        client = started.test_client()
        assert (await client.get("/me")).status_code == 401
        peer = {"client": ("127.0.0.1", 50000)}  # its own is "<local>", which is no address to count by
        token = (await (await client.post("/login?user=alice", scope_base=peer)).get_json())["access_token"]
        response = await client.get("/me", headers={"authorization": f"Bearer {token}"})
        assert (response.status_code, await response.get_json()) == (200, {"user": "alice"})
        assert response.headers["ratelimit-policy"] == '"minute";q=10;w=60'
