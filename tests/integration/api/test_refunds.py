"""POST and GET /v1/refunds."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from api_svc.services import Services

REFUND: dict[str, Any] = {"payment_intent_id": "pi_1", "amount": 1250, "currency": "EUR"}


async def test_a_refund_is_stored_with_the_run_that_pays_it(
    client: httpx.AsyncClient, services: Services
) -> None:
    answer = await client.post("/v1/refunds", json=REFUND | {"reason": "requested_by_customer"})

    assert answer.status_code == 201
    refund = answer.json()
    assert (refund["status"], refund["amount"], refund["currency"]) == ("pending", 1250, "eur")
    [run] = await services.database.rows("SELECT id, job, args FROM job_runs")
    assert (refund["run_id"], run.job, run.args) == (
        str(run.id),
        "process_refund",
        {"refund_id": refund["id"]},
    )


async def test_a_refund_can_be_read_by_its_id(client: httpx.AsyncClient) -> None:
    refund = (await client.post("/v1/refunds", json=REFUND)).json()

    answer = await client.get(f"/v1/refunds/{refund['id']}")

    assert answer.json() == {name: value for name, value in refund.items() if name != "existing"}
    assert (await client.get(f"/v1/refunds/{uuid4()}")).status_code == 404


async def test_refund_and_run_are_stored_together_or_not_at_all(
    client: httpx.AsyncClient, services: Services
) -> None:
    async with services.database.begin() as connection:
        await connection.execute(text("ALTER TABLE job_runs ADD CHECK (job <> 'process_refund')"))

    answer = await client.post("/v1/refunds", json=REFUND)

    assert answer.status_code == 500
    assert answer.json() == {"detail": "the API failed; its log says why"}
    assert await services.database.rows("SELECT id FROM refunds") == []


async def test_requests_without_a_key_are_two_refunds(client: httpx.AsyncClient) -> None:
    first, second = [(await client.post("/v1/refunds", json=REFUND)).json() for _ in range(2)]

    assert first["id"] != second["id"]


@pytest.mark.parametrize("how", ["header", "field"])
async def test_a_repeated_request_finds_the_refund_it_made(
    client: httpx.AsyncClient, services: Services, how: str
) -> None:
    headers = {"Idempotency-Key": "order-7"} if how == "header" else {}
    body = REFUND if how == "header" else REFUND | {"key": "order-7"}

    answers = await asyncio.gather(
        *(client.post("/v1/refunds", json=body, headers=headers) for _ in range(5))
    )

    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 200, 201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert [answer.json()["existing"] for answer in answers].count(False) == 1
    assert len(await services.database.rows("SELECT id FROM job_runs")) == 1


@pytest.mark.parametrize(
    "change", [{"amount": 1}, {"currency": "USD"}, {"payment_intent_id": "pi_2"}, {"reason": "duplicate"}]
)
async def test_a_key_that_was_used_for_another_refund_is_a_conflict(
    client: httpx.AsyncClient, services: Services, change: dict[str, Any]
) -> None:
    await client.post("/v1/refunds", json=REFUND | {"key": "order-7"})

    answer = await client.post("/v1/refunds", json=REFUND | change | {"key": "order-7"})

    assert answer.status_code == 409
    assert answer.json()["detail"].startswith("key: 'order-7' was used for another refund")
    assert len(await services.database.rows("SELECT id FROM refunds")) == 1


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"amount": 0}, "amount: input should be greater than 0"),
        ({"amount": 12.5}, "amount: input should be a valid integer"),
        ({"amount": "12"}, "amount: input should be a valid integer"),
        ({"amount": 10**15}, "amount: input should be less than or equal to"),
        ({"currency": "euro"}, "currency: string should match"),
        ({"payment_intent_id": "pi 1"}, "payment_intent_id: string should match"),
        ({"payment_intent_id": None}, "payment_intent_id: input should be a valid string"),
        ({"reason": "because"}, "reason: input should be 'duplicate'"),
        ({"status": "succeeded"}, "status: extra inputs are not permitted"),
        ({"key": "k" * 256}, "key: string should have at most 255 characters"),
    ],
)
async def test_what_is_no_refund_is_refused_by_name(
    client: httpx.AsyncClient, services: Services, change: dict[str, Any], detail: str
) -> None:
    answer = await client.post("/v1/refunds", json=REFUND | change)

    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)
    assert await services.database.rows("SELECT id FROM refunds") == []


async def test_a_header_that_differs_from_the_field_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/refunds", json=REFUND | {"key": "a"}, headers={"Idempotency-Key": "b"})

    assert answer.json() == {"detail": "key: differs from the header Idempotency-Key; send one of them"}
