"""Reminders from the invoice to the provider's answer on record, beside the bare calls and beside arq with a call a mail."""

import itertools
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from benchmarks import dunning, profiling
from benchmarks.bench import Bench, ratios
from benchmarks.enqueueing import enqueue
from benchmarks.process import Process
from benchmarks.sandboxes import LATENCY_S, Sandbox, sandbox
from shared.jobs import SEND_PAYMENT_REMINDER_EMAILS

QUESTION = "How many due reminders a second are selected, rendered, sent in batches and recorded?"
OF_THE_LIMIT = 0.85
TIMES_ARQ = 15


def run(bench: Bench) -> None:
    mails, alone = bench.n(100_000, 1_000), bench.n(1_500, 60)
    rounds = itertools.count(1)
    with (
        bench.servers(shared_preload_libraries="pg_stat_statements") as servers,
        sandbox(bench, "brevo", batch_rate=0) as brevo,
        bench.ours(servers, BREVO_BASE_URL=f"{brevo.url}/v3") as ours,
    ):
        brevo.answer_after(LATENCY_S)
        first = ours.start("worker")

        def reminders(workers: int) -> float:
            dunning.owe(ours, mails, next(rounds))
            brevo.forget()
            processes = [first, *(ours.start("worker") for _ in range(workers - 1))]
            before = _cpu(brevo, processes)
            began = time.time()
            enqueue(ours, SEND_PAYMENT_REMINDER_EMAILS, [{}])
            took_s = dunning.wait_for_reminders(ours, began) - began
            bench.result.details[f"cpu_s with {workers}"] = _cpu(brevo, processes, before)
            for process in processes[1:]:
                process.stop()
            bench.audit("each invoice and stage once, to the cent", dunning.audit(ours, brevo, mails))
            return mails / took_s

        def limit(processes: int) -> float:
            brevo.forget()
            return _limit(bench, brevo, mails, processes)

        def arq() -> float:
            brevo.forget()
            found = bench.peers.run("arq_mail", servers.redis_url(1), brevo.url, alone)
            sent = len({mail["email"] for mail in brevo.books()["mails"]})
            bench.audit("arq's mails arrive", "" if sent == alone else f"{sent} of {alone}")
            return float(found["rate"])

        def watched() -> float:
            """Once more, with one worker: what the time goes into."""
            dunning.owe(ours, mails, next(rounds))
            brevo.forget()
            before = brevo.process.cpu_s()
            with profiling.watching(bench, ours, first) as seen:
                began = time.time()
                enqueue(ours, SEND_PAYMENT_REMINDER_EMAILS, [{}])
                dunning.wait_for_reminders(ours, began)
            seen.cpu_s["sandbox"] = brevo.process.cpu_s() - before
            bench.result.details["profile"] = seen.as_json()
            us = {name: seconds / mails * 1e6 for name, seconds in seen.cpu_s.items()}
            arqs = found["arq tuned, one call a mail"]
            bench.result.details["bound_by"] = bound_by(us, found["limit of one process"].median, arqs.median)
            return _most(us, found["limit of one process"].median)

        found = bench.in_turns(
            {
                "one worker": lambda: reminders(1),
                "limit of one process": lambda: limit(1),
                "two workers": lambda: reminders(2),
                "limit of two processes": lambda: limit(2),
                "arq tuned, one call a mail": arq,
            },
            "mails/s",
        )
        most = watched()
    for ours_name, limit_name, why in (
        ("one worker", "limit of one process", ""),
        ("two workers", "limit of two processes", f"all cores busy, it is {most:.2f} at the most"),
    ):
        reached = ratios(found[ours_name], found[limit_name])
        bench.target(f"{ours_name} of the limit", reached, "at least", OF_THE_LIMIT, why=why)
    arqs = found["arq tuned, one call a mail"]
    bench.target("one worker, times arq", ratios(found["one worker"], arqs), "at least", TIMES_ARQ)


def _most(us: Mapping[str, float], limit: float) -> float:
    """Of the limit, with as many workers as keep all cores busy: both have them to themselves and pay for the sandbox. `us`:
    microseconds a mail by process; `limit`: mails a second of one process."""
    return (1e6 / limit + us["sandbox"]) / sum(us.values())


def bound_by(us: Mapping[str, float], limit: float, arqs: float) -> str:
    """What limits one worker, and any number. `us`: microseconds a mail by process; `limit`, `arqs`: mails a second."""
    cores = os.cpu_count() or 1
    wanted = TIMES_ARQ * arqs
    return (
        f"Processor time: {us['worker']:.0f} µs a mail in the worker ({1e6 / limit:.0f} in the limit, which renders, encodes and"
        f" calls), {us['postgres']:.0f} in PostgreSQL, {us['sandbox']:.0f} in the sandbox. One worker is bound by its own core. Any"
        f" number of workers is bound by all {cores}, at {cores * 1e6 / sum(us.values()):,.0f} mails a second with the sandbox and"
        f" PostgreSQL on them: {_most(us, limit):.2f} of the limit, which has no record to keep. With a core"
        f" all to itself one worker would reach {1e6 / limit / us['worker']:.2f} of it. {TIMES_ARQ} times arq are {wanted:,.0f} mails a"
        f" second, {wanted / limit:.2f} of the limit. What would get there is less work for each mail: a template that the provider"
        " fills in, since rendering and encoding are most of what the limit does; or one row for a batch instead of a row a"
        " mail, which is what tells for each invoice what was sent, so that it stays."
    )


def _limit(bench: Bench, brevo: Sandbox, mails: int, processes: int) -> float:
    each = mails // processes
    started = [
        Process(
            [sys.executable, "-m", "benchmarks.mail_limit", brevo.url, str(each)],
            {},
            bench.directory / f"limit-{number}.log",
        )
        for number in range(processes)
    ]
    rate = 0.0
    for process in started:
        if process.wait(300) != 0:
            raise RuntimeError(process.output[-3000:])
        rate += json.loads(process.output.strip().splitlines()[-1])["rate"]
    accepted = len(brevo.books()["mails"])
    bench.audit("the limit's mails arrive", "" if accepted == each * processes else f"{accepted}")
    return rate


def _cpu(
    brevo: Sandbox, workers: Sequence[Process], before: Mapping[str, float] = MappingProxyType({})
) -> dict[str, float]:
    """Processor seconds by process, since `before`."""
    found = {"sandbox": brevo.process.cpu_s()}
    found |= {f"worker {number}": process.cpu_s() for number, process in enumerate(workers, 1)}
    return {name: round(value - before.get(name, 0.0), 2) for name, value in found.items()}
