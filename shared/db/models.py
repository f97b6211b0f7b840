"""The tables as typed classes, for reading and for an application's own transactions.

The schema itself is the migrations'; a test compares the two column by column. `BY_DATABASE` marks what a plain
`INSERT` may leave out. What the ledger does to its rows stays in `shared/db/sql`: batches, not objects.
"""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import BigInteger, DateTime, FetchedValue, ForeignKey, SmallInteger, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

BY_DATABASE = FetchedValue()


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        datetime: DateTime(timezone=True),
        dict[str, JsonValue]: JSONB(),
    }


# ---------------------------------------------------------------------------------------------------- the run ledger


class JobRun(Base):
    """One intended execution. `state` is a `shared.core.states.RunState`."""

    __tablename__ = "job_runs"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=BY_DATABASE)
    job: Mapped[str]
    queue: Mapped[str]
    args: Mapped[dict[str, JsonValue]] = mapped_column(server_default=BY_DATABASE)
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=BY_DATABASE)
    key: Mapped[str | None]
    schedule_id: Mapped[str | None]
    schedule_generation: Mapped[int | None] = mapped_column(BigInteger)
    due_at: Mapped[datetime | None]
    coalesced: Mapped[int] = mapped_column(BigInteger, server_default=BY_DATABASE)
    overlap: Mapped[str] = mapped_column(server_default=BY_DATABASE)
    run_at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)
    state: Mapped[str] = mapped_column(server_default=BY_DATABASE)
    attempt: Mapped[int] = mapped_column(server_default=BY_DATABASE)
    max_attempts: Mapped[int] = mapped_column(server_default=BY_DATABASE)
    losses: Mapped[int] = mapped_column(server_default=BY_DATABASE)
    worker: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(server_default=BY_DATABASE)
    error: Mapped[str | None]
    reason: Mapped[str | None]
    result: Mapped[dict[str, JsonValue] | None]
    enqueued_at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)
    queued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Pause(Base):
    """A paused queue, job or schedule. No `cause`: a person's, which only a person ends (rule 23)."""

    __tablename__ = "pauses"

    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str] = mapped_column(server_default=BY_DATABASE)
    cause: Mapped[str | None]
    probe_at: Mapped[datetime | None]
    probes: Mapped[int] = mapped_column(server_default=BY_DATABASE)
    actor: Mapped[str] = mapped_column(server_default=BY_DATABASE)
    created_at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)


class AuditEntry(Base):
    """A person's decision, written in the transaction of the decision itself; never pruned."""

    __tablename__ = "audit_log"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=BY_DATABASE)
    at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)
    actor: Mapped[str]
    action: Mapped[str]
    subject_kind: Mapped[str]
    subject_id: Mapped[str]
    detail: Mapped[dict[str, JsonValue]] = mapped_column(server_default=BY_DATABASE)


class LeaderTerm(Base):
    """One replica's time as leader; the database numbers the terms (rule 16)."""

    __tablename__ = "leader_terms"

    term: Mapped[int] = mapped_column(BigInteger, primary_key=True, server_default=BY_DATABASE)
    holder: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None]


# ------------------------------------------------------------------------------------------------------------ billing


class Customer(Base):
    __tablename__ = "customers"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=BY_DATABASE)
    email: Mapped[str]
    name: Mapped[str] = mapped_column(server_default=BY_DATABASE)
    locale: Mapped[str] = mapped_column(server_default=BY_DATABASE)
    time_zone: Mapped[str] = mapped_column(server_default=BY_DATABASE)
    created_at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)


class Invoice(Base):
    """`amount_due` in the currency's minor unit; `status`: open, paid, void."""

    __tablename__ = "invoices"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=BY_DATABASE)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    amount_due: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    due_at: Mapped[datetime]
    status: Mapped[str] = mapped_column(server_default=BY_DATABASE)
    number: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)


class Refund(Base):
    """`amount` in the currency's minor unit; frozen, with currency and payment intent, once an attempt exists."""

    __tablename__ = "refunds"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=BY_DATABASE)
    payment_intent_id: Mapped[str]
    amount: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=BY_DATABASE)
    provider_refund_id: Mapped[str | None]
    reason: Mapped[str | None]
    generation: Mapped[int] = mapped_column(server_default=BY_DATABASE)
    run_id: Mapped[UUID | None]
    run_attempt: Mapped[int | None]
    dead_runs: Mapped[int] = mapped_column(server_default=BY_DATABASE)
    failure_reason: Mapped[str | None]
    review_reason: Mapped[str | None]
    submitted_at: Mapped[datetime | None]
    succeeded_at: Mapped[datetime | None]
    reconciled_at: Mapped[datetime | None]
    request_key: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)
    updated_at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)


class RefundAttempt(Base):
    """Committed before the provider is called; no `outcome`: nobody knows. Never pruned."""

    __tablename__ = "refund_attempts"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=BY_DATABASE)
    refund_id: Mapped[UUID] = mapped_column(ForeignKey("refunds.id"))
    generation: Mapped[int]
    idempotency_key: Mapped[str]
    run_id: Mapped[UUID]
    run_attempt: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    provider_refund_id: Mapped[str | None]
    error: Mapped[str | None]


class ReminderBatch(Base):
    """One call to the mail provider. `content` is frozen: exactly this is sent again after a crash (rule 31)."""

    __tablename__ = "reminder_batches"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=BY_DATABASE)
    idempotency_key: Mapped[UUID] = mapped_column(server_default=BY_DATABASE)
    tag: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=BY_DATABASE)
    content: Mapped[dict[str, JsonValue]]
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("reminder_batches.id"))
    run_id: Mapped[UUID | None]
    run_attempt: Mapped[int | None]
    calls: Mapped[int] = mapped_column(server_default=BY_DATABASE)
    first_call_at: Mapped[datetime | None]
    last_call_at: Mapped[datetime | None]
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)
    finished_at: Mapped[datetime | None]
    followed_up_at: Mapped[datetime | None]


class PaymentReminder(Base):
    """One e-mail owed for (invoice, stage), or to a customer (stage `once`); a second one is impossible."""

    __tablename__ = "payment_reminders"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=BY_DATABASE)
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoices.id"))
    customer_id: Mapped[UUID | None] = mapped_column(ForeignKey("customers.id"))
    stage: Mapped[str]
    once_run_id: Mapped[UUID | None]
    status: Mapped[str] = mapped_column(server_default=BY_DATABASE)
    reason: Mapped[str | None]
    batch_id: Mapped[UUID | None] = mapped_column(ForeignKey("reminder_batches.id"))
    email: Mapped[str | None]
    message_id: Mapped[str | None]
    run_id: Mapped[UUID | None]
    run_attempt: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)
    updated_at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)
    sent_at: Mapped[datetime | None]


class Suppression(Base):
    """An address, in lower case, that gets no more mail."""

    __tablename__ = "suppressions"

    email: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    source: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)


class WebhookEvent(Base):
    """What a provider told us, stored before it is answered; `applied_at` is set by the job that applies it."""

    __tablename__ = "webhook_events"

    provider: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str]
    body: Mapped[dict[str, JsonValue]]
    received_at: Mapped[datetime] = mapped_column(server_default=BY_DATABASE)
    applied_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
