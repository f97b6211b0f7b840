"""Who decided what. Written in the transaction of the decision itself."""

import json
from collections.abc import Mapping

from pydantic import JsonValue
from sqlalchemy import Connection, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

_RECORD = text(
    "INSERT INTO audit_log (actor, action, subject_kind, subject_id, detail)"
    " VALUES (:actor, :action, :kind, :id, CAST(:detail AS jsonb))"
)


def _bound(
    actor: str, action: str, kind: str, subject: object, detail: Mapping[str, JsonValue] | None
) -> tuple[TextClause, dict[str, str]]:
    return _RECORD, {
        "actor": actor,
        "action": action,
        "kind": kind,
        "id": str(subject),
        "detail": json.dumps(detail or {}),
    }


async def record(
    db: AsyncConnection | AsyncSession,
    *,
    actor: str,
    action: str,
    kind: str,
    subject: object,
    detail: Mapping[str, JsonValue] | None = None,
) -> None:
    """`kind` and `subject` name what it is about (`refund` and its id); `action` is a verb such as `retried`."""
    await db.execute(*_bound(actor, action, kind, subject, detail))


def record_sync(
    db: Connection,
    *,
    actor: str,
    action: str,
    kind: str,
    subject: object,
    detail: Mapping[str, JsonValue] | None = None,
) -> None:
    """The same, on the scheduler's synchronous side."""
    db.execute(*_bound(actor, action, kind, subject, detail))
