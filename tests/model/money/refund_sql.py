"""The statements about refunds, as `shared/db/sql/refund_*.sql` have them."""

from typing import Any

from sqlalchemy.exc import IntegrityError

from shared.db.models import RefundAttempt
from shared.db.refund_work import Owner
from tests.model.money.database import Row, Session
from tests.model.money.ledger_sql import holds, live, new_run

WAITING = ("pending", "processing")


def sent(s: Session, p: Row) -> list[Row]:
    tries = s.database.rows("refund_attempts", refund_id=p.id, generation=p.generation)
    counted = [a for a in tries if a.outcome not in p.no_effect]
    first = s.database.stage.now - min(a.started_at for a in counted) if counted else None
    return [Row(first_sent=first, key_spent=any(a.outcome in p.key_spent for a in counted))]


def start(s: Session, p: Row) -> list[Row]:
    refund = s.database.tables["refunds"][p.id]
    same = (refund.generation, refund.run_id, refund.run_attempt) == (p.generation, p.run_id, p.attempt)
    if not same or refund.status not in WAITING:
        return []
    payment = s.database.rows("refunds", payment_intent_id=refund.payment_intent_id, status="processing")
    if s.database.rules.one_at_a_time and any(other is not refund for other in payment):
        raise IntegrityError("", {}, Exception("refunds_one_at_a_time"))
    s.put(refund, status="processing", updated_at=s.database.tick())
    return [Row(id=p.id)]


def take_many(s: Session, p: Row) -> list[Row]:
    """What is not plain is not answered."""
    answer = []
    for refund_id, run_id, attempt in zip(p.ids, p.run_ids, p.attempts, strict=True):
        refund = s.database.tables["refunds"].get(refund_id)
        if refund is None or refund.status not in WAITING or refund.run_id != run_id:
            continue
        if not holds(s, run_id, attempt) or s.database.tables["job_runs"][run_id].cancel_requested:
            continue
        s.put(refund, run_attempt=attempt, updated_at=s.database.tick())
        [done] = sent(s, Row(**vars(p), id=refund_id, generation=refund.generation))
        answer.append(Row(**{**vars(refund), **vars(done)}, busy=_busy(s, refund)))
    return answer


def start_many(s: Session, p: Row) -> list[Row]:
    answer = []
    asked = zip(
        p.ids, p.generations, p.run_ids, p.attempts, p.keys,
        zip(p.payment_intents, p.amounts, p.currencies, strict=True), strict=True
    )  # fmt: skip
    for refund_id, generation, run_id, attempt, key, what in asked:
        refund = s.database.tables["refunds"][refund_id]
        [done] = sent(s, Row(id=refund_id, generation=generation, no_effect=p.no_effect, key_spent=[]))
        if (
            refund.status not in WAITING
            or (refund.generation, refund.run_id, refund.run_attempt) != (generation, run_id, attempt)
            or (refund.payment_intent_id, refund.amount, refund.currency.lower()) != what
            or not holds(s, run_id, attempt)
            or s.database.tables["job_runs"][run_id].cancel_requested
            or (done.first_sent is not None and done.first_sent >= p.resend_within)
            or _busy(s, refund)
        ):
            continue
        s.put(refund, status="processing", updated_at=s.database.tick())
        made = RefundAttempt(
            refund_id=refund_id,
            generation=generation,
            idempotency_key=key,
            run_id=run_id,
            run_attempt=attempt,
        )
        s.add(made)
        answer.append(Row(**vars(refund), attempt_id=made.id))
    return answer


def settle_many(s: Session, p: Row) -> list[Row]:
    answer = []
    for n, refund_id in enumerate(p.ids):
        refund = s.database.tables["refunds"][refund_id]
        owner = (p.generations[n], p.run_ids[n], p.attempts[n])
        if (
            refund.status != "processing"
            or (refund.succeeded_at is not None) != p.ever_succeeded[n]
            or (refund.generation, refund.run_id, refund.run_attempt) != owner
            or not holds(s, p.run_ids[n], p.attempts[n])
        ):
            continue
        told, now = p.provider_refund_ids[n], s.database.tick()
        for tried in s.database.rows("refund_attempts", id=p.attempt_ids[n], finished_at=None):
            s.put(tried, outcome=p.statuses[n], provider_refund_id=told, finished_at=now)
        settle(
            s,
            Row(
                id=refund_id, generation=p.generations[n], run_id=p.run_ids[n], attempt=p.attempts[n], expected="processing",
                status=p.statuses[n], provider_refund_id=told, told=True,
                failure_reason=p.failure_reasons[n], review_reason=p.review_reasons[n],
            ),
        )  # fmt: skip
        answer.append(Row(**vars(refund)))
    return answer


def _busy(s: Session, refund: Row) -> bool:
    others = s.database.rows("refunds", payment_intent_id=refund.payment_intent_id, status="processing")
    return bool(s.database.rules.one_at_a_time) and any(other is not refund for other in others)


def settle(s: Session, p: Row) -> list[Row]:
    refund, now = s.database.tables["refunds"][p.id], s.database.tick()
    owner = Owner(refund.run_id, refund.run_attempt)
    if (refund.generation, refund.status) != (p.generation, p.expected) or owner != Owner(
        p.run_id, p.attempt
    ):
        return []
    s.put(
        refund,
        status=p.status,
        provider_refund_id=p.provider_refund_id or refund.provider_refund_id,
        failure_reason=p.failure_reason,
        review_reason=p.review_reason,
        submitted_at=refund.submitted_at if p.provider_refund_id is None else refund.submitted_at or now,
        succeeded_at=now if p.status == "succeeded" else refund.succeeded_at,
        reconciled_at=now if p.told else refund.reconciled_at,
        updated_at=now,
    )
    return [Row(id=p.id)]


def reconcile(s: Session, p: Row) -> list[Row]:
    now = s.database.stage.now
    due = [
        r
        for r in s.database.rows("refunds", status=p.status)
        if r.provider_refund_id is not None
        and (r.reconciled_at is None or r.reconciled_at < now - p.every)
        and (p.status != "succeeded" or r.succeeded_at > now - p.watched)
    ]
    return [Row(id=r.id) for r in due]


async def sweep(s: Session, p: Row) -> list[Row]:
    """Reads without locks, then a compare-and-set: two sweeps, or an enqueue, may come between."""
    runs = s.database.tables["job_runs"]
    candidates = [
        (r, r.run_id) for r in s.database.tables["refunds"].values() if r.status in WAITING and not live(s, r.run_id)
    ]  # fmt: skip
    await s.database.stage.point("the sweep's locks")
    answer = []
    for refund, seen in candidates:
        if s.database.rules.compare_and_set and (refund.run_id != seen or refund.status not in WAITING):
            continue
        ended = runs.get(seen)
        dead = refund.dead_runs + (ended is not None and ended.state == "dead")
        changes: dict[str, Any] = {"dead_runs": dead, "updated_at": s.database.tick()}
        if dead >= p.max_dead:
            s.put(refund, **changes, status="needs_review", review_reason=f"{dead} runs of it died")
            answer.append(Row(id=refund.id, run_id=None, parked=True, enqueued=False))
            continue
        run = new_run(s, p.job, {"refund_id": str(refund.id)}, max_attempts=s.database.rules.attempts)
        s.put(refund, **changes, run_id=run.id, run_attempt=None)
        answer.append(Row(id=refund.id, run_id=run.id, parked=False, enqueued=True))
    return answer


SQL = {
    "refund_sent": sent,
    "refund_start": start,
    "refund_take_many": take_many,
    "refund_start_many": start_many,
    "refund_settle_many": settle_many,
    "refund_settle": settle,
    "refund_reconcile": reconcile,
    "refund_enqueue": sweep,
}
