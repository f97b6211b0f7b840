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
from tests.chaos.storm.outcome import Outcome, outcome, table
from tests.chaos.storm.plan import Step, draw
from tests.chaos.storm.scene import scene
from tests.chaos.storm.timeline import timelines


def main() -> int:
    options = _options()
    steps = draw(options.seed, options.minutes * 60)
    if options.plan:
        _say("\n".join(map(str, steps)))
        return 0
    where = report.conditions()
    # What our own code, called from here, logs is in the way.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    directory = Path(tempfile.mkdtemp(prefix=f"cuebx-storm-{options.seed}-"))
    directory.chmod(0o755)  # as root the servers are somebody else
    _say(f"storm {options.seed}: {options.minutes:g} min, {len(steps)} steps, in {directory}")
    result = _storm(options.seed, options.minutes, steps, directory)
    _say(f"\n{table(result)}\n")
    if options.json:
        options.json.write_text(json.dumps({**result.as_json(), "conditions": where}) + "\n")
    if not result.ok:
        _say(f"seed {options.seed}: {len(result.findings)} findings; all of it is kept in {directory}")
        return 1
    if not options.keep:
        shutil.rmtree(directory)
    return 0


def _storm(seed: int, minutes: float, steps: Sequence[Step], directory: Path) -> Outcome:
    diary = Diary()
    with scene(directory, seed) as cluster:
        known = blow(cluster, steps, diary, _say)
        calm = settle(cluster, _say)
        mails = len(cluster.brevo.books()["mails"])
        stripe, brevo = cluster.stripe.books(), cluster.brevo.books()
        with auditor.snapshot(cluster.work.engine) as connection:
            findings = auditor.audit(
                connection, stripe=stripe, brevo=brevo, known=replace(known, stages=STAGES), rest=calm.rest
            )
        findings += [Finding("T", "calm", f"{what}, though all is well") for what in calm.left]
        result = outcome(seed, minutes, cluster.work, diary, calm, mails, findings)
        if findings:
            auditor.report(findings)
            for timeline in timelines(findings, cluster.work, diary, directory):
                _say(f"\n{timeline}")
            (directory / "steps.txt").write_text("\n".join(map(str, steps)))
            (directory / "diary.txt").write_text("\n".join(map(str, diary.entries)))
    return result


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # a command's output


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.storm", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None, help="drawn, and told, if it is not given")
    parser.add_argument("--plan", action="store_true", help="print what would happen when, and do nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers there")
    parser.add_argument(
        "--keep", action="store_true", help="keep logs and data of a storm without findings, too"
    )
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(10**6)
    return options


if __name__ == "__main__":
    sys.exit(main())
