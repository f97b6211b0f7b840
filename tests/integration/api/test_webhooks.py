"""Webhooks are verified, stored once, and applied by a job."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api_svc.bootstrap import build
from api_svc.services import Services
from local_stack.sandbox import stripe_settling
from shared.settings import ApiSettings
from tests.integration.api.conftest import STRIPE_SECRET, client_of
from tests.integration.api.webhooks import HARD_BOUNCE, REFUND_UPDATED, from_brevo, from_stripe, signed

FAIL_AT_COMMIT = (
    "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$no$$; END'",
    "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON webhook_events DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION fail()",
)


async def stored(services: Services) -> list[Any]:
    return await services.database.rows("SELECT * FROM webhook_events ORDER BY event_id")


async def runs(services: Services) -> list[Any]:
    return await services.database.rows("SELECT job, args, key FROM job_runs")


async def test_a_stripe_event_is_stored_with_the_run_that_applies_it(
    client: httpx.AsyncClient, services: Services
) -> None:
    answer = await from_stripe(client, REFUND_UPDATED)

    assert (answer.status_code, answer.json()) == (200, {"stored": 1})
    [event] = await stored(services)
    assert (event.provider, event.event_id, event.type) == ("stripe", "evt_1", "refund.updated")
    assert event.body == REFUND_UPDATED
    assert event.applied_at is None
    assert await runs(services) == [("apply_stripe_event", {"event_id": "evt_1"}, "stripe:evt_1")]


async def test_a_brevo_event_is_stored_with_the_run_that_applies_it(
    client: httpx.AsyncClient, services: Services
) -> None:
    answer = await from_brevo(client, HARD_BOUNCE)

    assert (answer.status_code, answer.json()) == (200, {"stored": 1})
    [event] = await stored(services)
    assert (event.provider, event.type, event.body) == ("brevo", "hard_bounce", HARD_BOUNCE)
    assert await runs(services) == [
        ("apply_brevo_event", {"event_id": event.event_id}, f"brevo:{event.event_id}")
    ]


async def test_an_event_delivered_many_times_is_stored_and_applied_once(
    client: httpx.AsyncClient, services: Services
) -> None:
    answers = await asyncio.gather(
        *(from_stripe(client, REFUND_UPDATED) for _ in range(5)),
        *(from_brevo(client, HARD_BOUNCE) for _ in range(5)),
    )

    assert [answer.status_code for answer in answers] == [200] * 10
    assert sum(answer.json()["stored"] for answer in answers) == 2
    assert len(await stored(services)) == len(await runs(services)) == 2


async def test_brevo_may_send_a_list_with_repetitions(client: httpx.AsyncClient, services: Services) -> None:
    delivered = HARD_BOUNCE | {"event": "delivered"}

    answer = await from_brevo(client, [HARD_BOUNCE, delivered, HARD_BOUNCE, HARD_BOUNCE | {"id": 18}])

    assert answer.json() == {"stored": 2}
    assert {event.type for event in await stored(services)} == {"hard_bounce", "delivered"}


async def test_an_event_is_not_stored_without_the_run_that_applies_it(
    client: httpx.AsyncClient, services: Services
) -> None:
    async with services.database.begin() as connection:
        await connection.execute(text("ALTER TABLE job_runs ADD CHECK (job = 'ping')"))

    assert (await from_stripe(client, REFUND_UPDATED)).status_code == 500
    assert await stored(services) == []


async def test_a_run_is_not_enqueued_for_an_event_that_was_not_stored(
    client: httpx.AsyncClient, services: Services
) -> None:
    async with services.database.begin() as connection:
        for statement in FAIL_AT_COMMIT:
            await connection.execute(text(statement))

    assert (await from_stripe(client, REFUND_UPDATED)).status_code == 500
    assert await stored(services) == []
    assert await runs(services) == []


@pytest.mark.parametrize(
    "change",
    [{"message-id": "<2@mail>"}, {"event": "soft_bounce"}, {"email": "joe@example.com"}, {"ts_event": 1}],
)
async def test_brevo_events_that_differ_are_different_events(
    client: httpx.AsyncClient, services: Services, change: dict[str, Any]
) -> None:
    await from_brevo(client, HARD_BOUNCE)
    await from_brevo(client, HARD_BOUNCE | change)

    assert len(await stored(services)) == 2


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({}, "is missing"),
        ({"Stripe-Signature": "nonsense"}, "does not match"),
        ({"Stripe-Signature": "t=1,v1=é".encode()}, "does not match"),
        (signed(b"{}", secret="whsec_other"), "does not match"),
        (signed(b'{"id": 1}'), "does not match"),
        (signed(b"{}", age_s=301), "is older than 300 s"),
    ],
    ids=["none", "nonsense", "not ascii", "other secret", "other body", "old"],
)
async def test_what_stripe_did_not_sign_now_is_refused_and_not_stored(
    client: httpx.AsyncClient, services: Services, headers: dict[str, Any], why: str
) -> None:
    answer = await client.post("/webhooks/stripe", content=b"{}", headers=headers)

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"Stripe-Signature: {why}")
    assert await stored(services) == []


async def test_what_the_sandbox_signs_is_accepted(client: httpx.AsyncClient) -> None:
    body = json.dumps(REFUND_UPDATED).encode()

    answer = await client.post(
        "/webhooks/stripe", content=body, headers=stripe_settling.signed(body, STRIPE_SECRET)
    )

    assert answer.status_code == 200


async def test_a_signature_is_good_for_a_few_minutes(client: httpx.AsyncClient) -> None:
    body = json.dumps(REFUND_UPDATED).encode()

    answer = await client.post("/webhooks/stripe", content=body, headers=signed(body, age_s=280))

    assert answer.status_code == 200


async def test_brevo_without_its_token_is_refused_and_not_stored(
    client: httpx.AsyncClient, services: Services
) -> None:
    answer = await from_brevo(client, HARD_BOUNCE, token="token-one")

    assert answer.status_code == 401
    assert await stored(services) == []


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "body: is no JSON"),
        (b'{"id": "evt', "body: is no JSON"),
        (b'{"id": "evt_1", "type": "a", "amount": NaN}', "body: is no JSON (NaN is no number)"),
        (b'{"id": "evt_1", "type": "a", "amount": 1e999}', "body: is no JSON (a number is too large)"),
        (b"[" * 100_000, "body: is nested too deeply"),
        (b"[]", "body: "),
        (b'{"type": "a"}', "id: field required"),
        (b'{"id": 7, "type": "a"}', "id: input should be a valid string"),
        (b'{"id": "evt_1"}', "type: field required"),
        (b'{"id": "%s", "type": "a"}' % (b"e" * 256), "id: string should have at most 255"),
    ],
)
async def test_a_stripe_body_that_is_no_event_is_refused_in_one_line(
    client: httpx.AsyncClient, services: Services, body: bytes, detail: str
) -> None:
    answer = await client.post("/webhooks/stripe", content=body, headers=signed(body))

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(detail)
    assert "\n" not in answer.json()["detail"]
    assert await stored(services) == []


@pytest.mark.parametrize("event", [{}, [], "text", [HARD_BOUNCE, {}]])
async def test_a_brevo_body_that_is_no_event_is_refused_whole(
    client: httpx.AsyncClient, services: Services, event: object
) -> None:
    answer = await from_brevo(client, event)

    assert answer.status_code == (200 if event == [] else 400)
    assert await stored(services) == []


@pytest.mark.parametrize("change", [{"ts_event": "soon"}, {"email": None}, {"message-id": 7}])
async def test_a_brevo_event_is_not_lost_over_the_form_of_a_field(
    client: httpx.AsyncClient, services: Services, change: dict[str, Any]
) -> None:
    answers = [await from_brevo(client, HARD_BOUNCE | change) for _ in range(2)]

    assert [answer.json() for answer in answers] == [{"stored": 1}, {"stored": 0}]


async def test_a_character_that_postgresql_cannot_store_does_not_lose_the_event(
    client: httpx.AsyncClient, services: Services
) -> None:
    answer = await from_stripe(client, REFUND_UPDATED | {"note\x00": ["a\x00b", "\ud800"]})

    assert answer.status_code == 200
    [event] = await stored(services)
    assert event.body["note\ufffd"] == ["a\ufffdb", "?"]


@pytest.mark.parametrize(
    ("path", "variable"),
    [("/webhooks/stripe", "STRIPE_WEBHOOK_SECRET"), ("/webhooks/brevo", "BREVO_WEBHOOK_TOKEN")],
)
async def test_a_webhook_that_cannot_be_verified_is_not_accepted(
    settings: Callable[..., ApiSettings], path: str, variable: str
) -> None:
    services = build(settings(stripe_webhook_secret=None, brevo_webhook_token=None))
    async with client_of(services, "") as client:
        answer = await client.post(path, content=b"{}")
    await services.close()

    assert answer.status_code == 503
    assert answer.json()["detail"].startswith(f"{variable}: is not set")
