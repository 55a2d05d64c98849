"""The bare app, under the path of those with sessions. Its clients send a cookie too, as browsers do."""

import secrets

from fastapi import Response

from .bare import app


@app.post("/login")
async def login(response: Response) -> None:
    """Nobody to remember."""
    response.set_cookie("session", secrets.token_urlsafe(38))


@app.get("/cart/{id}")
async def cart(id: int) -> dict[str, object]:
    return {"id": id, "user": "user-0", "cart": 3}
