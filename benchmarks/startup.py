"""How long a process takes from its start until it is ready: `/readyz` answers 200."""

import time

from benchmarks.bench import Bench
from benchmarks.ours import Kind

QUESTION = "How long does a process take from its start to ready?"
LIMIT_S = 2.0


def run(bench: Bench) -> None:
    with bench.servers() as servers, bench.ours(servers) as ours:

        def starts(kind: Kind) -> float:
            began = time.monotonic()
            process = ours.start(kind)
            took_s = time.monotonic() - began
            bench.audit("ends with status 0", "" if process.stop() == 0 else f"{kind} ended otherwise")
            return took_s

        kinds: tuple[Kind, ...] = ("scheduler", "worker")
        found = bench.in_turns({kind: lambda kind=kind: starts(kind) for kind in kinds}, "s")  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        for kind in kinds:
            bench.target(f"{kind} ready", found[kind].median, "at most", LIMIT_S, "s")
