"""`python -m tests.chaos.soak`: a stack under steady work, sampled every 5 s, then judged. Status 1 where it is not flat."""

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import Engine, text

from local_stack.stack import Stack, StackOptions
from shared.db.engine import sync_engine
from tests.chaos import report
from tests.chaos.soak import load
from tests.chaos.soak.plot import plot
from tests.chaos.soak.sampling import Sample, sample
from tests.chaos.soak.verdict import WORKER_RSS_MIB, Verdict, as_table, judge, warm_up_s
from tests.scratch import scratch_directory

EVERY_S = 5.0
WATCHED = ("worker", "scheduler", "api")
IMAGE = report.PAGE.parent / "images" / "soak.svg"


def main() -> int:
    options = _options()
    seconds = options.minutes * 60
    where = report.conditions()
    with scratch_directory() as directory:
        stack_options = StackOptions(
            data=directory, ephemeral=True, env={**load.ENV, "LOG_FORMAT": "json", "LOG_DIR": ""}
        )
        with Stack(stack_options, {"PATH": os.environ["PATH"]}) as stack:
            stack.wait_ready()
            engine = sync_engine(stack.servers.database_url, application="soak", bound_s=30)
            try:
                with load.Load(engine, stack.variables, seed=options.seed, seconds=seconds) as work:
                    samples = _watch(stack, seconds)
                done = {**_done(engine), "refused": work.refused}
            finally:
                engine.dispose()
            restarts = {name: len(stack.supervisor.exits(name)) for name in samples}
    verdicts = [judge(name, its, seconds) for name, its in samples.items()]
    _say(f"\n{as_table(verdicts)}\n\n{done}")
    if options.write:
        plot(samples, warm_up_s(seconds), WORKER_RSS_MIB, IMAGE)
        section = _section(verdicts, options.minutes, done, report.in_words(where))
        report.write_section("soak", section)
    if options.plot:
        plot(samples, warm_up_s(seconds), WORKER_RSS_MIB, options.plot)
    met = not any(restarts.values()) and not any(each.faults for each in verdicts)
    outcome = {
        "figures": {each.name: asdict(each) for each in verdicts},
        "targets": {
            each.name: {"value": list(each.faults), "target": [], "met": not each.faults} for each in verdicts
        },
        "done": done,
        "restarts": restarts,
        "conditions": {**where, "minutes": options.minutes},
    }
    if options.json:
        series = {name: [asdict(each) for each in its] for name, its in samples.items()}
        options.json.write_text(json.dumps({**outcome, "samples": series}) + "\n")
    _say(json.dumps(outcome))
    return 0 if met else 1


def _watch(stack: Stack, seconds: float) -> dict[str, list[Sample]]:
    """Samples by process, until `seconds` have passed."""
    servers = stack.servers
    assert servers.postgres is not None
    assert servers.valkey is not None
    ports = {"postgres": servers.postgres.port, "redis": servers.valkey.port}
    names = [name for kind in WATCHED for name in stack.names(kind)]
    samples: dict[str, list[Sample]] = defaultdict(list)
    began = time.monotonic()
    for number in range(int(seconds / EVERY_S) + 1):
        time.sleep(max(0.0, began + number * EVERY_S - time.monotonic()))
        pids = stack.supervisor.pids()
        for name in names:
            taken = sample(name, pids[name], time.monotonic() - began, ports) if name in pids else None
            if taken is not None:
                samples[name].append(taken)
        if number % 12 == 0:
            memory = ", ".join(f"{name} {its[-1].rss_mib:.0f} MiB" for name, its in samples.items())
            _say(f"{number * EVERY_S / 60:5.0f} min  {memory}")
    return dict(samples)


def _done(engine: Engine) -> dict[str, int]:
    """What the work was, in numbers."""
    sql = """
    SELECT (SELECT count(*) FROM job_runs) AS runs,
      (SELECT count(*) FROM job_runs WHERE attempt > 1) AS runs_retried,
      (SELECT count(*) FROM job_runs WHERE state = 'dead') AS runs_dead,
      (SELECT count(*) FROM job_runs WHERE state IN ('pending', 'queued', 'running')) AS runs_open,
      (SELECT count(*) FROM refunds WHERE status IN ('succeeded', 'failed', 'needs_review')) AS refunds_ended,
      (SELECT count(*) FROM payment_reminders WHERE status = 'sent') AS reminders_sent
    """
    with engine.connect() as connection:
        return {name: int(count) for name, count in connection.execute(text(sql)).one()._mapping.items()}


def _section(verdicts: Sequence[Verdict], minutes: float, done: dict[str, int], measured: str) -> str:
    return (
        f"`make soak MINUTES={minutes:g}`: {done['runs']:,} runs ({done['runs_retried']:,} retried,"
        f" {done['runs_dead']:,} dead), {done['refunds_ended']:,} refunds, {done['reminders_sent']:,} reminders."
        f" {measured}\n\n![Memory, descriptors, threads and connections over time](images/soak.svg)"
        f"\n\n{as_table(verdicts)}"
    )


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # a command's output


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write figures and samples there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also plot the samples there (SVG)")
    parser.add_argument("--write", action="store_true", help="write table and plot into docs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
