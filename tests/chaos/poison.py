"""A worker whose job `poison` does what no honest handler does: `python -m tests.chaos.poison` in a worker's place.

POISON_CURED: the job has been mended, it succeeds. POISON_MEMORY_MB: how much memory the kernel lets the process have.
"""

import asyncio
import ctypes
import os
import resource
import signal
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, NoReturn, cast

from shared import jobs
from shared.core.backoff import RetryPolicy
from shared.core.jobspec import JobArgs, JobSpec, Queue
from shared.core.outcomes import Done, Outcome
from shared.process import run_process
from shared.settings import WorkerSettings
from worker_svc import handlers
from worker_svc.bootstrap import run_worker
from worker_svc.context import Handler, JobContext


class PoisonArgs(JobArgs):
    kind: str


POISON: Final = JobSpec(
    "poison",
    PoisonArgs,
    Queue.MAINTENANCE,
    "Does harm.",
    timeout=timedelta(seconds=2),
    retry=RetryPolicy(max_attempts=2, base_s=0.2, cap_s=0.2),
)


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def deeper() -> NoReturn:
    deeper()


def raiser(error: BaseException) -> Callable[[], object]:
    def strike() -> NoReturn:
        raise error

    return strike


#: What it raises, or returns where an outcome is wanted, and a word of the error that says so.
RAISES: Final[Mapping[str, tuple[Callable[[], object], str]]] = {
    "error": (raiser(RuntimeError("this cannot work")), "this cannot work"),
    "unstorable": (raiser(RuntimeError("a \x00 NUL, a \ud800 half, " + "length " * 100_000)), "NUL"),
    "unspeakable": (raiser(Unspeakable()), "Unspeakable"),
    "group": (raiser(BaseExceptionGroup("many", [GeneratorExit(), OSError("x")])), "many"),
    "system exit": (raiser(SystemExit(3)), "SystemExit"),
    "ctrl-c": (raiser(KeyboardInterrupt()), "KeyboardInterrupt"),
    "generator exit": (raiser(GeneratorExit("no generator")), "GeneratorExit"),
    "cancelled": (raiser(asyncio.CancelledError()), "cancelled itself"),
    "recursion": (deeper, "RecursionError"),
    "nothing": (lambda: None, "NoneType"),
    "something": (lambda: {"state": "succeeded"}, "dict"),
}


async def waits() -> None:
    await asyncio.Event().wait()


async def deaf() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def threads() -> None:
    await asyncio.to_thread(threading.Event().wait)


async def busy() -> None:
    """Never idle, and still lets others go on."""
    while True:  # noqa: ASYNC110  # it waits for nothing
        await asyncio.sleep(0)


async def spins() -> None:
    while True:
        pass


async def eats(kept: list[bytes]) -> None:
    """Everything that the kernel gives, down to the last KiB."""
    piece = 8 * 2**20
    while True:
        try:
            kept.append(b"x" * piece)
        except MemoryError:
            if piece <= 1024:
                raise
            piece //= 2
        await asyncio.sleep(0)


async def gorges() -> None:
    await eats([])


_leaked: list[bytes] = []


async def leaks() -> None:
    """What it has taken it never gives back, whatever becomes of its run."""
    await eats(_leaked)


ENDLESS: Final = {"waits": waits, "deaf": deaf, "threads": threads, "busy": busy}
DEADLY: Final[Mapping[str, Callable[[], object]]] = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crashes": lambda: ctypes.string_at(0),
}
STUCK: Final = {"spins": spins}
HUNGRY: Final = {"gorges": gorges, "leaks": leaks}


async def poison(_: JobContext, args: PoisonArgs) -> Outcome:
    if os.environ.get("POISON_CURED"):
        return Done({"kind": args.kind})
    if args.kind in RAISES:
        return cast(Outcome, RAISES[args.kind][0]())
    if args.kind in DEADLY:
        DEADLY[args.kind]()
    await {**ENDLESS, **STUCK, **HUNGRY}[args.kind]()
    return Done()


if __name__ == "__main__":
    if megabytes := os.environ.get("POISON_MEMORY_MB"):
        # What is written to, or could be: room in the address space alone is free.
        resource.setrlimit(resource.RLIMIT_DATA, (int(megabytes) * 2**20,) * 2)
    cast(dict[str, JobSpec[Any]], jobs.JOBS)[POISON.name] = POISON
    cast(dict[str, Handler], handlers.HANDLERS)[POISON.name] = poison
    run_process("worker", WorkerSettings, run_worker)
