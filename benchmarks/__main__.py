"""`python -m benchmarks NAME …`: measures, prints a table (`--json`: one JSON object on the last line), keeps the result.

Status 1: a benchmark's own audit failed, so its figures count for nothing. Targets that are missed are told; with
`--strict` they too end in status 1.
"""

import argparse
import importlib
import json
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from benchmarks import page
from benchmarks.bench import Bench
from benchmarks.conditions import conditions
from benchmarks.figures import Result

#: In the order in which `all` runs them. Each is a module here with a QUESTION and a `run(bench)`.
NAMES = (
    "throughput",
    "enqueue",
    "pickup",
    "fire",
    "firestorm",
    "schedules",
    "reminders",
    "refunds",
    "fairness",
    "history",
    "idle",
    "startup",
)
RESULTS = Path("build") / "benchmarks"


def main() -> int:
    options = _options()
    names = NAMES if "all" in options.names else tuple(dict.fromkeys(options.names))
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731, T201
    results = []
    for name in names:
        say(f"\n== {name}")
        result = measure(name, smoke=options.smoke, rounds=options.rounds, say=say)
        results.append(result)
        options.results.mkdir(parents=True, exist_ok=True)
        stem = f"{name}.smoke" if options.smoke else name
        (options.results / f"{stem}.json").write_text(json.dumps(result.as_json(), indent=1) + "\n")
        _print(json.dumps(result.as_json()) if options.json else page.table(result))
        if options.write:  # at once: all of them take hours, and the last one may fail
            page.write([result], _modules())
    missed = [
        f"{result.name}: {name}" for result in results for name, t in result.targets.items() if not t.met
    ]
    if missed and not options.smoke:
        say("missed: " + "; ".join(missed))
    unsound = [result.name for result in results if not result.sound]
    if unsound:
        say("AUDIT FAILED: " + ", ".join(unsound))
    return 1 if unsound or (options.strict and missed) else 0


def measure(name: str, *, smoke: bool, rounds: int, say: Callable[[str], None]) -> Result:
    """Runs one. What it raises is an audit that failed: the other benchmarks go on."""
    module = importlib.import_module(f"benchmarks.{name}")
    result = Result(name, module.QUESTION, smoke, conditions())
    directory = Path(tempfile.mkdtemp(prefix=f"cuebx-bench-{name}-"))
    directory.chmod(0o755)  # as root the servers are somebody else
    began = time.monotonic()
    try:
        module.run(Bench(result, directory, rounds=rounds, say=say))
    except Exception as error:
        say(traceback.format_exc())
        result.audits["the benchmark ran to its end"] = f"{type(error).__name__}: {str(error)[:500]}"
    finally:
        result.elapsed_s = time.monotonic() - began
        shutil.rmtree(directory, ignore_errors=True)
    return result


def _modules() -> dict[str, ModuleType]:
    return {name: importlib.import_module(f"benchmarks.{name}") for name in NAMES}


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201  # a command's output


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="+", choices=[*NAMES, "all"], metavar="NAME", help=f"all, or: {', '.join(NAMES)}"
    )
    parser.add_argument("--json", action="store_true", help="the last line is the result as one JSON object")
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often each contender is measured (default: 5)"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="seconds each, to show that all works; figures mean nothing"
    )
    parser.add_argument(
        "--write", action="store_true", help="write tables and plots into docs/performance.md"
    )
    parser.add_argument("--strict", action="store_true", help="status 1 where a target is missed, too")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help=f"where JSON is kept (default: {RESULTS})"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
