"""Bodies that come in crumbs: all of them is read and passed on, and no more is kept than their bytes."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_redis_guard.core.asgi import Message
from asgi_redis_guard.middleware.body import RequestBody
from asgi_redis_guard.middleware.crumbs import Ahead, Chunks
from asgi_redis_guard.middleware.shared_body import SharedBody
from tests.middleware.calls import GONE


class Drip:
    """A client that sends a body byte by byte."""

    def __init__(self, size: int) -> None:
        self.left = size

    async def __call__(self) -> Message:
        self.left -= 1
        return {"type": "http.request", "body": b"%c" % (self.left % 251), "more_body": self.left > 0}


@pytest.mark.parametrize("kind", [RequestBody, SharedBody])
async def test_a_body_of_single_bytes_is_kept_in_little_more_than_its_size_and_passed_on_whole(
    kind: type[RequestBody | SharedBody],
) -> None:
    size = 100_000
    body = kind(Drip(size))
    tracemalloc.start()
    try:
        whole = await body.read(size)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert whole is not None
    assert (len(whole), peak < 10 * size) == (size, True)
    got, messages = b"", 0
    while len(got) < size:
        message = await body()
        got += message["body"]
        messages += 1
        assert message["more_body"] is (len(got) < size)
    assert (got == whole, messages < size / 100) == (True, True)


@given(st.lists(st.integers(0, 300), max_size=5), st.booleans())
def test_messages_come_out_in_their_order_whatever_was_taken_meanwhile(takes: list[int], gone: bool) -> None:
    ahead, chunks, sent, got = Ahead(), Chunks(), b"", b""
    for number, take in enumerate(takes):
        for place in range(400):
            piece = b"%d," % (number * 400 + place)
            ahead.append({"type": "http.request", "body": piece, "more_body": True})
            chunks.append(piece)
            sent += piece
        got += b"".join([ahead.popleft()["body"] for _ in range(min(take, len(ahead)))])
    if gone:
        ahead.append(GONE)
    rest = [ahead.popleft() for _ in range(len(ahead))]
    if gone:
        assert rest.pop() == GONE
    assert got + b"".join([message["body"] for message in rest]) == sent == bytes(chunks)
