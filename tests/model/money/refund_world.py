"""Refunds: the real handlers and a person's real decisions, between a simulated database and a simulated Stripe."""

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from shared import refund_review
from shared.core.errors import BadInput
from shared.core.refund_review import Decision
from shared.db import refunds
from shared.jobs import (
    APPLY_STRIPE_EVENT,
    PROCESS_PENDING_REFUNDS,
    PROCESS_REFUND,
    RECONCILE_REFUNDS,
    WebhookArgs,
)
from shared.ports import PaymentIntent
from tests.model.money.database import Row, SimDatabase
from tests.model.money.refund_sql import SQL, WAITING
from tests.model.money.stage import GO, Process, Stage, Violation
from tests.model.money.stripe import SimStripe
from tests.model.money.workers import Workers, simulated_sql
from worker_svc.context import Handler
from worker_svc.handlers.reconcile_refunds import reconcile_refunds
from worker_svc.handlers.refunds import process_pending_refunds, process_refund
from worker_svc.handlers.stripe_events import apply_stripe_event

HANDLERS: Mapping[str, Handler] = {
    PROCESS_PENDING_REFUNDS.name: process_pending_refunds,
    PROCESS_REFUND.name: process_refund,
    RECONCILE_REFUNDS.name: reconcile_refunds,
    APPLY_STRIPE_EVENT.name: apply_stripe_event,
}
CALL_WORDS = ("lost before", "lost after", "late", "500", "409", "429", "403", "unreachable", "lag")


class RefundWorld:
    """One payment of 100, or several; refunds of parts of it. `with` puts the simulated SQL in place."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.database = SimDatabase(self.stage, ("refunds", "refund_attempts", "webhook_events"))
        self.database.sql |= SQL
        self.database.rules = Row(one_at_a_time=True, compare_and_set=True, frozen=True, attempts=10)
        self.stripe = SimStripe(self.stage)
        self.workers = Workers(self.stage, self.database, HANDLERS, gateway=self.stripe)
        self.marked: set[UUID] = set()  # refunds whose end a person has told
        self.by_hand: set[UUID] = set()  # runs that nobody counts on
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(simulated_sql())
        return self

    def __exit__(self, *_: object) -> None:
        self.stage.close()
        self._stack.close()

    # ------------------------------------------------------------------------------------------------- what happens

    def add(
        self, amount: int = 40, intent: str = "pi_1", currency: str = "usd", paid_in: str = "usd"
    ) -> UUID:
        self.stripe.intents.setdefault(intent, PaymentIntent(intent, 100, paid_in))
        names = "provider_refund_id reason run_id run_attempt failure_reason review_reason submitted_at succeeded_at"
        columns: dict[str, Any] = dict.fromkeys([*names.split(), "reconciled_at", "request_key"])
        columns |= {"generation": 1, "dead_runs": 0, "created_at": self.stage.now, "status": "pending"}
        refund = self.database.alone().insert(
            "refunds",
            payment_intent_id=intent,
            amount=amount,
            currency=currency,
            updated_at=self.database.tick(),
            **columns,
        )
        self.stage.say(f"a refund of {amount} {currency} on {intent}")
        found: UUID = refund.id
        return found

    def refund(self, refund_id: UUID) -> Row:
        found: Row = self.database.tables["refunds"][refund_id]
        return found

    def sweep(self) -> Process:
        return self.workers.claim(self.workers.enqueue(PROCESS_PENDING_REFUNDS))

    def reconcile(self) -> Process:
        return self.workers.claim(self.workers.enqueue(RECONCILE_REFUNDS))

    def enqueue(self, refund_id: UUID) -> Process:
        """On demand, as the API does."""

        async def work() -> object:
            try:
                async with self.database.session() as session:
                    enqueuer = self.workers.services.enqueuer
                    return await refunds.enqueue_for_refund(session, enqueuer, refund_id)
            except BadInput as error:
                return error

        return self.stage.start("enqueue on demand", work())

    def decide(self, refund_id: UUID, decision: Decision) -> Process:
        """A person decides; `answer` is BadInput where they may not."""

        async def work() -> object:
            services, database = self.workers.services, self.workers.services.database
            try:
                return await refund_review.resolve(
                    database,
                    services.enqueuer,
                    services.gateway,
                    refund_id,
                    decision,
                    actor="ann",
                    note="by cheque",
                )
            except BadInput as error:
                return error

        if decision in (Decision.MARK_SUCCEEDED, Decision.MARK_FAILED):
            self.marked.add(refund_id)
        return self.stage.start(f"a person: {decision.value}", work())

    def edit(self, refund: Row, **columns: Any) -> None:
        """An outside program changes an approved refund; a trigger refuses once there is an attempt (rule 25)."""
        if not (self.database.rules.frozen and self.database.rows("refund_attempts", refund_id=refund.id)):
            self.stage.say(f"edited: {columns}")
            self.database.alone().put(refund, **columns, updated_at=self.database.tick())

    def deliver(self, body: Mapping[str, Any], *, again: bool = False) -> Row:
        """A webhook is stored, and its job enqueued; `again`: it will come once more."""
        if not again:
            self.stripe.webhooks.remove(body)
        event_id = f"evt_{next(self.database.numbers)}"
        self.database.alone().insert(
            "webhook_events",
            id=event_id,
            provider="stripe",
            event_id=event_id,
            type="refund.updated",
            body=body,
            received_at=self.stage.now,
            applied_at=None,
            outcome=None,
        )
        self.stage.say(f"webhook: {body['data']['object']}")
        return self.workers.enqueue(APPLY_STRIPE_EVENT, WebhookArgs(event_id=event_id))

    # ------------------------------------------------------------------------------------------------- for scripts

    def run_of(self, refund_id: UUID) -> Row:
        """The refund's run, made by a sweep where there is none."""
        if not [r for r in self.workers.live(PROCESS_REFUND.name) if r.id == self.refund(refund_id).run_id]:
            self.stage.finish(self.sweep())
        run: Row = self.database.tables["job_runs"][self.refund(refund_id).run_id]
        return run

    def attempt(self, refund_id: UUID) -> Process:
        """The next attempt at its run, whenever that is due, standing at its first point."""
        run = self.run_of(refund_id)
        run.run_at = self.stage.now
        return self.workers.claim(run)

    def goes_to(self, process: Process, label: str) -> bool:
        """Up to the point whose label begins so; False: it ended before."""
        while not process.over:
            [point] = [each for each in self.stage.points if each.process is process]
            if point.label.startswith(label):
                return True
            self.stage.step(point)
        return False

    def go_to(self, process: Process, label: str) -> None:
        assert self.goes_to(process, label), f"it ended before {label!r}: {process.answer!r}"

    def pay(self, refund_id: UUID, word: str = GO) -> Process:
        """One attempt; `word` is what happens to its call, if it makes one."""
        process = self.attempt(refund_id)
        if self.goes_to(process, "Stripe create"):
            self.stage.play(process, [word])
        self.stage.finish(process)
        return process

    def calm(self) -> None:
        """Webhooks are lost; schedules fire, for more than a day."""
        jobs = (PROCESS_PENDING_REFUNDS, RECONCILE_REFUNDS)
        for late in list(self.stage.under_way):
            self.stage.arrive(late)
        self.workers.calm(jobs, 12, timedelta(hours=3))

    # ------------------------------------------------------------------------------------------------- what must hold

    def check(self) -> None:
        """M and C, at every moment."""
        keys = {attempt.idempotency_key for attempt in self.database.rows("refund_attempts")}
        for key, _ in self.stripe.sent:
            self.must(key in keys, f"a call with the key {key} that is not on record")
        for refund in self.database.tables["refunds"].values():
            paying = self.stripe.paying(refund_id=refund.id)
            self.must(len(paying) <= 1, f"refund {refund.id} is paid {len(paying)} times")
            live = [run for run in self.workers.live(PROCESS_REFUND.name) if run.id not in self.by_hand]
            runs = [run for run in live if run.args["refund_id"] == str(refund.id)]
            self.must(len(runs) <= 1, f"refund {refund.id} has {len(runs)} runs")
            payment = self.database.rows(
                "refunds", payment_intent_id=refund.payment_intent_id, status="processing"
            )
            self.must(len(payment) <= 1, "two refunds of one payment are being paid")
            opened = self.database.rows("audit_log", subject=str(refund.id), action="retry")
            self.must(refund.generation <= 1 + len(opened), "a generation that nobody opened")

    def check_end(self) -> None:
        """L, and both books against each other."""
        self.check()
        for refund in self.database.tables["refunds"].values():
            paying = self.stripe.paying(refund_id=refund.id)
            about = f"refund {refund.id} is {refund.status}, Stripe pays {paying}"
            self.must(refund.status not in WAITING, f"forgotten: {about}")
            if refund.status == "submitted":
                self.must(bool(paying) and paying[0].status != "succeeded", f"not followed: {about}")
            if refund.id in self.marked:
                continue
            if refund.status == "succeeded":
                told = [(each.status, each.amount, each.currency) for each in paying]
                self.must(told == [("succeeded", refund.amount, refund.currency)], f"not so: {about}")
            if refund.status == "failed" and not self._refused_after_unclear(refund):
                self.must(not paying, f"it is paid: {about}")

    def _refused_after_unclear(self, refund: Row) -> bool:
        """An earlier call of it may take effect later than the refusal; then the webhook tells (test_refund_limits.py)."""
        return any(
            each.outcome is None for each in self.database.rows("refund_attempts", refund_id=refund.id)
        )

    def must(self, holds: bool, what: str) -> None:
        if not holds:
            raise Violation("\n".join([what, *self.stage.trace]))
