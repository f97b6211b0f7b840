"""Refunds: how much of Stripe's limits is used, and, without limits, how much of what its bare SDK could do."""

import itertools
import json
import sys
from contextlib import AbstractContextManager

from benchmarks import refunding
from benchmarks.bench import Bench, ratios
from benchmarks.ours import Ours
from benchmarks.process import Process
from benchmarks.profiling import watching
from benchmarks.sandboxes import LATENCY_S, Sandbox, sandbox
from benchmarks.servers import Servers

QUESTION = "How much of the provider's pace is used for paying refunds?"
WORKERS = 3
AT_ONCE = 50  # each, as WORKER_MAX_JOBS is by default
OF_THE_RATE, OF_THE_SDK = 0.97, 0.8
#: Each endpoint's, and what all together may: Stripe's live defaults, and an account with four times that.
RATES = ((25, 100), (100, 400))

BOUND_BY = (
    "With a limit, the provider's pace. Without one the workers' processor: a third of it is Stripe's SDK, a sixth the statements"
    " that several refunds share. The bare SDK runs here as it comes, and spends some two thirds of its time on its one pool of"
    " connections and on looking for a module that is not installed; ours does neither, and keeps a record instead."
)


def run(bench: Bench) -> None:
    with bench.servers(shared_preload_libraries="pg_stat_statements") as servers:
        for rate, total in RATES:
            _limited(bench, servers, rate, total)
        _unlimited(bench, servers)
    bench.result.details["bound_by"] = BOUND_BY


def _limited(bench: Bench, servers: Servers, rate: int, total: int) -> None:
    """A refund takes two requests, to two endpoints: what counts is how many refunds are made a second."""
    count = bench.n(500, 2 * rate)
    rounds = itertools.count(1)
    with (
        sandbox(bench, "stripe", auto=True, rate=total, endpoint_rate=rate) as stripe,
        _ours(
            bench, servers, stripe, STRIPE_RATE_PER_S=str(rate), STRIPE_TOTAL_RATE_PER_S=str(total)
        ) as ours,
    ):
        stripe.answer_after(LATENCY_S)
        _start(bench, ours)
        refused = 0

        def pace() -> float:
            nonlocal refused
            refunding.pending(ours, count, f"at{rate}r{next(rounds)}")
            stripe.forget()
            before = _refused(stripe)
            refunding.pay(ours)
            books = stripe.books()
            refused += _refused(stripe) - before
            bench.audit(f"each refund once, to the cent, at {rate}/s", refunding.audit(ours, books, count))
            made = refunding.created_at(books)
            return (count - 1) / (made[-1] - made[0])

        name = f"limited to {rate}/s"
        found = bench.in_turns({name: pace}, "refunds/s")
    bench.target(f"{name}: of the limit", found[name].median / rate, "at least", OF_THE_RATE)
    bench.target(f"{name}: answers 429", refused, "at most", 0, "requests")


def _unlimited(bench: Bench, servers: Servers) -> None:
    count, at_once = bench.n(5_000, 120), bench.n(AT_ONCE, 10)
    rounds = itertools.count(1)
    with (
        sandbox(bench, "stripe", auto=True, rate=0) as stripe,
        _ours(
            bench,
            servers,
            stripe,
            STRIPE_RATE_PER_S="10000",
            STRIPE_TOTAL_RATE_PER_S="10000",
            WORKER_MAX_JOBS=str(at_once),
        ) as ours,
    ):
        stripe.answer_after(LATENCY_S)
        worker = _start(bench, ours)

        def paid() -> float:
            refunding.pending(ours, count, f"freer{next(rounds)}")
            stripe.forget()
            took_s = refunding.pay(ours)
            bench.audit(
                "each refund once, to the cent, without limit", refunding.audit(ours, stripe.books(), count)
            )
            return count / took_s

        def sdk() -> float:
            stripe.forget()
            return _sdk(bench, stripe, count, at_once)

        found = bench.in_turns({"no limit": paid, "bare SDK": sdk}, "refunds/s")
        with watching(bench, ours, worker) as profile:
            paid()
    bench.result.details["profile"] = profile.as_json()
    reached = ratios(found["no limit"], found["bare SDK"])
    bench.target("no limit, of the bare SDK", reached, "at least", OF_THE_SDK)


def _start(bench: Bench, ours: Ours) -> Process:
    """As in production: a run that goes back, or a push that takes too long, is the scheduler's relay's to bring again.
    Answers one of the workers."""
    ours.start("scheduler")
    first, *_ = [ours.start("worker") for _ in range(bench.n(WORKERS, 1))]
    return first


def _ours(
    bench: Bench, servers: Servers, stripe: Sandbox, **environment: str
) -> AbstractContextManager[Ours]:
    return bench.ours(servers, STRIPE_API_BASE_URL=stripe.url, STRIPE_API_KEY="sk_test_bench", **environment)


def _sdk(bench: Bench, stripe: Sandbox, count: int, at_once: int) -> float:
    processes = bench.n(WORKERS, 1)
    each = count // processes
    started = [
        Process(
            [sys.executable, "-m", "benchmarks.stripe_limit", stripe.url, str(each), str(at_once)],
            {},
            bench.directory / f"sdk-{number}.log",
        )
        for number in range(processes)
    ]
    rate, paid = 0.0, 0
    for process in started:
        if process.wait(300) != 0:
            raise RuntimeError(process.output[-3000:])
        found = json.loads(process.output.strip().splitlines()[-1])
        rate, paid = rate + found["rate"], paid + found["refunds"]
    bench.audit(
        "the bare SDK's refunds are paid", "" if paid == each * processes else f"{paid} of {each * processes}"
    )
    return rate


def _refused(stripe: Sandbox) -> int:
    return sum(counts.get("429", 0) for counts in stripe.books()["requests"].values())
