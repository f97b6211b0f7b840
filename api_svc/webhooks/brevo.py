"""`POST /webhooks/brevo`: one event, or a list of them, behind a bearer token; Brevo signs nothing.

Brevo repeats a delivery after 429 alone: any other refusal loses the event. So that is the answer when PostgreSQL is away.
"""

import hashlib
import json
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api_svc.auth import is_bearer
from api_svc.errors import unavailable
from api_svc.services import Services
from api_svc.webhooks.inbox import Arrived, Inbox
from api_svc.webhooks.payload import decode, envelope
from shared.db.errors import is_outage
from shared.jobs import APPLY_BREVO_EVENT


class BrevoEvent(BaseModel):
    """What tells events apart. Only `event` has to be there: an event is not lost over the form of a date."""

    model_config = ConfigDict(populate_by_name=True)

    event: Annotated[str, Field(min_length=1, max_length=255)]
    email: JsonValue = None
    message_id: JsonValue = Field(default=None, alias="message-id")
    ts_event: JsonValue = None
    ts: JsonValue = None
    date: JsonValue = None


def event_id(event: BrevoEvent) -> str:
    """Brevo's events have no id: the same message, event, address and time are the same event."""
    at = next((each for each in (event.ts_event, event.ts) if each is not None), event.date)
    told = json.dumps([event.message_id, event.event, event.email, at])
    return hashlib.sha256(told.encode()).hexdigest()


def router(services: Services) -> APIRouter:
    routes = APIRouter(tags=["webhooks"])
    inbox = Inbox(services.database, services.enqueuer)
    token = services.credentials.brevo_webhook_token

    @routes.post("/webhooks/brevo")
    async def receive(request: Request) -> dict[str, int]:
        if token is None:
            raise HTTPException(503, "BREVO_WEBHOOK_TOKEN: is not set; nothing can be verified")
        if not is_bearer(request.headers.get("authorization"), [token]):
            raise HTTPException(
                401,
                "Authorization: is not Bearer BREVO_WEBHOOK_TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )
        content = decode(await request.body())
        events = [_arrived(each) for each in (content if isinstance(content, list) else [content])]
        try:
            return {"stored": await inbox.accept("brevo", APPLY_BREVO_EVENT, events)}
        except Exception as error:
            if not is_outage(error):
                raise
            raise unavailable(429) from error

    return routes


def _arrived(content: JsonValue) -> Arrived:
    event = envelope(BrevoEvent, content)
    assert isinstance(content, dict)
    return Arrived(event_id(event), event.event, content)
