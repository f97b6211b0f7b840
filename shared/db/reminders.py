"""Selection of reminders, and their rows. Like the ledger's, these functions commit nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from shared.core.stages import Stage
from shared.db.ledger import Executor
from shared.db.statements import statement

_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)
_END = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Fence:
    """The attempt that works on a batch: every write checks it (rule 7)."""

    run_id: UUID
    attempt: int

    def params(self) -> dict[str, object]:
        return {"run_id": self.run_id, "run_attempt": self.attempt}


class Place(NamedTuple):
    """An invoice's place in the order in which reminders go out."""

    due_at: datetime
    invoice_id: UUID


FIRST: Final = Place(_BEGINNING, UUID(int=0))
LAST: Final = Place(_END, UUID(int=2**128 - 1))


class Owed(NamedTuple):
    """A reminder that is owed, in the order of `reminder_owed.sql`'s columns: made a hundred thousand times in a run, a tuple
    costs a tenth of a dataclass. `amount_due` is in minor units; `version` changes with the invoice or the customer."""

    invoice_id: UUID
    customer_id: UUID
    stage: str
    number: str | None
    amount_due: int
    currency: str
    due_at: datetime
    email: str
    name: str
    locale: str
    time_zone: str
    version: str

    @property
    def place(self) -> Place:
        return Place(self.due_at, self.invoice_id)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A reminder on its way into a batch. `failure`: why it could not be rendered."""

    id: UUID
    owed: Owed
    failure: str | None = None


async def owed(
    db: Executor,
    stages: Sequence[Stage],
    *,
    as_of: datetime,
    tolerance: timedelta,
    most: int,
    after: Place = FIRST,
    end: Place = LAST,
) -> list[Owed]:
    """Reminders to be sent, the earliest due date first (rule 30): those behind `after`, up to `end`."""
    await db.execute(statement("plan_anew"))
    found: list[Owed] = []
    ordered = sorted(stages, key=lambda stage: stage.days, reverse=True)
    # An invoice is found in its latest stage alone: the ranges of due dates follow one another.
    for stage, following in zip(ordered, [None, *ordered], strict=False):
        until = as_of - timedelta(days=stage.days)
        if until < after.due_at:
            continue
        if until - tolerance > end.due_at:
            break
        params = {
            "stage": stage.name,
            "after": timedelta(days=stage.days),
            "since": until - tolerance,
            "until": until,
            "next_since": as_of - timedelta(days=following.days) if following else _BEGINNING,
            "after_at": after.due_at,
            "after_id": after.invoice_id,
            "end_at": end.due_at,
            "end_id": end.invoice_id,
            "most": most - len(found),
        }
        rows = await db.execute(statement("reminder_owed"), params)
        found += map(Owed._make, rows)
        if len(found) == most:
            break
    return found


async def skip(
    db: Executor, stages: Sequence[Stage], fence: Fence, *, as_of: datetime, tolerance: timedelta, most: int
) -> int:
    """Writes `skipped` rows for what is owed and will not be sent; how many, at most `most`."""
    params = {"as_of": as_of, "tolerance": tolerance, "most": most, **_stages(stages), **fence.params()}
    return len((await db.execute(statement("reminder_skip"), params)).all())


async def insert(
    db: Executor, candidates: Sequence[Candidate], batch_id: UUID, fence: Fence
) -> dict[UUID, str]:
    """Rows for those that are still owed as they were rendered: `pending`, `suppressed` or `failed`, by reminder.

    The batch row has to follow in the same transaction (`reminder_batches.freeze`) where one of them is `pending`.
    """
    params: dict[str, Any] = {
        "ids": [each.id for each in candidates],
        "invoices": [each.owed.invoice_id for each in candidates],
        "stages": [each.owed.stage for each in candidates],
        "versions": [each.owed.version for each in candidates],
        "failures": [each.failure for each in candidates],
        "batch_id": batch_id,
        **fence.params(),
    }
    await db.execute(statement("plan_anew"))
    return {row.id: row.status for row in await db.execute(statement("reminder_insert"), params)}


def _stages(stages: Sequence[Stage]) -> dict[str, object]:
    return {"names": [stage.name for stage in stages], "days": [stage.days for stage in stages]}
