"""Refunds enqueued one by one while a hundred thousand reminders are sent by the same worker process."""

import asyncio
import itertools
import statistics
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks import dunning
from benchmarks.bench import Bench
from benchmarks.enqueueing import enqueue
from benchmarks.handovers import HOPS, WORK_S, handing_on
from benchmarks.ours import Ours
from benchmarks.sandboxes import LATENCY_S, sandbox
from benchmarks.stalls import stalled_s
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

IDLE, BUSY = "idle", "behind reminders"


class Refunds(NamedTuple):
    """Milliseconds until each was picked up, and until its enqueue call returned."""

    picked_up: list[float]
    called: list[float]


def bound_by(idle: Refunds, busy: Refunds, handed_on: Mapping[str, list[float]], stalls_ms: float) -> str:
    """`handed_on`: ms of the row of processes, idle and busy; `stalls_ms`: how much of each second the worker's event loop
    spent in stretches of over 10 ms."""
    times = _p99(handed_on[BUSY]) / _p99(handed_on[IDLE])
    return (
        f"Cores that are both busy: {HOPS} processes that each do {WORK_S * 1000:g} ms of work and wake the next one, no queue, database or disk"
        " among them, take"
        f" {_p50_p99(handed_on[BUSY])} beside the same flood instead of {_p50_p99(handed_on[IDLE])}, {times:.1f} times as long at"
        " the 99th percentile. That is what the kernel needs to give a core to one after the other, and a refund goes"
        f" through as many. The enqueue call alone, which the worker has no part in, takes {_p50_p99(busy.called)} instead of"
        f" {_p50_p99(idle.called)}. Behind it the worker's event loop gives way each millisecond while it renders and encodes;"
        f" {stalls_ms:.0f} ms of each second are stretches of over 10 ms, in which it hands whole batches to the drivers or has no core."
        " What would get there are cores that the flood leaves free: PostgreSQL and the provider on machines of their own. A worker"
        " for refunds alone (`WORKER_QUEUES`) on the same cores would wait for one just so."
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
        worker = ours.start("worker")
        found: dict[str, list[Refunds]] = {IDLE: [], BUSY: []}
        stalled_ms: list[float] = []
        handed_on: dict[str, list[list[float]]] = {IDLE: [], BUSY: []}
        for number in range(bench.rounds + (not bench.smoke)):
            round_no = next(rounds)
            with handing_on(bench, f"idle{round_no}") as handed_on_idle:
                quiet = _refunds(ours, f"idle{round_no}", idle, threading.Event())
            dunning.owe(ours, reminders, round_no)
            brevo.forget()
            over = threading.Event()
            with handing_on(bench, f"busy{round_no}") as handed_on_busy:
                began, stalled_before_s = time.time(), stalled_s(worker)
                enqueue(ours, SEND_PAYMENT_REMINDER_EMAILS, [{}])
                flood = threading.Thread(target=_wait, args=(ours, began, over))
                flood.start()
                busy = _refunds(ours, f"busy{round_no}", 100_000, over)
                flood.join()
                stalled_ms.append((stalled_s(worker) - stalled_before_s) * 1000 / (time.time() - began))
            bench.audit("each invoice and stage once, to the cent", dunning.audit(ours, brevo, reminders))
            bench.say(
                f"idle p99 {_p99(quiet.picked_up):.2f} ms, behind reminders {_p99(busy.picked_up):.2f} ms"
                f" ({len(busy.picked_up)} refunds)"
            )
            if number or bench.smoke:
                found[IDLE].append(quiet)
                found[BUSY].append(busy)
                handed_on[IDLE].append(handed_on_idle)
                handed_on[BUSY].append(handed_on_busy)
        paid = ours.rows(_PAID)[0]
        at_stripe = stripe.books(metadata_key="refund_id")
        wrong = (paid.paid, paid.distinct, at_stripe["doubled"]) != (len(at_stripe["refunds"]), paid.paid, [])
        bench.audit(
            "each refund once", f"{paid} with us, {len(at_stripe['refunds'])} at Stripe" if wrong else ""
        )
    for name, runs in found.items():
        bench.figure(f"{name}, p50", [statistics.median(each.picked_up) for each in runs], "ms")
        bench.figure(f"{name}, p99", [_p99(each.picked_up) for each in runs], "ms")
        bench.figure(f"{name}, the enqueue call's p99", [_p99(each.called) for each in runs], "ms")
    for name, rows in handed_on.items():
        bench.figure(f"{name}, {HOPS} bare processes' p99", [_p99(each) for each in rows], "ms")
    bench.result.details["ms"] = {
        name: [[round(value, 2) for value in each.picked_up] for each in runs] for name, runs in found.items()
    }
    together = {
        name: Refunds(
            [ms for each in runs for ms in each.picked_up], [ms for each in runs for ms in each.called]
        )
        for name, runs in found.items()
    }
    bench.result.details["bound_by"] = bound_by(
        together[IDLE],
        together[BUSY],
        {name: list(itertools.chain(*rows)) for name, rows in handed_on.items()},
        statistics.median(stalled_ms),
    )
    bench.target(
        "p99 behind reminders, times idle",
        _p99(together[BUSY].picked_up) / _p99(together[IDLE].picked_up),
        "at most",
        TIMES_IDLE,
    )


def _refunds(ours: Ours, name: str, most: int, over: threading.Event) -> Refunds:
    """Enqueues refunds, spaced, until there are so many or the flood is over."""
    return asyncio.run(_one_by_one(ours, name, most, over))


async def _one_by_one(ours: Ours, name: str, most: int, over: threading.Event) -> Refunds:
    database = Database(ours.database_url, application="benchmark", bound_s=60, pool_size=2)
    redis = connect(ours.redis_url, client_name="benchmark")
    enqueuer, ids, called = Enqueuer(database, RedisTransport(redis)), [], []
    try:
        for number in range(most):
            if over.is_set():
                break
            refund = await database.rows(_REFUND, name=f"{name}n{number}")
            began = time.perf_counter()
            run = await enqueuer.enqueue(PROCESS_REFUND, RefundArgs(refund_id=refund[0].id))
            called.append((time.perf_counter() - began) * 1000)
            ids.append(run.run_id)
            await asyncio.sleep(EVERY_S)
        while True:
            rows = await database.rows(_PICKED_UP, ids=ids)
            if all(row.state == "succeeded" for row in rows):
                return Refunds([row.ms for row in rows], called)
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


def _p50_p99(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ms (p99 {_p99(values):.1f})"
