"""Refunds enqueued one by one while a hundred thousand reminders are sent by the same worker process."""

import asyncio
import itertools
import statistics
import threading
import time

from benchmarks import dunning
from benchmarks.bench import Bench
from benchmarks.enqueueing import enqueue
from benchmarks.ours import Ours
from benchmarks.sandboxes import LATENCY_S, sandbox
from shared.db.engine import Database
from shared.enqueue import Enqueuer
from shared.jobs import PROCESS_REFUND, SEND_PAYMENT_REMINDER_EMAILS, RefundArgs
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport

QUESTION = "How long does a refund wait for its worker while that worker sends a hundred thousand reminders?"
TIMES_IDLE = 2.0
EVERY_S = 0.1
_REFUND = """
INSERT INTO refunds (payment_intent_id, amount, currency)
VALUES ('pi_usd_a5000_' || CAST(:name AS text), 700, 'usd') RETURNING id
"""
_PICKED_UP = """
SELECT extract(epoch FROM started_at - enqueued_at)::float8 * 1000 AS ms, state
FROM job_runs WHERE id = ANY (CAST(:ids AS uuid[])) ORDER BY enqueued_at
"""
_PAID = "SELECT count(*) AS paid, count(DISTINCT provider_refund_id) AS distinct FROM refunds WHERE status = 'succeeded'"

BOUND_BY = (
    "Slices: rendering and encoding hold the event loop for 1 ms at a time, and a pick-up waits for a handful of them. The rest is"
    " PostgreSQL and the sandboxes, which share two cores with the worker."
)


def run(bench: Bench) -> None:
    """From the run's commit to its claim, both on PostgreSQL's clock."""
    reminders, idle = bench.n(100_000, 2_000), bench.n(200, 30)
    rounds = itertools.count(1)
    with (
        bench.servers() as servers,
        sandbox(bench, "brevo", batch_rate=0) as brevo,
        sandbox(bench, "stripe", auto=True, rate=0) as stripe,
        bench.ours(
            servers,
            BREVO_BASE_URL=f"{brevo.url}/v3",
            STRIPE_API_BASE_URL=stripe.url,
            STRIPE_API_KEY="sk_test_bench",
            # Their own pace is another question: a refund that waits for its turn has been picked up.
            STRIPE_RATE_PER_S="1000",
            STRIPE_TOTAL_RATE_PER_S="2000",
        ) as ours,
    ):
        for provider in (brevo, stripe):
            provider.answer_after(LATENCY_S)
        ours.start("worker")
        found: dict[str, list[list[float]]] = {"idle": [], "behind reminders": []}
        for number in range(bench.rounds + (not bench.smoke)):
            round_no = next(rounds)
            quiet = _refunds(ours, f"idle{round_no}", idle, threading.Event())
            dunning.owe(ours, reminders, round_no)
            brevo.forget()
            over = threading.Event()
            began = time.time()
            enqueue(ours, SEND_PAYMENT_REMINDER_EMAILS, [{}])
            flood = threading.Thread(target=_wait, args=(ours, began, over))
            flood.start()
            busy = _refunds(ours, f"busy{round_no}", 100_000, over)
            flood.join()
            bench.audit("each invoice and stage once, to the cent", dunning.audit(ours, brevo, reminders))
            bench.say(
                f"idle p99 {_p99(quiet):.2f} ms, behind reminders {_p99(busy):.2f} ms ({len(busy)} refunds)"
            )
            if number or bench.smoke:
                found["idle"].append(quiet)
                found["behind reminders"].append(busy)
        paid = ours.rows(_PAID)[0]
        at_stripe = stripe.books(metadata_key="refund_id")
        wrong = (paid.paid, paid.distinct, at_stripe["doubled"]) != (len(at_stripe["refunds"]), paid.paid, [])
        bench.audit(
            "each refund once", f"{paid} with us, {len(at_stripe['refunds'])} at Stripe" if wrong else ""
        )
    for name, runs in found.items():
        bench.figure(f"{name}, p50", [statistics.median(each) for each in runs], "ms")
        bench.figure(f"{name}, p99", [_p99(each) for each in runs], "ms")
    bench.result.details["ms"] = {
        name: [[round(value, 2) for value in each] for each in runs] for name, runs in found.items()
    }
    bench.result.details["bound_by"] = BOUND_BY
    together = {name: _p99([value for each in runs for value in each]) for name, runs in found.items()}
    bench.target(
        "p99 behind reminders, times idle",
        together["behind reminders"] / together["idle"],
        "at most",
        TIMES_IDLE,
    )


def _refunds(ours: Ours, name: str, most: int, over: threading.Event) -> list[float]:
    """Enqueues refunds, spaced, until there are so many or the flood is over; milliseconds until each was picked up."""
    return asyncio.run(_one_by_one(ours, name, most, over))


async def _one_by_one(ours: Ours, name: str, most: int, over: threading.Event) -> list[float]:
    database = Database(ours.database_url, application="benchmark", bound_s=60, pool_size=2)
    redis = connect(ours.redis_url, client_name="benchmark")
    enqueuer, ids = Enqueuer(database, RedisTransport(redis)), []
    try:
        for number in range(most):
            if over.is_set():
                break
            refund = await database.rows(_REFUND, name=f"{name}n{number}")
            run = await enqueuer.enqueue(PROCESS_REFUND, RefundArgs(refund_id=refund[0].id))
            ids.append(run.run_id)
            await asyncio.sleep(EVERY_S)
        while True:
            rows = await database.rows(_PICKED_UP, ids=ids)
            if all(row.state == "succeeded" for row in rows):
                return [row.ms for row in rows]
            await asyncio.sleep(0.1)
    finally:
        await enqueuer.close()
        await redis.aclose()
        await database.close()


def _wait(ours: Ours, began: float, over: threading.Event) -> None:
    try:
        dunning.wait_for_reminders(ours, began)
    finally:
        over.set()


def _p99(values: list[float]) -> float:
    return sorted(values)[max(0, -(-len(values) * 99 // 100) - 1)]
