"""`examples/payments.py`: a charge that comes twice is made once."""

import asyncio

import pytest

from tests.examples.conftest import Load, Serve, stack_of
from tests.middleware.calls import settled

PAYMENT = {"order": "7", "cents": 1250}


async def test_retries_and_duplicates_charge_once_and_get_the_same_answer(load: Load, serve: Serve) -> None:
    module = load("payments")
    async with serve(module.app) as visitor:
        ann = {**await visitor.log_in("ann"), "idempotency-key": '"order-7"'}
        answers = await asyncio.gather(*(visitor.post("/charges", json=PAYMENT, headers=ann) for _ in range(10)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        replays = [answer.headers.get("idempotent-replayed") for answer in answers]
        assert sorted(replays, key=str) == [None, *["true"] * 9]
        assert [*module.LEDGER.values()] == [("ann", 1250)]
        again = await visitor.post("/charges", json=PAYMENT, headers=ann)
        assert (again.content, again.headers["idempotent-replayed"]) == (answers[0].content, "true")
        other = await visitor.post("/charges", json={"order": "7", "cents": 9999}, headers=ann)
        assert (other.status_code, len(module.LEDGER)) == (422, 1)
    assert stack_of(module.app.middleware_stack).startswith("<GuardMiddleware [jwt")


async def test_each_user_has_keys_of_its_own_and_a_charge_needs_one(load: Load, serve: Serve) -> None:
    module = load("payments")
    async with serve(module.app) as visitor:
        ann, bob = await visitor.log_in("ann"), await visitor.log_in("bob")
        for who in (ann, bob):
            paid = await visitor.post("/charges", json=PAYMENT, headers={**who, "idempotency-key": "order-7"})
            assert (paid.status_code, "idempotent-replayed" in paid.headers) == (201, False)
            assert [*(await visitor.get("/charges", headers=who)).json().values()] == [1250]
        assert (await visitor.post("/charges", json=PAYMENT, headers=ann)).status_code == 400
        assert (await visitor.post("/charges", json=PAYMENT, headers={"idempotency-key": "1"})).status_code == 401


async def test_what_failed_may_be_tried_again_and_what_was_refused_stays_so(load: Load, serve: Serve) -> None:
    module = load("payments")
    async with serve(module.app) as visitor:
        headers = {**await visitor.log_in("ann"), "idempotency-key": "order-8"}
        module.BANK["answers"] = False
        for _ in range(2):
            with pytest.raises(ConnectionError, match="the bank does not answer"):
                await visitor.post("/charges", json=PAYMENT, headers=headers)
            await settled(module.redis)
        module.BANK["answers"] = True
        assert (await visitor.post("/charges", json=PAYMENT, headers=headers)).status_code == 201
        headers["idempotency-key"] = "order-9"
        first, second = [await visitor.post("/charges", json={"order": "9"}, headers=headers) for _ in range(2)]
        assert (first.status_code, second.status_code) == (422, 422)
        assert (second.content, second.headers["idempotent-replayed"]) == (first.content, "true")
        assert len(module.LEDGER) == 1
