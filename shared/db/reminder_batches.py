"""The life of a frozen batch: adopted, called, answered. Every write is a compare-and-set on its attempt (rule 7).

Like the ledger's, these functions commit nothing. What says False or None was refused: somebody else owns the batch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from json.encoder import encode_basestring as quoted
from typing import Any
from uuid import UUID

from shared.core.decide import clean_text
from shared.core.errors import Fenced
from shared.core.reminders import FROZEN_FOR, REPEAT_WITHIN
from shared.db.ledger import Executor
from shared.db.reminders import Fence
from shared.db.statements import statement
from shared.ports import MailVersion


@dataclass(frozen=True, slots=True)
class Member:
    """One reminder of a batch and its e-mail, exactly as it is sent."""

    id: UUID
    mail: MailVersion

    def to_json(self) -> str:
        mail = self.mail
        # By json's own function in C: what json.dumps builds around it takes four times as long.
        return (
            f'{{"id":"{self.id}","email":{quoted(mail.email)},"name":{quoted(mail.name)},'
            f'"subject":{quoted(mail.subject)},"html":{quoted(mail.html)},"text":{quoted(mail.text)}}}'
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """`calls` may have sent it, the first of them `age` ago. `accepted`: an event of it has been seen. `adopted`: frozen by an
    earlier attempt or another run, so that things may have changed since."""

    id: UUID
    tag: str
    idempotency_key: UUID
    status: str
    calls: int
    members: Sequence[Member]
    age: timedelta | None = None
    since_last_call: timedelta | None = None
    accepted: bool = False
    adopted: bool = False


def content_of(members: Iterable[str]) -> str:
    """A batch's content from its members' JSON."""
    return '{"members": [' + ",".join(members) + "]}"


async def freeze(
    db: Executor,
    batch_id: UUID,
    members: Sequence[Member],
    fence: Fence,
    *,
    content: str | None = None,
    parent_id: UUID | None = None,
) -> Batch:
    """The batch row of members whose own rows name it already; `content` spares encoding them again. Raises Fenced."""
    params = {
        "tag": f"reminders-{batch_id}",
        "content": content if content is not None else content_of(member.to_json() for member in members),
        "parent_id": parent_id,
    }
    row = (await _one(db, "reminder_freeze", batch_id, fence, **params)).first()
    if row is None:
        raise Fenced(f"run {fence.run_id} attempt {fence.attempt} was lost")
    return Batch(row.id, row.tag, row.idempotency_key, row.status, row.calls, members)


async def adopt(
    db: Executor, fence: Fence, *, statuses: Sequence[str], seen: Sequence[UUID] = (), only_own: bool = False
) -> Batch | None:
    """Takes over one batch whose run has ended, or an earlier attempt of this one. `only_own`: only the latter."""
    params = {"statuses": list(statuses), "seen": list(seen), "only_own": only_own, **fence.params()}
    row = (await db.execute(statement("reminder_adopt"), params)).first()
    if row is None:
        return None
    return Batch(
        row.id,
        row.tag,
        row.idempotency_key,
        row.status,
        row.calls,
        _members(row.content),
        row.age,
        row.since_last_call,
        row.accepted,
        adopted=True,
    )


async def drop_settled(db: Executor, batch_id: UUID, fence: Fence) -> Sequence[Member] | None:
    """Leaves out whoever has paid or was suppressed since, of a batch never called, and everybody of one too old: they are
    selected anew. None: nobody was left out; else who is left."""
    row = (await _one(db, "reminder_drop", batch_id, fence, frozen_for=FROZEN_FOR)).first()
    return None if row is None else _members(row.content)


async def begin_call(db: Executor, batch_id: UUID, fence: Fence) -> int | None:
    """How many calls, this one included, may have sent the batch. None: it is not ours, or an event has told of it, or its
    key is too old."""
    await db.execute(statement("plan_anew"))
    row = (await _one(db, "reminder_call", batch_id, fence, repeat_within=REPEAT_WITHIN)).first()
    return None if row is None else int(row.calls)


async def take_call_back(db: Executor, batch_id: UUID, fence: Fence, *, error: str) -> bool:
    """The call certainly sent nothing."""
    return (await _one(db, "reminder_uncall", batch_id, fence, error=error)).first() is not None


async def record_sent(db: Executor, batch: Batch, fence: Fence, message_ids: Sequence[str]) -> bool:
    """`message_ids` in the order of the batch's members."""
    await db.execute(statement("plan_anew"))
    members = [member.id for member in batch.members]
    result = await _one(db, "reminder_sent", batch.id, fence, members=members, message_ids=list(message_ids))
    return result.first() is not None


async def mark_unconfirmed(db: Executor, batch_id: UUID, fence: Fence, *, error: str) -> bool:
    """No call any more: events decide (rule 33)."""
    return (await _one(db, "reminder_unconfirmed", batch_id, fence, error=error)).first() is not None


async def end_refused(db: Executor, batch_id: UUID, fence: Fence, *, status: str, error: str) -> bool:
    """`split`, or `failed` together with its only member (rule 32)."""
    result = await _one(db, "reminder_refused", batch_id, fence, status=status, error=error)
    return result.first() is not None


async def move_members(db: Executor, members: Sequence[Member], *, parent_id: UUID, batch_id: UUID) -> int:
    """Into a part of the batch that was refused; how many."""
    params = {"members": [member.id for member in members], "parent_id": parent_id, "batch_id": batch_id}
    return len((await db.execute(statement("reminder_move"), params)).all())


async def park(db: Executor, batch_id: UUID, fence: Fence, *, reason: str) -> int:
    """What is still unconfirmed goes to a person; how many."""
    row = (await _one(db, "reminder_park", batch_id, fence, reason=reason)).one()
    return int(row.parked)


async def release(db: Executor, batch_id: UUID, fence: Fence, *, read: bool) -> None:
    """An unconfirmed batch is nobody's until the next look at its events. `read`: they could be read this time."""
    await _one(db, "reminder_release", batch_id, fence, read=read)


async def due_follow_up(db: Executor, fence: Fence, *, after: timedelta) -> tuple[UUID, str] | None:
    """Id and tag of a batch sent longer ago than this whose events are to be read once more. It is marked as read."""
    params = {"after": after, **fence.params()}
    row = (await db.execute(statement("reminder_follow_up"), params)).first()
    return None if row is None else (row.id, row.tag)


def _members(content: dict[str, Any]) -> list[Member]:
    return [
        Member(UUID(m["id"]), MailVersion(m["email"], m["name"], m["subject"], m["html"], m["text"]))
        for m in content["members"]
    ]


async def _one(db: Executor, name: str, batch_id: UUID, fence: Fence, **params: Any) -> Any:
    if "error" in params:
        params["error"] = clean_text(params["error"])
    return await db.execute(statement(name), {"id": batch_id, **fence.params(), **params})
