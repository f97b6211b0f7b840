"""Events are stored first, and once; the job that applies one is enqueued in the same transaction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog
from pydantic import JsonValue
from sqlalchemy import text

from shared.core.jobspec import JobSpec
from shared.db.engine import Database
from shared.enqueue import Enqueuer
from shared.failpoints import Point, failpoint
from shared.jobs import WebhookArgs

log = structlog.get_logger(__name__)

# In one order for everybody: two deliveries of the same events never wait for each other crosswise.
_STORE = text(
    "INSERT INTO webhook_events (provider, event_id, type, body)"
    " SELECT :provider, id, type, CAST(body AS jsonb)"
    " FROM unnest(CAST(:ids AS text[]), CAST(:types AS text[]), CAST(:bodies AS text[])) AS e (id, type, body)"
    " ORDER BY id"
    " ON CONFLICT (provider, event_id) DO NOTHING RETURNING event_id, type"
)


@dataclass(frozen=True, slots=True)
class Arrived:
    """One event. Deliveries of the same event have the same `event_id`."""

    event_id: str
    type: str
    body: Mapping[str, JsonValue]


class Inbox:
    """The only way in for webhooks."""

    def __init__(self, database: Database, enqueuer: Enqueuer) -> None:
        self._database = database
        self._enqueuer = enqueuer

    async def accept(
        self, provider: Literal["stripe", "brevo"], job: JobSpec[WebhookArgs], events: Sequence[Arrived]
    ) -> int:
        """Stores what is new, with the run that applies it, all or nothing; how many were new."""
        params = {
            "provider": provider,
            "ids": [event.event_id for event in events],
            "types": [event.type for event in events],
            "bodies": [json.dumps(event.body) for event in events],
        }
        async with self._database.session() as session:
            new = (await session.execute(_STORE, params)).all()
            await self._enqueuer.enqueue_many(
                job, [WebhookArgs(event_id=row.event_id) for row in new], session=session
            )
        failpoint(Point.WEBHOOK_STORED)
        for row in new:
            log.info("webhook_stored", provider=provider, event_id=row.event_id, type=row.type)
        if len(new) < len(events):
            log.info("webhook_repeated", provider=provider, events=len(events) - len(new))
        return len(new)
