"""`POST /webhooks/stripe`: signed by Stripe, repeated for three days until it is answered with 2xx."""

from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field

from api_svc.services import Services
from api_svc.webhooks.inbox import Arrived, Inbox
from api_svc.webhooks.payload import decode, envelope
from shared.jobs import APPLY_STRIPE_EVENT
from shared.providers.stripe_webhook import SignatureRefused, verify

ShortText = Annotated[str, Field(min_length=1, max_length=255)]


class StripeEvent(BaseModel):
    id: ShortText
    type: ShortText


def router(services: Services) -> APIRouter:
    routes = APIRouter(tags=["webhooks"])
    inbox = Inbox(services.database, services.enqueuer)
    secret = services.credentials.stripe_webhook_secret

    @routes.post("/webhooks/stripe")
    async def receive(request: Request) -> dict[str, int]:
        if secret is None:
            raise HTTPException(503, "STRIPE_WEBHOOK_SECRET: is not set; nothing can be verified")
        body = await request.body()
        try:
            verify(body, request.headers.get("stripe-signature"), secret)
        except SignatureRefused as error:
            raise HTTPException(400, str(error)) from None
        content = decode(body)
        event = envelope(StripeEvent, content)
        assert isinstance(content, dict)
        return {
            "stored": await inbox.accept(
                "stripe", APPLY_STRIPE_EVENT, [Arrived(event.id, event.type, content)]
            )
        }

    return routes
