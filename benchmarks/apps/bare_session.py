"""The bare app, under the path of those with sessions."""

from .bare import app


@app.post("/login")
async def login() -> None:
    """Nobody to remember."""


@app.get("/cart/{id}")
async def cart(id: int) -> dict[str, object]:
    return {"id": id, "user": "user-0", "cart": 3}
