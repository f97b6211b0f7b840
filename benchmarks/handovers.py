"""`python -m benchmarks.handovers`: sends a byte through a row of processes that do little but wake the next one, every
EVERY_S until SIGTERM. Its last line is a JSON list of the milliseconds each took.

There is no queue, no database and no disk in it. What it takes on a machine whose cores are busy is what the kernel needs
to give a core to one process after the other: the limit of whatever goes from process to process there.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.process import Process

#: Those of a run that is picked up: PostgreSQL back from the disk, the caller, Redis, the worker, PostgreSQL.
HOPS = 5
#: What each does before it wakes the next: together they take about as long as a pick-up on an idle machine.
WORK_S = 0.0003
EVERY_S = 0.1


@contextmanager
def handing_on(bench: Bench, name: str) -> Iterator[list[float]]:
    """Beside what happens inside; the milliseconds are there at the end."""
    found: list[float] = []
    process = Process([sys.executable, "-m", "benchmarks.handovers"], {}, bench.directory / f"{name}.log")
    try:
        process.wait_for("ready")
        yield found
    finally:
        process.stop()
    found += json.loads(process.output.splitlines()[-1])


def main() -> None:
    entrance, end = _row()
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    took_ms: list[float] = []
    while not told:
        began = time.perf_counter()
        os.write(entrance, b".")
        if not os.read(end, 1):
            raise SystemExit("a process of the row has ended")
        took_ms.append((time.perf_counter() - began) * 1000)
        time.sleep(EVERY_S)
    sys.stdout.write(json.dumps(took_ms) + "\n")


def _row() -> tuple[int, int]:
    """Where a byte goes in, and where it comes out. Each process holds its own two ends and nothing else, so that all of them
    end with the entrance."""
    end, entrance = os.pipe()
    for _ in range(HOPS):
        after, into = os.pipe()
        if os.fork() == 0:
            os.close(entrance)
            os.close(after)
            _hand_on(end, into)
            os._exit(0)
        os.close(end)
        os.close(into)
        end = after
    return entrance, end


def _hand_on(source: int, target: int) -> None:
    while byte := os.read(source, 1):
        ends_at = time.perf_counter() + WORK_S
        while time.perf_counter() < ends_at:
            pass
        os.write(target, byte)


if __name__ == "__main__":
    main()
