"""`python -m tests.chaos.bounds`: measures the bounds, prints the table, ends with status 1 where one does not hold."""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from tests.chaos import report
from tests.chaos.bounds.figures import Figure, as_json, as_table, figures
from tests.chaos.bounds.measures import MEASURES
from tests.chaos.bounds.tries import Try, run_tries
from tests.scratch import scratch_directory

LANES = 2


def main() -> int:
    options = _options()
    measures = [each for each in MEASURES if not options.only or each.name in options.only]
    where = report.conditions()
    began = time.monotonic()
    counts: Counter[str] = Counter()

    def progress(done: Try) -> None:
        counts[done.measure] += 1
        said = done.error or ", ".join(f"{name} {value:.2f} s" for name, value in done.seconds.items())
        at = time.monotonic() - began
        _say(
            f"{at:6.0f} s  {done.measure} {counts[done.measure]}/{options.tries} (try {done.number}): {said}"
        )

    with scratch_directory() as directory:
        tries = run_tries(
            measures,
            tries=options.tries,
            seed=options.seed,
            lanes=min(LANES, len(measures) * options.tries),
            directory=directory,
            on_try=progress,
        )
    found = figures(measures, tries)
    _say(f"\n{as_table(found)}\n")
    if options.write:
        report.write_section("bounds", _section(found, options.tries, report.in_words(where)))
    outcome = as_json(found, {**where, "tries": options.tries, "elapsed_s": round(time.monotonic() - began)})
    if options.json:
        options.json.write_text(json.dumps(outcome, indent=1) + "\n")
    _say(json.dumps(outcome))
    return 0 if all(each.met for each in found) else 1


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # a command's output


def _section(found: list[Figure], tries: int, measured: str) -> str:
    return f"`make bounds TRIES={tries}`, with default settings. {measured}\n\n{as_table(found)}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.bounds", description=__doc__)
    names = [each.name for each in MEASURES]
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--only", action="append", choices=names, help="may be given more than once")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the moments at which faults fall (default: 1)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
