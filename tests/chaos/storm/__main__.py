"""`python -m tests.chaos.storm`: a storm from a seed, calm, and an audit of all that happened. Status 1 where it finds anything."""

import argparse
import json
import logging
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from local_stack import auditor
from local_stack.auditor import Finding
from tests.chaos import report
from tests.chaos.rig.audit import STAGES
from tests.chaos.storm.blowing import blow
from tests.chaos.storm.calm import settle
from tests.chaos.storm.diary import Diary
from tests.chaos.storm.outcome import Outcome, outcome, section, table
from tests.chaos.storm.plan import Step, draw
from tests.chaos.storm.scene import scene
from tests.chaos.storm.timeline import timelines


def main() -> int:
    options = _options()
    seeds = options.seed or [random.SystemRandom().randrange(10**6)]
    if options.plan:
        _say("\n".join(map(str, draw(seeds[0], options.minutes * 60))))
        return 0
    if options.read:
        told = [json.loads(file.read_text()) for file in options.read]
        results = [Outcome.from_json(storm) for each in told for storm in each["storms"]]
        where = told[0]["conditions"]
    else:
        where = report.conditions()
        # What our own code, called from here, logs is in the way.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        results = [_one(seed, options.minutes, options.keep) for seed in seeds]
    if options.json:
        storms = [result.as_json() for result in results]
        options.json.write_text(json.dumps({"storms": storms, "conditions": where}) + "\n")
    if options.write:
        report.write_section("storm", section(results, report.in_words(where)))
    return 0 if all(result.ok for result in results) else 1


def _one(seed: int, minutes: float, keep: bool) -> Outcome:
    steps = draw(seed, minutes * 60)
    directory = Path(tempfile.mkdtemp(prefix=f"cuebx-storm-{seed}-"))
    directory.chmod(0o755)  # as root the servers are somebody else
    _say(f"storm {seed}: {minutes:g} min, {len(steps)} steps, in {directory}")
    result = _storm(seed, minutes, steps, directory)
    _say(f"\n{table(result)}\n")
    if not result.ok:
        (directory / "steps.txt").write_text("\n".join(map(str, steps)))
        _say(f"seed {seed}: {len(result.findings)} findings; all of it is kept in {directory}")
    elif not keep:
        shutil.rmtree(directory)
    return result


def _storm(seed: int, minutes: float, steps: Sequence[Step], directory: Path) -> Outcome:
    diary = Diary()
    with scene(directory, seed) as cluster:
        known = blow(cluster, steps, diary, _say)
        calm = settle(cluster, _say)
        stripe, brevo = cluster.stripe.books(), cluster.brevo.books()
        with auditor.snapshot(cluster.work.engine) as connection:
            findings = auditor.audit(
                connection, stripe=stripe, brevo=brevo, known=replace(known, stages=STAGES), rest=calm.rest
            )
        findings += [Finding("T", "calm", f"{what}, though all is well") for what in calm.left]
        findings += [Finding("L", e.kind, e.says) for e in diary.entries if e.lane == "answers"]
        if findings:
            auditor.report(findings)
            (directory / "diary.txt").write_text("\n".join(map(str, diary.entries)))
            for timeline in timelines(findings, cluster.work, diary, directory):
                _say(f"\n{timeline}")
        return outcome(seed, minutes, cluster.work, diary, calm, len(brevo["mails"]), findings)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # a command's output


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.storm", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument(
        "--seed", type=int, nargs="*", help="one storm after the other; drawn, and told, if it is not given"
    )
    parser.add_argument("--plan", action="store_true", help="print what would happen when, and do nothing")
    parser.add_argument(
        "--read",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="no storm: those that other calls wrote with --json, to --write them together",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers there")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    parser.add_argument(
        "--keep", action="store_true", help="keep logs and data of a storm without findings, too"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
