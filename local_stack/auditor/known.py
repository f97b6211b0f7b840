"""What the caller of an audit knows from outside the database."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

#: The answer of a sandbox's `/_sandbox/books`.
Books = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Accepted:
    """An enqueue that was answered, or whose transaction was committed. Without `run_id`, its key is looked for."""

    job: str
    run_id: UUID | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Rest:
    """From `at` on (by PostgreSQL's clock) nothing was broken any more, and nothing new came in that may still be open:
    whatever was due has ended within `within_s` seconds."""

    at: datetime
    within_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Known:
    """All of it is optional: what is not known is not checked.

    `rolled_back`: runs of transactions that were rolled back. `fires`: how often a schedule came due, over all its
    definitions. `refunds`: accepted refunds, with the statuses in which they may be by now (empty: any). `reminders`: the same for
    (invoice, stage). `stages`: reminder stages; at rest every one that is owed has its row.
    """

    accepted: Sequence[Accepted] = ()
    rolled_back: Collection[UUID] = ()
    fires: Mapping[str, int] = field(default_factory=dict)
    refunds: Mapping[UUID, Collection[str]] = field(default_factory=dict)
    reminders: Mapping[tuple[UUID, str], Collection[str]] = field(default_factory=dict)
    stages: str | None = None
