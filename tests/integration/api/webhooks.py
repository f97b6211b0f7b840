"""Webhooks as the providers send them."""

import json
import time

import httpx
from stripe import WebhookSignature

from tests.integration.api.conftest import BREVO_TOKEN, STRIPE_SECRET

REFUND_UPDATED = {"id": "evt_1", "type": "refund.updated", "data": {"object": {"id": "re_1"}}}


HARD_BOUNCE = {
    "event": "hard_bounce",
    "email": "Jane@Example.com",
    "message-id": "<1@mail>",
    "ts_event": 1_900_000_000,
    "id": 17,
}


def signed(body: bytes, *, secret: str = STRIPE_SECRET, age_s: int = 0) -> dict[str, str]:
    stamp = int(time.time()) - age_s
    header = WebhookSignature.generate_signature_header(body.decode(), secret, stamp)
    return {"Stripe-Signature": header}


async def from_stripe(client: httpx.AsyncClient, event: object) -> httpx.Response:
    body = json.dumps(event).encode()
    return await client.post("/webhooks/stripe", content=body, headers=signed(body))


async def from_brevo(client: httpx.AsyncClient, event: object, token: str = BREVO_TOKEN) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return await client.post("/webhooks/brevo", content=json.dumps(event), headers=headers)
