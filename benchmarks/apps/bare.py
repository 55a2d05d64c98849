"""The app without any guard: the ceiling that the others are compared with."""

from fastapi import FastAPI

app = FastAPI()


@app.get("/items/{id}")
async def item(id: int) -> dict[str, object]:
    return {"id": id, "user": "user-0"}
