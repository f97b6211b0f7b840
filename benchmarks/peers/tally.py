"""What all peers' scripts share: the counting of no-op jobs, and the command line.

    NAME.py fill URL N         enqueues N no-op jobs, numbered; says how many seconds that took
    NAME.py single URL N       enqueues N one after the other; the seconds of each
    NAME.py spaced URL N GAP   the same with pauses between, and the moment of each call in its job
    NAME.py work URL           works until it is stopped

A worker writes a line of JSON, ten times a second, while there is news: who, how many jobs it has run, the sum of their
numbers, when its first one began and its last one ended, and how long after their enqueue call those of `spaced` began.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence


class Tally:
    """One process's."""

    def __init__(self) -> None:
        self._first = self._last = 0.0
        self._jobs = self._sum = 0
        self._late: list[float] = []
        self._told = 0

    def begins(self, number: int, sent_at: float = 0.0) -> None:
        """A job that does nothing: that it began is all there is to it."""
        now = time.time()
        if not self._jobs:
            self._first = now
            threading.Thread(target=self._tell, daemon=True).start()  # here: a thread does not outlive a fork
        if sent_at:
            self._late.append(round(now - sent_at, 6))
        self._sum += number
        self._last = now
        self._jobs += 1

    def _tell(self) -> None:
        while True:
            if self._jobs != self._told:
                self._told = self._jobs
                line = {
                    "who": os.getpid(), "jobs": self._jobs, "sum": self._sum, "first": self._first, "last": self._last,
                    "late": self._late,
                }  # fmt: skip
                os.write(1, (json.dumps(line) + "\n").encode())
            time.sleep(0.1)


tally = Tally()

#: Enqueues jobs with these numbers; the second argument is the moment of the call, or 0.
Enqueue = Callable[[Sequence[int], float], Awaitable[None]]


def main(connect: Callable[[str], Awaitable[Enqueue]], work: Callable[[str], None]) -> None:
    """`connect` opens what enqueueing needs; `work` runs a worker in this process."""
    command, url, *rest = sys.argv[1:]
    if command == "work":
        return work(url)
    found = asyncio.run(_enqueue(command, connect, url, [float(each) for each in rest]))
    print(json.dumps(found))  # noqa: T201  # what the benchmark reads
    return None


async def _enqueue(
    command: str, connect: Callable[[str], Awaitable[Enqueue]], url: str, numbers: Sequence[float]
) -> object:
    enqueue = await connect(url)
    count = int(numbers[0])
    if command == "fill":
        began = time.perf_counter()
        for first in range(0, count, 1000):
            await enqueue(range(first, min(first + 1000, count)), 0.0)
        return {"seconds": time.perf_counter() - began}
    gap_s = numbers[1] if command == "spaced" else 0.0
    took = []
    for number in range(count):
        began = time.perf_counter()
        await enqueue([number], time.time() if gap_s else 0.0)
        took.append(time.perf_counter() - began)
        if gap_s:
            await asyncio.sleep(gap_s)
    return {"took_s": took}


def enqueue_each(one: Callable[[int, float], Awaitable[object]]) -> Enqueue:
    """For libraries without a call for many: so many at a time, side by side."""

    async def enqueue(numbers: Sequence[int], sent_at: float) -> None:
        for first in range(0, len(numbers), 50):
            await asyncio.gather(*(one(number, sent_at) for number in numbers[first : first + 50]))

    return enqueue
